import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_1samp

from relalign.comparison.paired import RunResult, read_run
from relalign.comparison.stage import compare, compare_systems, read_comparison, write_comparison
from relalign.errors import RelalignError
from relalign.layout import Layout
from relalign.system.artifacts import publish
from relalign.training.history import write_history
from tests.runs_on_disk import QUICK, random_embeddings, write_evaluated_run
from tests.tiny_project import tiny_params


@pytest.fixture
def layout(tmp_path):
    """Two methods with two seeds; 'contrastive' (the baseline) is clearly better than 'cca'."""
    layout = Layout(tmp_path, "toy")
    for method, noise in (("cca", 1.2), ("contrastive", 0.4)):
        for seed in (0, 1):
            run = write_evaluated_run(layout.run(method, seed), random_embeddings(noise=noise, seed=seed))
            with publish(run / "model", made_by="test") as draft:
                epochs = range(0, 4 if method == "contrastive" else 1, 2)
                write_history(draft, [{"epoch": epoch, "val/rsum": 10.0 * epoch + seed} for epoch in epochs])
    return layout


@pytest.fixture
def params():
    return tiny_params(
        methods=["cca", "contrastive"], seeds=[0, 1], evaluate={"bootstrap_samples": 50, "permutations": 99}
    )


def test_values_are_means_over_seeds_of_metrics_json(layout, params):
    compare(params, layout)
    comparison = read_comparison(layout.results / "comparison.csv")
    assert list(comparison.entries) == ["cca", "contrastive"]
    assert (comparison.baseline, comparison.seeds) == ("contrastive", 2)
    for method in ("cca", "contrastive"):
        runs = [json.loads((layout.run(method, seed) / "metrics.json").read_text()) for seed in (0, 1)]
        assert set(comparison.entries[method]) == set(runs[0])
        for metric, entry in comparison.entries[method].items():
            values = [run[metric] for run in runs]
            assert entry.value == pytest.approx(np.mean(values))
            assert entry.seed_sd == pytest.approx(np.std(values, ddof=1))


def test_a_clear_difference_of_one_seed_is_significant_over_images_and_n_stands_beside_it(layout, params):
    compare(params.model_copy(update={"seeds": (0,)}), layout)
    entry = read_comparison(layout.results / "comparison.csv").entries["cca"]["rsum"]
    assert entry.difference < 0
    assert entry.difference_low < entry.difference < entry.difference_high < 0
    assert entry.p == entry.p_holm == 0.01
    assert (entry.queries, entry.images) == (120, 40)


def _shifted(layout, by):
    """The baseline's first run and, for each of `by`, one like it whose first recalls are so much lower."""
    base = read_run(layout.run("contrastive", 0))
    made = []
    for points in by:
        queries = base.queries.copy()
        queries.loc[queries["metric"] == "i2t/recall@1", "value"] -= points
        metrics = {**base.metrics, "i2t/recall@1": base.metrics["i2t/recall@1"] - points}
        made.append(RunResult("shifted", metrics, queries))
    return {"base": [base] * len(by), "other": made}


def test_several_seeds_are_tested_over_trainings_too(layout):
    """No image differs from another, so that all that can differ is the training."""
    agreeing, unlike = ([9.0, 10, 11], [1.0, 5, 24])
    for by in (agreeing, unlike):
        entry = compare_systems(_shifted(layout, by), baseline="base", settings=QUICK).entries["other"][
            "i2t/recall@1"
        ]
        expected = ttest_1samp([-points for points in by], 0.0)
        interval = expected.confidence_interval(0.95)
        assert entry.p == pytest.approx(expected.pvalue)
        assert (entry.difference_low, entry.difference_high) == pytest.approx((interval.low, interval.high))
        assert (entry.p_holm < 0.05) == (by is agreeing)


def test_unequally_many_seeds_are_compared_over_images_alone(layout):
    systems = _shifted(layout, [1.0, 5, 24])
    entries = [
        compare_systems({"base": base, "other": systems["other"]}, baseline="base", settings=QUICK).entries[
            "other"
        ]
        for base in (systems["base"], systems["base"][:1])
    ]
    assert entries[1]["i2t/recall@1"].p == 1 / (1 + QUICK.permutations)
    assert entries[0]["i2t/recall@1"].p > 0.05


def test_equal_systems_do_not_differ(layout):
    run = read_run(layout.run("cca", 0))
    entry = compare_systems({"a": [run], "b": [run]}, baseline="b", settings=QUICK).entries["a"]["rsum"]
    assert (entry.difference, entry.difference_low, entry.difference_high, entry.p) == (0, 0, 0, 1)
    assert entry.seed_sd is None


def test_holm_corrects_over_the_methods_of_one_metric(layout):
    runs = {name: [read_run(layout.run(name, 0))] for name in ("cca", "contrastive")}
    systems = {"base": runs["contrastive"], "one": runs["cca"], "two": runs["cca"], "same": runs["contrastive"]}
    entries = compare_systems(systems, baseline="base", settings=QUICK).entries
    held = [(entries[name]["rsum"].p, entries[name]["rsum"].p_holm) for name in ("one", "two", "same")]
    assert held == [(0.01, 0.03), (0.01, 0.03), (1, 1)]


def test_the_baseline_and_medians_are_not_tested(layout, params):
    compare(params, layout)
    entries = read_comparison(layout.results / "comparison.csv").entries
    assert entries["contrastive"]["rsum"].p is None
    median = entries["cca"]["i2t/median_rank"]
    assert median.p is None
    assert median.difference_low <= median.difference <= median.difference_high


def test_a_metric_that_a_method_lacks_is_blank(layout):
    path = layout.run("contrastive", 0) / "metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"isd/singular": 0.25}))
    systems = {name: [read_run(layout.run(name, 0))] for name in ("cca", "contrastive")}
    comparison = compare_systems(systems, baseline="contrastive", settings=QUICK)
    write_comparison(comparison, layout.results / "comparison.csv")
    assert read_comparison(layout.results / "comparison.csv") == comparison
    assert "isd/singular" not in comparison.entries["cca"]
    assert comparison.entries["contrastive"]["isd/singular"].value == 0.25


def test_runs_on_different_queries_are_refused(layout, params):
    write_evaluated_run(layout.run("cca", 1), random_embeddings(images=41))
    with pytest.raises(RelalignError, match="different queries"):
        compare(params, layout)


def test_comparing_again_gives_the_same_bytes(layout, params):
    contents = []
    for _ in range(2):
        compare(params, layout)
        contents.append((layout.results / "comparison.csv").read_bytes())
    assert contents[0] == contents[1]


def test_plots_hold_the_means_over_seeds_of_histories_and_the_recalls_of_the_comparison(layout, params):
    compare(params, layout)
    training = pd.read_csv(layout.results / "training.csv")
    assert training.values.tolist() == [[0, 0.5, "cca"], [0, 0.5, "contrastive"], [2, 20.5, "contrastive"]]
    recall = pd.read_csv(layout.results / "recall.csv").set_index(["method", "metric"])["recall"]
    entries = read_comparison(layout.results / "comparison.csv").entries
    assert len(recall) == sum("/recall@" in metric for held in entries.values() for metric in held)
    for (method, metric), value in recall.items():
        assert value == pytest.approx(entries[method][metric].value, abs=1e-4)
