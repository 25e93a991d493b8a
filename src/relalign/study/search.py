"""The study's search, on the validation split: one trial, and the record of all (`relalign.study.record`)."""

import json
from pathlib import Path

import torch

from relalign.evaluation.cross_modal import measure_recall
from relalign.evaluation.single_modal import measure_single_modal
from relalign.evaluation.test_set import graded_test_set
from relalign.methods.model_files import load_model
from relalign.metrics.measurement import SUM
from relalign.retrieval.relevance_files import relevance_of_split
from relalign.settings import Params
from relalign.study.layout import StudyLayout, search_condition
from relalign.study.record import SearchRecord, Trial, best, fingerprint, kept_path, read_search, start_of
from relalign.study.settings import CLEAN, Study, changed, cuts_of, only
from relalign.system.artifacts import pretty_json, write_atomic
from relalign.training.runs import embed_split, train
from relalign.training.split_data import load_split

RECALL_AT = (1, 5, 10)
NDCG_AT = 10
DECIMALS = 2  # of a score in the record: beyond them machines differ


def run_trial(
    params: Params, study: Study, root: Path, *, dataset: str, method: str, trial: int, regime: str = CLEAN
) -> None:
    """Train one trial and write what it comes to on the validation split (the test split is not read)."""
    layout, tuning = StudyLayout.of(root, dataset, search_condition(regime), params), study.tunings(regime)[method]
    before = _trials(layout, study, method, tuning.earlier(trial))
    start = start_of(params, study, root, dataset, regime).get(method, {})
    known = before[best([one.score for one in before])].change if before else start
    change = {**known, **tuning.trials[trial]}
    made_with = changed(params, study, method, change, where=f"search of {method} ({regime}), trial {trial}")
    folder = layout.trial(method, trial, study.search.seed)
    one = only(params, dataset, folder.parent.name, made_with, **cuts_of(study, regime))
    train(one, layout, method=folder.parent.name, seed=study.search.seed)
    found = validation_metrics(one, layout, folder / "model")
    write_atomic(folder / "validation.json", pretty_json({"change": change, "score": score(found), **found}))


def gather_search(params: Params, study: Study, root: Path, *, dataset: str, regime: str = CLEAN) -> None:
    """Write the record of all trials, which have been run."""
    layout = StudyLayout.of(root, dataset, search_condition(regime), params)
    methods = {
        method: _trials(layout, study, method, range(len(tuning.trials)))
        for method, tuning in study.tunings(regime).items()
    }
    start = start_of(params, study, root, dataset, regime)
    record = SearchRecord(settings=fingerprint(params, study, dataset, regime, start), methods=methods)
    write_atomic(layout.search, pretty_json(record.model_dump(mode="json")))


def keep_search(params: Params, study: Study, root: Path) -> None:
    """Keep the records of all datasets and regimes, which have been gathered, in the repository."""
    for dataset in study.datasets:
        for regime in study.searched(dataset):
            found = StudyLayout.of(root, dataset, search_condition(regime), params).search
            read_search(found)
            write_atomic(kept_path(root, dataset, regime), found.read_text(encoding="utf-8"))


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


def _trials(layout: StudyLayout, study: Study, method: str, places: range) -> list[Trial]:
    paths = [layout.trial(method, place, study.search.seed) / "validation.json" for place in places]
    records = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    return [Trial(change=one["change"], score=round(one["score"], DECIMALS)) for one in records]
