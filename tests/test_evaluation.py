import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from relalign.errors import RelalignError
from relalign.evaluation import evaluate
from relalign.layout import Layout
from tests.runs_on_disk import project_params, random_embeddings, write_run

ROOT = Path(__file__).parents[1]


@pytest.fixture
def layout(tmp_path):
    return Layout(tmp_path, "toy")


def test_metrics_are_the_means_of_the_query_table(layout):
    run = write_run(layout, "cca", 0, random_embeddings())
    evaluate(project_params(ROOT), layout, method="cca", seed=0)
    metrics = json.loads((run / "metrics.json").read_text())
    table = pd.read_parquet(run / "evaluation/queries.parquet")
    assert list(table.columns) == ["metric", "query_id", "image_id", "value"]
    for name, rows in table.groupby("metric", observed=True):
        expected = rows["value"].median() if str(name).endswith("median_rank") else rows["value"].mean()
        assert metrics[name] == pytest.approx(expected)
    recalls = [value for name, value in metrics.items() if "/recall@" in name and name.count("/") == 1]
    assert len(recalls) == 6
    assert metrics["rsum"] == pytest.approx(sum(recalls))


def test_query_ids_and_image_ids_are_those_of_the_embeddings(layout):
    embeddings = random_embeddings()
    run = write_run(layout, "cca", 0, embeddings)
    evaluate(project_params(ROOT), layout, method="cca", seed=0)
    table = pd.read_parquet(run / "evaluation/queries.parquet")
    captions = table[table["metric"] == "t2i/recall@1"]
    assert captions["query_id"].tolist() == embeddings.text_ids.tolist()
    assert captions["image_id"].tolist() == embeddings.text_image_ids.tolist()
    images = table[table["metric"] == "i2t/recall@1"]
    assert images["query_id"].tolist() == images["image_id"].tolist() == embeddings.image_ids.tolist()


def test_evaluating_again_gives_the_same_bytes(layout):
    run = write_run(layout, "cca", 0, random_embeddings())
    files = [
        "metrics.json",
        *(f"evaluation/{name}" for name in ("queries.parquet", "summary.csv", "manifest.json")),
    ]
    contents = []
    for _ in range(2):
        evaluate(project_params(ROOT), layout, method="cca", seed=0)
        contents.append([(run / name).read_bytes() for name in files])
    assert contents[0] == contents[1]


def test_summary_has_an_interval_and_n_beside_every_mean(layout):
    run = write_run(layout, "cca", 0, random_embeddings(images=40, captions=3))
    evaluate(project_params(ROOT), layout, method="cca", seed=0)
    summary = pd.read_csv(run / "evaluation/summary.csv").set_index("metric")
    assert (summary["low"] <= summary["value"] + 1e-9).all()
    assert (summary["value"] <= summary["high"] + 1e-9).all()
    assert summary.loc["t2i/recall@5", ["queries", "images"]].tolist() == [120, 40]
    assert summary.loc["i2t/recall@5", ["queries", "images"]].tolist() == [40, 40]


def test_a_bad_embedding_is_an_error_naming_its_id_and_leaves_nothing_behind(layout):
    embeddings = random_embeddings()
    embeddings.text[4] = np.nan
    run = write_run(layout, "cca", 0, embeddings)
    with pytest.raises(RelalignError, match="ids 1004"):
        evaluate(project_params(ROOT), layout, method="cca", seed=0)
    assert sorted(path.name for path in run.iterdir()) == ["embeddings", "model"]
