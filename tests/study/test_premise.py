"""`make premise`: how much of the encoders trains is what differs, and the page says what the runs say."""

from pathlib import Path

import pytest

from relalign.errors import RelalignError
from relalign.settings import Params
from relalign.study.premise import PAGE, PremiseLayout, make_features, run_cut, write_premise
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
    assert cells[1:3] == ["1", f"{history[-1]['val/rsum']:.1f}"]
    assert cells[4] == f"{shared:+.2f}"
    svg = (root / "docs/study/premise-openmoji.svg").read_text()
    assert (svg.startswith("<svg"), "upper" in svg, "later" in svg) == (True, True, False)


def test_a_wrong_key_or_dataset_of_the_premise_is_named(tmp_path: Path) -> None:
    text = (REPOSITORY / "study.yaml").read_text()
    params = trained_params()
    for wrong, right, message in (
        ("training.epochs: 10", "training.epoch: 10", "premise.cuts.frozen"),
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
