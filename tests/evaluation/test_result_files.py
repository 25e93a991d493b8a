import json

import numpy as np
import pandas as pd
import pytest

from relalign.errors import RelalignError
from relalign.evaluation.result_files import read_metrics, write_evaluation
from relalign.metrics.measurement import Measurement
from tests.runs_on_disk import QUICK, random_embeddings, write_evaluated_run


def test_metrics_are_the_means_of_the_query_table(tmp_path):
    run = write_evaluated_run(tmp_path, random_embeddings())
    metrics = json.loads((run / "metrics.json").read_text())
    table = pd.read_parquet(run / "evaluation/queries.parquet")
    assert list(table.columns) == ["metric", "query_id", "image_id", "value"]
    for name, rows in table.groupby("metric", observed=True):
        expected = rows["value"].median() if str(name).endswith("median_rank") else rows["value"].mean()
        assert metrics[name] == pytest.approx(expected)
    recalls = [value for name, value in metrics.items() if "/recall@" in name]
    assert len(recalls) == 6
    assert metrics["rsum"] == pytest.approx(sum(recalls))


def test_query_ids_and_image_ids_are_those_of_the_embeddings(tmp_path):
    embeddings = random_embeddings()
    run = write_evaluated_run(tmp_path, embeddings)
    table = pd.read_parquet(run / "evaluation/queries.parquet")
    captions = table[table["metric"] == "t2i/recall@1"]
    assert captions["query_id"].tolist() == embeddings.text_ids.tolist()
    assert captions["image_id"].tolist() == embeddings.text_image_ids.tolist()
    images = table[table["metric"] == "i2t/recall@1"]
    assert images["query_id"].tolist() == images["image_id"].tolist() == embeddings.image_ids.tolist()


def test_summary_has_an_interval_and_n_beside_every_mean(tmp_path):
    run = write_evaluated_run(tmp_path, random_embeddings(images=40, captions=3))
    summary = pd.read_csv(run / "evaluation/summary.csv").set_index("metric")
    assert (summary["low"] <= summary["value"] + 1e-9).all()
    assert (summary["value"] <= summary["high"] + 1e-9).all()
    assert summary.loc["t2i/recall@1", "low"] < summary.loc["t2i/recall@1", "high"]
    assert summary.loc["t2i/recall@5", ["queries", "images"]].tolist() == [120, 40]
    assert summary.loc["i2t/recall@5", ["queries", "images"]].tolist() == [40, 40]


def test_rsums_of_prefixed_metrics_stay_apart(tmp_path):
    ids = np.arange(3, dtype=np.int64)
    items = [
        Measurement(f"{prefix}{side}/recall@1", ids, ids, np.full(3, value))
        for prefix, value in (("", 10.0), ("rerank/", 30.0))
        for side in ("i2t", "t2i")
    ]
    metrics = write_evaluation(tmp_path, items, {}, QUICK)
    assert (metrics["rsum"], metrics["rerank/rsum"]) == (20, 60)


def test_a_number_that_is_not_finite_is_refused(tmp_path):
    item = Measurement("x", np.arange(2), np.arange(2), np.array([1.0, np.nan]))
    with pytest.raises(RelalignError, match="x came out as nan"):
        write_evaluation(tmp_path, [item], {}, QUICK)


@pytest.mark.parametrize("content", ["", "[1]", '{"a": "b"}'])
def test_a_broken_metrics_file_is_named(tmp_path, content):
    path = tmp_path / "metrics.json"
    path.write_text(content)
    with pytest.raises(RelalignError, match=r"metrics\.json"):
        read_metrics(path)
