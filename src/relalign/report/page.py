"""The page: gathers what the other files make and fills the template."""

from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import jinja2
import pandas as pd
import yaml

from relalign.comparison.stage import Comparison, read_comparison
from relalign.layout import Layout
from relalign.report import comparison_table as numbers
from relalign.report.definitions import define, family, reading_order
from relalign.report.examples import read_examples
from relalign.report.failures import read_failures
from relalign.report.plots import all_figures
from relalign.report.sources import read_licences, read_runs, read_validation, versions
from relalign.settings import Params

TIE_RULE = (
    "ranks and recalls are averages over all orders of the tied candidates, so a constant scorer gets chance "
    "and the order of the candidates never matters."
)


@dataclass(frozen=True)
class Split:
    """Size of one split."""

    name: str
    images: int
    captions: int


def render(params: Params, layout: Layout) -> str:
    """The whole report as one HTML document that needs no other file and no network."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters["thousands"] = lambda value: f"{value:,}"
    template = environment.from_string(_resource("page.html.j2"))
    return template.render(**_content(params, layout)) + "\n"


def _content(params: Params, layout: Layout) -> dict[str, Any]:
    comparison = read_comparison(layout.results / "comparison.csv")
    runs = read_runs(params, layout)
    splits = _splits(layout)
    data, encoders = read_licences(params)
    return {
        "css": _resource("style.css"),
        "dataset": params.dataset,
        "methods": list(comparison.entries),
        "seeds": list(params.seeds),
        "baseline": comparison.baseline,
        "over": numbers.over(comparison.seeds),
        "confidence": f"{100 * params.evaluate.confidence:g}",
        "test": next((split for split in splits if split.name == "test"), None),
        "table": _headline(params, comparison),
        "every": _every(comparison),
        "tie_rule": TIE_RULE,
        "figures": all_figures(params, layout, comparison, runs),
        "examples": read_examples(params, layout, params.report.examples),
        "failures": read_failures(params, layout),
        "splits": splits,
        "validation": read_validation(layout),
        "licences": [*data, *encoders],
        "versions": versions(layout, runs),
        "parameters": _parameters(params),
    }


def _resource(name: str) -> str:
    return files("relalign.report").joinpath(name).read_text(encoding="utf-8")


def _splits(layout: Layout) -> list[Split]:
    pairs = pd.read_parquet(layout.pairs / "pairs.parquet", columns=["image_id", "split"])
    members = {str(name): group for name, group in pairs.groupby("split", observed=True)}
    return [
        Split(name, members[name]["image_id"].nunique(), len(members[name]))
        for name in ("train", "val", "test")
        if name in members
    ]


def _headline(params: Params, comparison: Comparison) -> dict[str, Any]:
    metrics = numbers.columns(comparison)
    by_metric = {metric: numbers.cells(comparison, metric) for metric in metrics}
    seeds = f"Mean over {comparison.seeds} seeds" if comparison.seeds > 1 else "One seed"
    return {
        "groups": numbers.groups(comparison, metrics),
        "same": numbers.same_embeddings(comparison),
        "rows": [
            {"method": method, "cells": [by_metric[metric][method] for metric in metrics]}
            for method in comparison.entries
        ],
        "caption": (
            f"{seeds}; recall and nDCG in percent; below each number the {100 * params.evaluate.confidence:g} % "
            f"interval over {numbers.over(comparison.seeds)}. ▲ better and ▼ worse than {comparison.baseline} at "
            f"p < {numbers.LEVEL} (paired test over the same, Holm-corrected over the methods). Bold: the best of "
            "its column, where these tests carry it. n: queries of each number."
        ),
    }


def _every(comparison: Comparison) -> dict[str, list[dict[str, Any]]]:
    """Every metric with its meaning and a cell a method, by the title of its family."""
    metrics = list(dict.fromkeys(metric for entries in comparison.entries.values() for metric in entries))
    by_family: dict[str, list[dict[str, Any]]] = {}
    for metric in sorted(metrics, key=reading_order):
        definition = define(metric)
        by_method = numbers.cells(comparison, metric)
        row = {
            "metric": metric,
            "title": f"{definition.short}, {definition.group}" if definition else "",
            "meaning": definition.meaning if definition else "",
            "n": numbers.queries(comparison, [metric]),
            "images": numbers.images(comparison, metric),
            "cells": [by_method[method] for method in comparison.entries],
        }
        by_family.setdefault(family(metric).title, []).append(row)
    return by_family


def _parameters(params: Params) -> str:
    """The parameters that can change a result, with every default spelled out."""
    full = params.model_dump(mode="json", by_alias=True)
    encoders = {full["encoders"][side] for side in ("image", "text")}
    chosen = {
        **{key: full[key] for key in ("dataset", "methods", "seeds")},
        "datasets": {params.dataset: full["datasets"][params.dataset]},
        "validate": full["validate"],
        "encoders": full["encoders"],
        "encoder": {name: full["encoder"][name] for name in sorted(encoders)},
        **{key: full[key] for key in ("backbone", "training")},
        "method": {name: full["method"][name] for name in params.methods},
        **{key: full[key] for key in ("evaluate", "report")},
    }
    return yaml.safe_dump(chosen, sort_keys=False, allow_unicode=True, default_flow_style=None, width=100)
