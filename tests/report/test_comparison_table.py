"""Bold and marks say no more than the tests do."""

from dataclasses import replace

import pytest

from relalign.comparison.stage import Comparison, Entry
from relalign.report.comparison_table import (
    cells,
    columns,
    groups,
    number,
    p_value,
    same_embeddings,
    terminal_table,
)
from relalign.report.definitions import define, family


def comparison(metric: str = "rsum", **methods: tuple[float, float | None]) -> Comparison:
    """Methods by `value, p`, of which `base` is the baseline."""
    base = methods["base"][0]
    entries = {
        name: {metric: Entry(value, queries=7, difference=None if p is None else value - base, p=p, p_holm=p)}
        for name, (value, p) in methods.items()
    }
    return Comparison("base", 3, entries)


def best(held: Comparison, metric: str = "rsum") -> list[str]:
    return [name for name, cell in cells(held, metric).items() if cell.best]


def test_the_best_is_bold_only_if_it_differs_significantly_from_the_baseline() -> None:
    assert best(comparison(base=(50.0, None), other=(60.0, 0.01))) == ["other"]
    assert best(comparison(base=(50.0, None), other=(60.0, 0.20))) == []


def test_the_baseline_is_bold_only_if_every_other_method_differs_significantly() -> None:
    assert best(comparison(base=(50.0, None), a=(40.0, 0.01), b=(30.0, 0.01))) == ["base"]
    assert best(comparison(base=(50.0, None), a=(49.0, 0.30), b=(30.0, 0.01))) == []


def test_a_shared_first_place_is_not_bold() -> None:
    assert best(comparison(base=(50.0, None), a=(60.0, 0.01), b=(60.0, 0.01))) == []


def test_lower_is_better_for_ranks() -> None:
    held = comparison("i2t/mean_rank", base=(5.0, None), other=(3.0, 0.01))
    assert best(held, "i2t/mean_rank") == ["other"]
    assert cells(held, "i2t/mean_rank")["other"].verdict == "better"


def test_a_metric_of_unknown_direction_gets_neither_bold_nor_mark() -> None:
    held = comparison("geometry/modality_gap", base=(0.5, None), other=(0.3, 0.01))
    assert best(held, "geometry/modality_gap") == []
    assert cells(held, "geometry/modality_gap")["other"].verdict == ""


def test_a_lone_method_is_not_bold() -> None:
    assert best(comparison(base=(50.0, None))) == []


def test_a_metric_that_a_method_lacks_is_a_blank() -> None:
    held = Comparison("base", 1, {"base": {"rsum": Entry(1.0)}, "other": {}})
    assert cells(held, "rsum")["other"].mean == ""
    assert "other" in terminal_table(held)


def test_only_measured_columns_are_shown_in_the_fixed_order() -> None:
    entries = {"base": {name: Entry(1.0, queries=4) for name in ("rsum", "t2i/recall@1", "i2t/recall@1")}}
    held = Comparison("base", 1, entries)
    assert columns(held) == ["i2t/recall@1", "t2i/recall@1", "rsum"]
    assert [(group.title, group.n, group.metrics) for group in groups(held, columns(held))] == [
        ("image → text", 4, ["R@1"]),
        ("text → image", 4, ["R@1"]),
        ("both", None, ["Rsum"]),
    ]


def test_the_terminal_table_lines_up_and_marks_significance() -> None:
    lines = terminal_table(comparison(base=(50.0, None), other=(612.345, 0.001))).splitlines()
    assert lines[0].split() == ["method", "rsum"]
    assert lines[3].split() == ["other", "612.3*"]
    assert len({len(line) for line in lines[:4]}) == 1
    assert "3 seeds" in lines[-1]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.00"),
        (0.0312, "0.031"),
        (0.00078, "0.00078"),
        (-3.14159, "−3.14"),
        (41.26, "41.3"),
        (600.0, "600.0"),
    ],
)
def test_numbers_have_the_digits_they_deserve(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(("p", "text"), [(0.0004, "< 0.001"), (0.0312, "= 0.031"), (1.0, "= 1.000")])
def test_p_values_are_never_shown_as_zero(p: float, text: str) -> None:
    assert p_value(p) == text


@pytest.mark.parametrize(
    ("metric", "prefix", "short"),
    [
        ("i2t/recall@10", "", "R@10"),
        ("rerank/rsum", "rerank", "Rsum"),
        ("released/mixed/t2it/ndcg@50", "released/mixed", "nDCG@50"),
        ("folds1000/rsum", "folds1000", "Rsum"),
        ("eccv/i2t/map@r", "eccv", "mAP@R"),
        ("geometry/text_neighbours@10", "geometry", "kept@10"),
        ("isd/singular", "isd", "ISD, singular"),
        ("isd/annotated", "isd", "ISD, annotated"),
        ("cxc/sits", "cxc", "correlation"),
    ],
)
def test_metrics_are_known_in_every_family(metric: str, prefix: str, short: str) -> None:
    assert family(metric).prefix == prefix
    definition = define(metric)
    assert definition is not None
    assert definition.short == short


def test_an_unlisted_metric_has_no_definition() -> None:
    assert define("geometry/something_new") is None


def test_a_family_of_folds_says_their_size() -> None:
    assert family("folds1000/i2t/recall@1").title == "Mean over folds of 1000 test images"


def test_methods_with_the_embeddings_of_the_baseline_are_named() -> None:
    held = comparison(base=(50.0, None), other=(61.0, 0.001))
    assert same_embeddings(held) == ""
    entries = dict(held.entries)
    entries["alike"] = {**entries["base"], "rerank/rsum": entries["other"]["rsum"]}
    sentence = same_embeddings(replace(held, entries=entries))
    assert sentence.startswith("alike and base have the same embeddings")
    assert sentence in terminal_table(replace(held, entries=entries))
