"""What the study's rules call: one trial of the search, its choice, corrupted features, one run of a variant."""

import json
from pathlib import Path
from typing import Any

import torch

from relalign.artifacts import pretty_json, write_atomic
from relalign.cross_modal import measure_recall
from relalign.evaluation import evaluate
from relalign.features import extract_features
from relalign.metrics.measurement import SUM
from relalign.model_files import load_model
from relalign.params import Params
from relalign.relevance_files import relevance_of_split
from relalign.runs import embed_split, export, train
from relalign.single_modal import measure_single_modal
from relalign.split_data import load_split
from relalign.study.layout import SEARCH, StudyLayout
from relalign.study.settings import (
    Changed,
    Study,
    changed,
    corruption_of,
    evaluate_of,
    read_choice,
)
from relalign.test_set import graded_test_set

RECALL_AT = (1, 5, 10)
NDCG_AT = 10


def run_trial(params: Params, study: Study, root: Path, *, dataset: str, method: str, trial: int) -> None:
    """Train one trial and write what it comes to on the validation split (the test split is not read)."""
    layout, tuning = StudyLayout.of(root, dataset, SEARCH, params), study.search.methods[method]
    before = _records(layout, study, method, tuning.earlier(trial))
    change = {**(before[_best(before)]["change"] if before else {}), **tuning.trials[trial]}
    made_with = changed(params, study, method, change, where=f"search.methods.{method}, trial {trial}")
    folder = layout.trial(method, trial, study.search.seed)
    one = _only(params, dataset, folder.parent.name, made_with)
    train(one, layout, method=folder.parent.name, seed=study.search.seed)
    found = validation_metrics(one, layout, folder / "model")
    write_atomic(folder / "validation.json", pretty_json({"change": change, "score": score(found), **found}))


def validation_metrics(params: Params, layout: StudyLayout, model: Path) -> dict[str, float]:
    """Rsum and both single-modal nDCG@10 of a trained model on the validation split."""
    data = load_split(params, layout, "val", device=torch.device("cpu"))
    embeddings = embed_split(load_model(model), data, rows_at_once=params.export.batch_size)
    recalls = [one for one in measure_recall(embeddings, ks=RECALL_AT) if "recall@" in one.name]
    graded = graded_test_set(embeddings, relevance_of_split(layout, "val"))
    single = measure_single_modal(graded, ks=(NDCG_AT,))
    return {SUM: sum(one.value for one in recalls), **{one.name: one.value for one in single}}


def score(found: dict[str, float]) -> float:
    """What tuning maximises, alike for all methods: mean recall plus mean single-modal nDCG@10, in percent.

    All three papers promise both at once: tuned for one, a method would be judged by what it was not tuned for.
    """
    return found[SUM] / 6 + (found[f"i2i/ndcg@{NDCG_AT}"] + found[f"t2t/ndcg@{NDCG_AT}"]) / 2


def choose(params: Params, study: Study, root: Path, *, dataset: str, method: str) -> None:
    """Write the trial with the best score; of equal ones the first."""
    layout = StudyLayout.of(root, dataset, SEARCH, params)
    records = _records(layout, study, method, range(len(study.search.methods[method].trials)))
    best = _best(records)
    write_atomic(layout.choice(method), pretty_json({"trial": best, **records[best]}))


def _records(layout: StudyLayout, study: Study, method: str, trials: range) -> list[dict[str, Any]]:
    paths = [layout.trial(method, trial, study.search.seed) / "validation.json" for trial in trials]
    return [json.loads(path.read_text()) for path in paths]


def _best(records: list[dict[str, Any]]) -> int:
    return max(range(len(records)), key=lambda trial: records[trial]["score"])


def make_corrupted_features(params: Params, root: Path, *, dataset: str, condition: str) -> None:
    """Publish the features of the one modality that a condition corrupts."""
    layout = StudyLayout.of(root, dataset, condition, params)
    encoder = str(layout.corrupted)
    extract_features(
        params.encoder[encoder],
        layout.encoder(encoder),
        layout.pairs,
        layout.features(encoder),
        params.features,
        root=root,
        max_pixels=params.validate_.max_pixels,
        corruption=corruption_of(condition),
    )


def run_variant(
    params: Params, study: Study, root: Path, *, dataset: str, condition: str, variant: str, seed: int
) -> None:
    """Train, export and evaluate one variant, with its method's tuned settings and its own changes."""
    layout = StudyLayout.of(root, dataset, condition, params)
    chosen = study.variants[variant]
    change = {**read_choice(layout.choice(chosen.of)), **chosen.change}
    made_with = changed(params, study, chosen.of, change, where=f"variants.{variant}")
    one = _only(params, dataset, variant, made_with).model_copy(update={"evaluate": evaluate_of(params, study)})
    train(one, layout, method=variant, seed=seed)
    export(one, layout, method=variant, seed=seed)
    evaluate(one, layout, method=variant, seed=seed)


def _only(params: Params, dataset: str, name: str, made_with: Changed) -> Params:
    update = {
        "dataset": dataset,
        "method": {name: made_with.method},
        "backbone": made_with.backbone,
        "training": made_with.training,
        "tracking": params.tracking.model_copy(update={"experiment": f"{params.tracking.experiment}-study"}),
    }
    return params.model_copy(update=update)
