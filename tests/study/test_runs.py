"""The study's steps on the tiny project: what one leaves is what the next one takes."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from relalign.relevance_files import make_relevance, relevance_of_split
from relalign.study.layout import SEARCH, StudyLayout
from relalign.study.runs import choose, run_trial, run_variant, score
from relalign.study.settings import CLEAN
from tests.study.results_on_disk import small_study
from tests.tiny_project import make_features, spoil_test_rows, tiny_params

TRIALS = {"contrastive": [{}, {"temperature": 0.2}]}
VARIANTS = {"contrastive": {"of": "contrastive"}, "warm": {"of": "contrastive", "change": {"matching_pairs": 3}}}


@pytest.fixture
def project(tmp_path: Path):
    params = tiny_params()
    make_relevance(make_features(tmp_path, params))
    study = small_study(
        search={"seed": 0, "trials": TRIALS}, variants=VARIANTS, training={"epochs": 2}, sweep={
            "datasets": [], "kinds": {}, "rates": [], "variants": [], "seeds": []
        }
    )  # fmt: skip
    return params, study, tmp_path


def test_the_best_trial_on_validation_is_chosen_and_its_settings_are_run(project) -> None:
    params, study, root = project
    here = {"dataset": params.dataset}
    for trial in (0, 1):
        run_trial(params, study, root, **here, method="contrastive", trial=trial)
    layout = StudyLayout.of(root, params.dataset, SEARCH, params)
    records = [json.loads((layout.trial("contrastive", k, 0) / "validation.json").read_text()) for k in (0, 1)]
    records[1]["score"] = records[0]["score"] + 1  # whichever was better: the second must be taken now
    (layout.trial("contrastive", 1, 0) / "validation.json").write_text(json.dumps(records[1]))
    choose(params, study, root, **here, method="contrastive")
    assert json.loads(layout.choice("contrastive").read_text())["trial"] == 1

    run_variant(params, study, root, **here, condition=CLEAN, variant="warm", seed=3)
    run = StudyLayout.of(root, params.dataset, CLEAN, params).run("warm", 3)
    settings = json.loads((run / "model/config.json").read_text())["settings"]
    assert (settings["temperature"], settings["matching_pairs"]) == (0.2, 3)
    assert len(pd.read_csv(run / "model/history.csv")) == 1 + 2, "the study's budget, after the start"
    assert {"rsum", "i2i/ndcg@10", "isd/singular", "rerank/rsum"} <= json.loads(
        (run / "metrics.json").read_text()
    ).keys()


def test_a_variant_may_have_a_budget_and_a_model_of_its_own(project) -> None:
    params, study, root = project
    here = {"dataset": params.dataset}
    for trial in (0, 1):
        run_trial(params, study, root, **here, method="contrastive", trial=trial)
    choose(params, study, root, **here, method="contrastive")
    variants = VARIANTS | {
        "long": {"of": "contrastive", "training": {"epochs": 3}, "backbone": {"fusion_layers": 2}}
    }
    changed = small_study(
        **study.model_dump(exclude={"variants", "evaluate"}), variants=variants, evaluate={"rerank_depth": 0}
    )
    run_variant(params, changed, root, **here, condition=CLEAN, variant="long", seed=0)
    run = StudyLayout.of(root, params.dataset, CLEAN, params).run("long", 0)
    assert json.loads((run / "model/config.json").read_text())["backbone"]["fusion_layers"] == 2
    assert len(pd.read_csv(run / "model/history.csv")) == 1 + 3
    assert "rerank/rsum" not in json.loads((run / "metrics.json").read_text())


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
