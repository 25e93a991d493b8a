"""The study's steps on the tiny project: what one leaves is what the next one takes."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from relalign.errors import RelalignError
from relalign.retrieval.relevance_files import make_relevance, relevance_of_split
from relalign.study.claims import KEPT_I, KEPT_T
from relalign.study.layout import SEARCH, StudyLayout, search_condition
from relalign.study.record import (
    SearchRecord,
    current_search,
    fingerprint,
    kept_path,
    read_search,
    search_gone_by,
    start_of,
)
from relalign.study.runs import run_variant
from relalign.study.search import gather_search, keep_search, run_trial, score
from relalign.study.settings import CLEAN
from tests.study.results_on_disk import small_study
from tests.tiny_project import make_features, spoil_test_rows, tiny_params

BETTER = {"temperature": 0.2, "training.learning_rate": 0.01, "backbone.fusion_dropout": 0.3}
SEARCH_OF_TWO = {"methods": {"contrastive": {"start": {"matching_weight": 0.5}, "axes": [[BETTER]]}}}
VARIANTS = {"contrastive": {"of": "contrastive"}, "warm": {"of": "contrastive", "change": {"matching_pairs": 3}}}


@pytest.fixture
def project(tmp_path: Path):
    params = tiny_params()
    make_relevance(make_features(tmp_path, params))
    study = small_study(
        search=SEARCH_OF_TWO, variants=VARIANTS, training={"epochs": 2}, sweep={
            "datasets": [], "kinds": {}, "rates": [], "variants": [], "seeds": []
        }
    )  # fmt: skip
    return params, study, tmp_path


def _searched(params, study, root: Path, *, best: int) -> StudyLayout:
    """The whole search, in which a given trial is made to come out best."""
    here = {"dataset": params.dataset}
    layout = StudyLayout.of(root, params.dataset, SEARCH, params)
    for trial in (0, 1):
        run_trial(params, study, root, **here, method="contrastive", trial=trial)
        _score(layout.trial("contrastive", trial, 0), 90.0 + (trial == best))
    gather_search(params, study, root, **here)
    return layout


def _score(folder: Path, score: float) -> None:
    record = json.loads((folder / "validation.json").read_text())
    (folder / "validation.json").write_text(json.dumps(record | {"score": score}))


def _settings(run: Path) -> dict:
    return json.loads((run / "model/config.json").read_text())


def test_the_best_trial_on_validation_is_what_is_run(project) -> None:
    params, study, root = project
    here = {"dataset": params.dataset}
    layout = _searched(params, study, root, best=1)
    assert read_search(layout.search).place("contrastive") == 1

    run_variant(params, study, root, **here, condition=CLEAN, variant="warm", seed=3, search=layout.search)
    run = StudyLayout.of(root, params.dataset, CLEAN, params).run("warm", 3)
    settings = _settings(run)["settings"]
    assert (settings["temperature"], settings["matching_pairs"]) == (0.2, 3)
    history = pd.read_csv(run / "model/history.csv")
    assert len(history) == 1 + 2, "the study's budget, after the start"
    assert _settings(run)["backbone"]["fusion_dropout"] == 0.3
    assert history["learning_rate"].max() == pytest.approx(0.01, rel=0.6)
    assert {"rsum", "i2i/ndcg@10", "isd/singular", "rerank/rsum", KEPT_I, KEPT_T} <= json.loads(
        (run / "metrics.json").read_text()
    ).keys()


def test_a_trial_adds_its_change_to_the_best_before_its_axis(project) -> None:
    params, study, root = project
    layout = _searched(params, study, root, best=0)
    starts = [_settings(layout.trial("contrastive", trial, 0))["settings"] for trial in (0, 1)]
    assert [(one["matching_weight"], one["temperature"]) for one in starts] == [(0.5, 0.05), (0.5, 0.2)]
    assert read_search(layout.search).chosen("contrastive") == {"matching_weight": 0.5}

    longer = {
        "methods": {
            "contrastive": {
                "start": {"matching_weight": 0.5},
                "axes": [[BETTER], [{"matching_pairs": 2}]],
            }
        }
    }
    changed = small_study(**study.model_dump(exclude={"search", "evaluate"}), search=longer)
    _score(layout.trial("contrastive", 1, 0), 99.0)
    run_trial(params, changed, root, dataset=params.dataset, method="contrastive", trial=2)
    found = json.loads((layout.trial("contrastive", 2, 0) / "validation.json").read_text())["change"]
    assert found == {"matching_weight": 0.5, **BETTER, "matching_pairs": 2}


def test_a_variant_may_have_a_budget_and_a_model_of_its_own(project) -> None:
    params, study, root = project
    here = {"dataset": params.dataset}
    search = _searched(params, study, root, best=0).search
    variants = VARIANTS | {
        "long": {"of": "contrastive", "change": {"training.epochs": 3, "backbone.fusion_layers": 2}}
    }
    changed = small_study(
        **study.model_dump(exclude={"variants", "evaluate"}), variants=variants, evaluate={"rerank_depth": 0}
    )
    run_variant(params, changed, root, **here, condition=CLEAN, variant="long", seed=0, search=search)
    run = StudyLayout.of(root, params.dataset, CLEAN, params).run("long", 0)
    assert json.loads((run / "model/config.json").read_text())["backbone"]["fusion_layers"] == 2
    assert len(pd.read_csv(run / "model/history.csv")) == 1 + 3
    assert "rerank/rsum" not in json.loads((run / "metrics.json").read_text())


def test_the_kept_record_is_gone_by_while_it_was_made_with_these_settings(project) -> None:
    params, study, root = project
    found = _searched(params, study, root, best=1).search
    keep_search(params, small_study(**study.model_dump(exclude={"datasets"}), datasets=[params.dataset]), root)
    kept = kept_path(root, params.dataset)
    assert kept.read_text() == found.read_text()
    assert current_search(params, study, root, params.dataset) == found, "keeping it changes nothing"
    found.unlink()
    assert current_search(params, study, root, params.dataset) == kept
    warmer = params.model_copy(update={"backbone": params.backbone.model_copy(update={"dropout": 0.37})})
    assert current_search(warmer, study, root, params.dataset) == found, "to be made"
    elsewhere = params.model_copy(update={"training": params.training.model_copy(update={"threads": 2})})
    assert current_search(elsewhere, study, root, params.dataset) == kept


def test_a_missing_or_broken_record_is_named(tmp_path: Path) -> None:
    with pytest.raises(RelalignError, match=r"search\.json does not exist.*make search"):
        read_search(tmp_path / "search.json")
    (tmp_path / "search.json").write_text('{"settings": "x", "methods": {"cca": [{"change": {}}]}}')
    with pytest.raises(RelalignError, match=r"(?s)no record of a search.*score.*make search"):
        read_search(tmp_path / "search.json")


def test_of_equal_trials_the_first_is_chosen() -> None:
    trials = [{"change": {"power": power}, "score": score} for power, score in ((1, 1.0), (2, 3.0), (3, 3.0))]
    record = SearchRecord.model_validate({"settings": "", "methods": {"cca": trials}})
    assert (record.place("cca"), record.chosen("cca")) == (1, {"power": 2})


def test_only_data_made_poor_are_measured_as_the_sweep_says(project) -> None:
    params, study, root = project
    search = _searched(params, study, root, best=0).search
    sweep = {"datasets": [params.dataset], "kinds": {"text": "drop"}, "rates": [0.5], "variants": ["contrastive"]}
    sweep |= {"seeds": [0], "change": {"evaluate.rerank_depth": 0}}
    changed = small_study(**study.model_dump(exclude={"sweep"}), sweep=sweep)
    poor, text = StudyLayout.of(root, params.dataset, "text-drop-50", params), params.encoders.text
    shutil.copytree(root / "data/features" / params.dataset / text, poor.features(text))
    reranked = {}
    for condition in (CLEAN, "text-drop-50"):
        given = {"dataset": params.dataset, "condition": condition, "variant": "contrastive", "seed": 0}
        run_variant(params, changed, root, **given, search=search)
        run = StudyLayout.of(root, params.dataset, condition, params).run("contrastive", 0)
        reranked[condition] = "rerank/rsum" in json.loads((run / "metrics.json").read_text())
    assert reranked == {CLEAN: True, "text-drop-50": False}


def test_a_trial_never_reads_the_test_split(project) -> None:
    params, study, root = project
    layout = StudyLayout.of(root, params.dataset, SEARCH, params)

    def measured() -> str:
        run_trial(params, study, root, dataset=params.dataset, method="contrastive", trial=0)
        return (layout.trial("contrastive", 0, 0) / "validation.json").read_text()

    clean = measured()
    spoil_test_rows(layout, params)
    assert measured() == clean


def test_the_score_is_mean_recall_plus_mean_ndcg() -> None:
    found = {"rsum": 300.0, "i2i/ndcg@10": 40.0, "t2t/ndcg@10": 60.0}
    assert score(found) == 50.0 + 50.0


def test_only_the_corrupted_modality_has_features_of_its_own() -> None:
    params = tiny_params()
    layout = StudyLayout.of(Path("p"), "d", "text-drop-20", params)
    assert layout.features(params.encoders.text) == Path("p/data/study/d/text-drop-20") / params.encoders.text
    assert layout.features(params.encoders.image) == Path("p/data/features/d") / params.encoders.image
    assert layout.relevance == Path("p/data/relevance/d"), "judged by the clean captions"


def test_relevance_of_a_split_is_that_of_the_relevance_stage(project) -> None:
    params, _, root = project
    layout = StudyLayout.of(root, params.dataset, CLEAN, params)
    found = relevance_of_split(layout, "test")
    assert np.array_equal(found.matrix, np.load(layout.relevance / "relevance.npy"))
    assert np.array_equal(found.image_ids, np.load(layout.relevance / "image_ids.npy"))


def test_a_regime_is_tuned_from_the_tuned_method_and_its_runs_go_by_that(project) -> None:
    params, study, root = project
    here = {"dataset": params.dataset}
    regime = {"variants": ["contrastive"], "seeds": [5], "change": {"training.epochs": 1, "temperature": 0.07}}
    regime |= {"datasets": [params.dataset], "search": {"contrastive": {"axes": [[{"temperature": 0.4}]]}}}
    changed = small_study(**study.model_dump(exclude={"regimes"}), regimes={"trained": regime})
    clean = _searched(params, changed, root, best=0)
    layout = StudyLayout.of(root, params.dataset, search_condition("trained"), params)
    for _, encoder in params.encoders:
        shutil.copytree(root / "data/features" / params.dataset / encoder, layout.features(encoder))
    for trial in (0, 1):
        run_trial(params, changed, root, **here, method="contrastive", trial=trial, regime="trained")
        _score(layout.trial("contrastive", trial, 0), 90.0 + trial)
    gather_search(params, changed, root, **here, regime="trained")
    start = {"matching_weight": 0.5, "training.epochs": 1, "temperature": 0.07}
    assert [one.change for one in read_search(layout.search).methods["contrastive"]] == [
        start,
        start | {"temperature": 0.4},
    ]
    found = current_search(params, changed, root, params.dataset, "trained")
    assert (found, current_search(params, changed, root, params.dataset)) == (layout.search, clean.search)
    run_variant(params, changed, root, **here, condition="trained", variant="contrastive", seed=5, search=found)
    run = StudyLayout.of(root, params.dataset, "trained", params).run("contrastive", 5)
    settings = json.loads((run / "model/manifest.json").read_text())["parameters"]
    assert settings["training"]["epochs"] == 1
    assert _settings(run)["settings"]["temperature"] == 0.4
    # Another tuning on clean data starts the regime's elsewhere: its record is out of date.
    _score(clean.trial("contrastive", 1, 0), 99.0)
    gather_search(params, changed, root, **here)
    assert search_gone_by(params, changed, root, params.dataset).place("contrastive") == 1
    start_now = start_of(params, changed, root, params.dataset, "trained")
    now = fingerprint(params, changed, params.dataset, "trained", start_now)
    assert read_search(layout.search).settings != now
