"""`make premise`: how much of the encoders trains is what differs, and the page says what the runs say."""

import shutil
from pathlib import Path

import pytest

from relalign.errors import RelalignError
from relalign.settings import Params
from relalign.study.premise import (
    PAGE,
    PremiseLayout,
    kept_cuts,
    make_features,
    run_cut,
    wanted_cuts,
    write_premise,
)
from relalign.study.settings import Study, load_study
from relalign.training.history import read_history
from tests.study.results_on_disk import small_study
from tests.trained_project import CUTS, make_project, trained_params
from tests.workflow.clone import REPOSITORY

PREMISE = {
    "method": "contrastive",
    "datasets": ["openmoji"],
    "seeds": [0],
    "change": {"training.epochs": 2, "training.batch_size": 8, "training.validate_every": 1},
    "cuts": {
        "frozen": {},
        "upper": {**CUTS, "change": {"training.encoder_learning_rate": 0.01}},
        "later": {**CUTS, "seeds": [4]},
    },
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> tuple[Params, Study, Path]:
    root, params = tmp_path_factory.mktemp("premise"), trained_params(image=None, text=None)
    make_project(root, params)
    study = small_study(premise=PREMISE)
    for cut in ("frozen", "upper"):
        make_features(params, study, root, dataset="openmoji", cut=cut)
        run_cut(params, study, root, dataset="openmoji", cut=cut, seed=0)
    log = root / "logs/openmoji/study/premise/upper-contrastive-seed0.log"
    log.parent.mkdir(parents=True)
    log.write_text("took 6.00 s, 5.00 s of CPU, at most 700 MB")
    write_premise(params, study, root)
    return params, study, root


def rows(root: Path, cut: str) -> list[dict[str, float]]:
    return read_history(PremiseLayout(root, "openmoji", cut).run("contrastive", 0) / "model")


def test_only_encoders_above_a_cut_leave_their_pretrained_relations(project: tuple[Params, Study, Path]) -> None:
    root = project[2]
    for side in ("i2i", "t2t"):
        ndcg = {
            cut: [row[f"val/encoder/{side}/ndcg@10"] for row in rows(root, cut)] for cut in ("frozen", "upper")
        }
        assert ndcg["frozen"] == pytest.approx([ndcg["frozen"][0]] * 3)
        assert ndcg["upper"][0] == pytest.approx(ndcg["frozen"][0], abs=0.1), (
            "both start at the pretrained encoder"
        )
        assert ndcg["upper"][-1] != pytest.approx(ndcg["frozen"][0], abs=0.01)


def test_the_page_has_the_change_from_start_to_end_and_names_what_was_not_run(
    project: tuple[Params, Study, Path],
) -> None:
    root = project[2]
    page = (root / PAGE).read_text()
    assert "Not run: later with seed 4." in page
    assert "A row of one seed is an indication" in page
    line = next(line for line in page.splitlines() if line.startswith("| upper |"))
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    history = rows(root, "upper")
    shared = history[-1]["val/i2i/ndcg@10"] - history[0]["val/i2i/ndcg@10"]
    assert cells[1:5] == ["1", "2.5", "700", f"{history[-1]['val/rsum']:.1f}"]
    assert cells[6] == f"{shared:+.2f}"
    svg = (root / "docs/study/premise-openmoji.svg").read_text()
    assert (svg.startswith("<svg"), "upper" in svg, "later" in svg) == (True, True, False)


def test_runs_are_kept_and_count_while_they_are_what_is_asked_for(
    project: tuple[Params, Study, Path], tmp_path: Path
) -> None:
    params, study, root = project
    shutil.copytree(root / "docs", tmp_path / "docs")
    write_premise(params, study, tmp_path)
    assert (tmp_path / PAGE).read_text() == (root / PAGE).read_text()
    wanted, kept = wanted_cuts(params, study, "openmoji"), kept_cuts(tmp_path, "openmoji")
    assert {key for key in wanted if kept.get(key) == wanted[key]} == {("frozen", 0), ("upper", 0)}
    faster = PREMISE | {"cuts": PREMISE["cuts"] | {"upper": {**CUTS, "change": {"training.learning_rate": 0.02}}}}  # type: ignore[operator]
    write_premise(params, small_study(premise=faster), tmp_path)
    assert set(kept_cuts(tmp_path, "openmoji")) == {("frozen", 0)}
    assert "Not run: later with seed 4; upper with seed 0." in (tmp_path / PAGE).read_text()


def test_a_training_that_went_on_from_a_checkpoint_says_nothing_of_its_cost(
    project: tuple[Params, Study, Path], tmp_path: Path
) -> None:
    params, study, root = project
    shutil.copytree(root, tmp_path, dirs_exist_ok=True)
    log = tmp_path / "logs/openmoji/study/premise/upper-contrastive-seed0.log"
    log.write_text("resuming after epoch 1 from x\n" + log.read_text())
    write_premise(params, study, tmp_path)
    assert "| upper | 1 | – | – |" in (tmp_path / PAGE).read_text()


def test_a_wrong_key_or_dataset_of_the_premise_is_named(tmp_path: Path) -> None:
    text = (REPOSITORY / "study.yaml").read_text()
    params = trained_params()
    for wrong, right, message in (
        ("  change:\n    training.epochs: 10", "  change:\n    training.epoch: 10", "premise.cuts.frozen"),
        ("frozen: {}", "frozen: {picture: input}", "premise.cuts.frozen.picture"),
        (
            "  datasets: [openmoji, flickr8k]\n  seeds: [0, 1, 2]\n  change",
            "  datasets: [moon]\n  seeds: [0]\n  change",
            "premise.datasets: 'moon'",
        ),
    ):
        assert wrong in text
        (tmp_path / "study.yaml").write_text(text.replace(wrong, right))
        with pytest.raises(RelalignError, match=message):
            load_study(tmp_path / "study.yaml", params)
