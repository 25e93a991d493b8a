"""What is kept of runs gives their numbers again; what an earlier study printed is judged by the rule of now."""

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.stats import t

from relalign.comparison.paired import read_run, summarise
from relalign.errors import RelalignError
from relalign.metrics.resampling import draw_weights
from relalign.study import earlier
from relalign.study.claims import KEPT_I, KEPT_T, Claim
from relalign.study.judging import judge_claims
from relalign.study.kept import keep_runs, kept_paths, kept_settings, read_kept, wanted_runs
from relalign.study.layout import StudyLayout
from relalign.study.results import Results
from relalign.study.settings import CLEAN, load_study
from tests.study.results_on_disk import quick_params, small_study, write_run

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Two runs of each of two variants."""
    root = tmp_path_factory.mktemp("kept")
    for variant in ("cca", "contrastive"):
        for seed in (0, 1):
            write_run(root, "openmoji", CLEAN, variant, seed, skill=0.5)
    keep_runs(quick_params(), small_study(), root, "openmoji")
    return root


def _folder(root, variant, seed):
    return StudyLayout.of(root, "openmoji", CLEAN, quick_params()).run(variant, seed)


def test_kept_runs_give_the_estimates_of_the_runs_themselves(project):
    kept = read_kept(project, "openmoji")
    assert sorted(kept) == [
        (("cca", CLEAN), 0),
        (("cca", CLEAN), 1),
        *[(("contrastive", CLEAN), s) for s in (0, 1)],
    ]
    run = read_run(_folder(project, "contrastive", 1))
    images = np.unique(run.queries["image_id"])
    weights = draw_weights(len(images), 20, 0)
    own, again = (summarise([one], images, weights) for one in (run, kept[("contrastive", CLEAN), 1].result))
    for metric in ("rsum", "t2i/recall@5", "t2t/ndcg@10", "isd/singular", KEPT_I, KEPT_T):
        assert again.values[metric] == own.values[metric]
        np.testing.assert_allclose(again.estimates[metric], own.estimates[metric], rtol=1e-5)
        assert again.sizes[metric] == own.sizes[metric]
    history = pd.read_csv(_folder(project, "contrastive", 1) / "model/history.csv")
    found = kept[("contrastive", CLEAN), 1].history
    pd.testing.assert_frame_equal(found, history.astype(float), check_like=True)


def test_keeping_again_gives_the_same_bytes_and_without_runs_nothing_is_lost(project, tmp_path):
    before = [path.read_bytes() for path in kept_paths(project, "openmoji")]
    keep_runs(quick_params(), small_study(), project, "openmoji")
    assert [path.read_bytes() for path in kept_paths(project, "openmoji")] == before
    shutil.copytree(project / "docs", tmp_path / "docs")
    keep_runs(quick_params(), small_study(), tmp_path, "openmoji")
    assert [path.read_bytes() for path in kept_paths(tmp_path, "openmoji")] == before
    assert read_kept(tmp_path, "flickr8k") == {}


def test_numbers_that_are_not_those_of_the_images_are_named(project, tmp_path):
    shutil.copytree(project / "docs", tmp_path / "docs")
    table, _ = kept_paths(tmp_path, "openmoji")
    content = pd.read_parquet(table)
    content.loc[content["metric"] == "i2i/ndcg@10", "clean/cca/1"] += 0.5
    content.to_parquet(table, index=False)
    with pytest.raises(RelalignError, match=r"clean/cca/1 has i2i/ndcg@10"):
        read_kept(tmp_path, "openmoji")


def test_what_was_printed_is_judged_with_both_errors(tmp_path):
    (tmp_path / "docs/study").mkdir(parents=True)
    (tmp_path / earlier.PATH).write_text(
        "dataset,test,variant,metric,reference,corrupted,outcome,seeds,images,difference,low,high,seed_sd,p_holm\n"
        "openmoji,difference,covlr,rsum,contrastive,,,5,1000,2.0,1.0,3.0,1.5,0.01\n"
        "openmoji,difference,covlr,rsum,cca,,,1,1000,2.0,1.0,3.0,,0.03\n"
    )
    results = Results(quick_params(), small_study(), tmp_path, "openmoji")
    claim = Claim("CoVLR", "", "covlr", ("rsum",), ("contrastive",))
    found = earlier.contrast_of(claim, "rsum", "contrastive", results)
    half = np.hypot(t.ppf(0.975, 4) * 1.5 / 5**0.5, t.ppf(0.975, 999) / 1.96)
    assert (found.low, found.high) == pytest.approx((2 - half, 2 + half), rel=1e-3)
    assert found.earlier
    single = earlier.contrast_of(claim, "rsum", "cca", results)
    assert (single.low, single.high, single.errors) == (1.0, 3.0, None)
    assert earlier.contrast_of(claim, "i2i/ndcg@10", "contrastive", results) is None


def test_what_the_repository_says_was_printed_stands_on_the_earlier_page():
    page = (REPOSITORY / "docs/findings/earlier.md").read_text(encoding="utf-8")
    rows = pd.read_csv(REPOSITORY / earlier.PATH)
    assert len(rows) > 100
    for value in rows["difference"]:
        printed = f"{abs(value):g}"
        assert re.search(rf"[+−]{re.escape(printed)}0*\b", page) or value == 0, value


def test_a_study_goes_on_from_what_is_kept(project, tmp_path):
    before = read_kept(project, "openmoji")
    shutil.copytree(project / "docs", tmp_path / "docs")
    write_run(tmp_path, "openmoji", CLEAN, "covlr", 0, skill=0.5)
    write_run(tmp_path, "openmoji", CLEAN, "cca", 1, skill=0.9)
    keep_runs(quick_params(), small_study(), tmp_path, "openmoji")
    after = read_kept(tmp_path, "openmoji")
    assert set(after) == {*before, (("covlr", CLEAN), 0)}
    for key, run in before.items():
        same = after[key].result.metrics == run.result.metrics
        assert same == (key != (("cca", CLEAN), 1))  # what is new takes the place of what was kept
        if same:
            pd.testing.assert_frame_equal(after[key].result.queries, run.result.queries, check_categorical=False)
            pd.testing.assert_frame_equal(after[key].history, run.history)


def test_kept_runs_with_other_settings_than_those_asked_for_count_for_nothing(project, tmp_path):
    shutil.copytree(project / "docs", tmp_path / "docs")
    variants = {"cca": {"of": "cca"}, "contrastive": {"of": "contrastive", "change": {"temperature": 0.2}}}
    study = small_study(variants=variants, sweep=small_study().sweep.model_dump() | {"variants": ["contrastive"]})
    assert Results(quick_params(), study, tmp_path, "openmoji").variants() == ["cca"]
    wanted, made = wanted_runs(quick_params(), study, tmp_path, "openmoji"), kept_settings(tmp_path, "openmoji")
    assert {key[0][0] for key in wanted if wanted[key] != made.get(key)} == {"contrastive"}
    keep_runs(quick_params(), study, tmp_path, "openmoji")
    assert {key[0][0] for key in read_kept(tmp_path, "openmoji")} == {"cca"}


def test_where_a_run_is_computed_and_how_it_is_resampled_make_no_other_run(project, tmp_path):
    params, study = quick_params(), small_study()
    elsewhere = params.model_copy(
        update={
            "training": params.training.model_copy(update={"threads": 7, "device": "cpu"}),
            "evaluate": params.evaluate.model_copy(update={"bootstrap_samples": 77}),
        }
    )
    assert wanted_runs(elsewhere, study, tmp_path, "openmoji") == wanted_runs(params, study, tmp_path, "openmoji")


def test_runs_of_other_queries_than_the_kept_ones_are_refused(project, tmp_path):
    shutil.copytree(project / "docs", tmp_path / "docs")
    table, _ = kept_paths(tmp_path, "openmoji")
    content = pd.read_parquet(table)
    content.loc[content["metric"] == "t2i/recall@5", "queries"] += 1
    content.to_parquet(table, index=False)
    write_run(tmp_path, "openmoji", CLEAN, "covlr", 0, skill=0.5)
    with pytest.raises(RelalignError, match="clean/covlr/0 was measured on other queries"):
        keep_runs(quick_params(), small_study(), tmp_path, "openmoji")


REGIME = {
    "datasets": ["openmoji"],
    "image": "blocks.15",
    "text": "layer.5",
    "variants": ["contrastive", "covlr"],
    "seeds": [0, 1],
    "change": {"training.epochs": 3},
}


def test_a_regime_has_runs_and_claims_of_its_own(project, tmp_path):
    shutil.copytree(project, tmp_path, dirs_exist_ok=True)
    study = small_study(regimes={"trained": REGIME})
    for variant, skill in (("contrastive", 0.3), ("covlr", 0.9)):
        for seed in (0, 1):
            write_run(tmp_path, "openmoji", "trained", variant, seed, skill=skill)
    keep_runs(quick_params(), study, tmp_path, "openmoji")
    clean = Results(quick_params(), study, tmp_path, "openmoji")
    trained = Results(quick_params(), study, tmp_path, "openmoji", regime="trained")
    assert clean.variants() == ["cca", "contrastive"]
    assert trained.variants() == ["contrastive", "covlr"]
    rsum = {found: found.value(("contrastive", CLEAN), 0, "rsum") for found in (clean, trained)}
    assert rsum[trained] < rsum[clean]
    claims = [
        (Claim("CoVLR", "", "covlr", ("rsum",), ("contrastive",)),),
        (Claim("", "", "iais", ("rsum",), ("cca",)),),
    ]
    better, absent = judge_claims(claims, trained, 2)
    assert (better.verdict, absent.verdict) == ("reproduced", "not planned")
    assert judge_claims(claims, clean, 2)[0].verdict == "not run"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"variants": ["nothing"]}, "regimes.trained.variants: 'nothing' is not one of 'variants'"),
        ({"datasets": ["nowhere"]}, "regimes.trained.datasets: 'nowhere' is not one of 'datasets'"),
        ({"change": {"training.epoch": 3}}, "regimes.trained.change"),
        ({"search": {"covlr": {}}}, "regimes.trained.search: 'contrastive' has no entry"),
        (
            {"search": {"covlr": {}, "contrastive": {"axes": [[{"temperature": 0.1}]]}}},
            "regimes.trained.search: every method needs as many trials",
        ),
        (
            {"search": {"covlr": {"start": {"relations": 1}}, "contrastive": {}}},
            "regimes.trained.search.covlr",
        ),
    ],
)
def test_a_regime_that_does_not_fit_is_named(tmp_path, change, said):
    content = small_study().model_dump(mode="json", exclude_none=True) | {"regimes": {"trained": REGIME | change}}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(RelalignError, match=re.escape(said)):
        load_study(tmp_path / "study.yaml", quick_params())


def test_a_regime_is_not_named_as_another_folder_of_results():
    with pytest.raises(ValueError, match="'clean' is taken"):
        small_study(regimes={"clean": REGIME})


def test_claims_about_a_variant_that_is_not_run_are_about_what_stands_for_it(project, tmp_path):
    shutil.copytree(project, tmp_path, dirs_exist_ok=True)
    variants = {
        "cca": {"of": "cca"},
        "contrastive": {"of": "contrastive"},
        "contrastive-other": {"of": "contrastive", "datasets": ["flickr8k"], "elsewhere": "contrastive"},
    }
    study = small_study(variants=variants, sweep=small_study().sweep.model_dump() | {"variants": ["contrastive"]})
    results = Results(quick_params(), study, tmp_path, "openmoji")
    assert results.variants() == ["cca", "contrastive"]
    found = judge_claims(
        [(Claim("", "", name, ("rsum",), ("cca",)),) for name in ("contrastive", "contrastive-other")], results, 2
    )
    assert found[0].parts[0].contrast == found[1].parts[0].contrast
    wrong = {**variants, "cca": {"of": "cca", "elsewhere": "nothing"}}
    content = small_study(variants=wrong).model_dump(mode="json", exclude_none=True)
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(RelalignError, match=r"variants\.cca\.elsewhere: 'nothing' is not one"):
        load_study(tmp_path / "study.yaml", quick_params())
