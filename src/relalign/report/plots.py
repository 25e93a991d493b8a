"""Which figures the report has, and from which numbers."""

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING, TypeVar

import pandas as pd

from relalign.comparison.stage import Comparison
from relalign.evaluation.result_files import ATTENTION_FILE, read_query_table
from relalign.layout import Layout
from relalign.report import figures
from relalign.report.comparison_table import over
from relalign.report.definitions import define
from relalign.report.sources import Run, read_json
from relalign.settings import Params

if TYPE_CHECKING:
    from matplotlib.axes import Axes

T = TypeVar("T")


@dataclass(frozen=True)
class Figure:
    """A picture as HTML, drawn in place (an SVG element) or made elsewhere, and the sentence below it."""

    svg: str
    caption: str
    wide: bool = False


def all_figures(params: Params, layout: Layout, comparison: Comparison, runs: Sequence[Run]) -> list[Figure]:
    """Every figure whose numbers exist."""
    made = [_recall(comparison, side) for side in ("i2t", "t2i")]
    made += [_single_modal(params, runs, metric) for metric in ("i2i/ndcg@10", "t2t/ndcg@10")]
    made += [_ranks(params, layout, side) for side in ("i2t", "t2i")]
    made.append(_training(params, runs, "val/rsum", "validation Rsum", "Rsum on the validation split"))
    made.append(
        _training(
            params,
            runs,
            "loss/total",
            "training loss",
            "Each method's own objective, not comparable between methods",
        )
    )
    for metric, what in (("i2i/ndcg@10", "image to image"), ("t2t/ndcg@10", "text to text")):
        caption = f"Relations from the start on, {what}: whether matching costs them, and what keeps them"
        made.append(_training(params, runs, f"val/{metric}", f"validation nDCG@10 (%), {what}", caption))
    made.append(attention_figure(params, layout))
    return [_described(figure) for figure in made if figure is not None] + study_figures(layout)


def study_figures(layout: Layout) -> list[Figure]:
    """The study's curves over how many captions, or images, are spoilt; of a dataset without them none."""
    found = []
    for modality, spoilt in (("text", "captions"), ("image", "images")):
        path = layout.study_picture(modality)
        if path.exists():
            caption = f"From the study (docs/findings.md): methods as more and more training {spoilt} are spoilt."
            picture = base64.b64encode(path.read_bytes()).decode()
            svg = f'<img alt="{escape(caption)}" src="data:image/svg+xml;base64,{picture}">'
            found.append(Figure(svg, caption, wide=True))
    return found


def _described(figure: Figure) -> Figure:
    """With its caption as the picture's text for who cannot see it."""
    return replace(
        figure, svg=re.sub(r'aria-label="[^"]*"', f'aria-label="{escape(figure.caption)}"', figure.svg, count=1)
    )


def recall_plot(comparison: Comparison, side: str) -> Callable[["Axes"], None] | None:
    """Recall of every method in one direction (`i2t` or `t2i`) with intervals; None where it was not measured."""
    cells = {
        method: {
            f"@{metric.rpartition('@')[2]}": (entry.value, entry.low, entry.high)
            for metric, entry in entries.items()
            if metric.startswith(f"{side}/recall@")
        }
        for method, entries in comparison.entries.items()
    }
    if not any(cells.values()):
        return None
    return figures.forest(cells, f"{_title(side)} recall (%)", figures.style_of(list(cells)))


def single_modal_plot(comparison: Comparison) -> Callable[["Axes"], None] | None:
    """nDCG@10 within each modality of every method, with intervals; None where it was not measured."""
    names = {"i2i/ndcg@10": "image", "t2t/ndcg@10": "text"}
    cells = {
        method: {
            mark: (entries[metric].value, entries[metric].low, entries[metric].high)
            for metric, mark in names.items()
            if metric in entries
        }
        for method, entries in comparison.entries.items()
    }
    if not any(cells.values()):
        return None
    return figures.forest(cells, "nDCG@10 within a modality (%)", figures.style_of(list(cells)))


def _recall(comparison: Comparison, side: str) -> Figure | None:
    plot = recall_plot(comparison, side)
    if plot is None:
        return None
    svg = figures.draw(plot, name=f"recall-{side}", height=1.1 + 0.5 * len(comparison.entries))
    about = over(comparison.seeds)
    return Figure(svg, f"Recall {_title(side)}: mean over seeds, the line is the interval over {about}.")


def _single_modal(params: Params, runs: Sequence[Run], metric: str) -> Figure | None:
    points = {
        method: [
            (run.metrics["rsum"], run.metrics[metric])
            for run in runs
            if run.method == method and "rsum" in run.metrics and metric in run.metrics
        ]
        for method in params.methods
    }
    if not any(points.values()):
        return None
    definition = define(metric)
    label = f"{definition.short}, {definition.group}" if definition else metric
    svg = _draw(
        figures.scatter(_present(points), "Rsum (both directions)", label, figures.style_of(params.methods)),
        metric,
    )
    return Figure(
        svg,
        "Relations within a modality against retrieval across: a small mark a seed, a large one the mean.",
    )


def _ranks(params: Params, layout: Layout, side: str) -> Figure | None:
    ranks = {}
    for method in params.methods:
        table = read_query_table(layout.run(method, params.seeds[0]) / "evaluation")
        ranks[method] = table.loc[table["metric"] == f"{side}/mean_rank", "value"].tolist()
    if not any(ranks.values()):
        return None
    label = f"rank of the first right answer, {_title(side)}"
    svg = _draw(figures.cumulative_ranks(_present(ranks), label, figures.style_of(params.methods)), side)
    return Figure(svg, f"Recall at every cut-off, {_title(side)}, seed {params.seeds[0]}.")


def _training(params: Params, runs: Sequence[Run], column: str, label: str, caption: str) -> Figure | None:
    series = {}
    for method in params.methods:
        tables = [pd.DataFrame(run.history) for run in runs if run.method == method and len(run.history) > 1]
        known = [table[["epoch", column]].dropna() for table in tables if {"epoch", column} <= set(table)]
        series[method] = [(table["epoch"].tolist(), table[column].tolist()) for table in known]
    if not any(series.values()):
        return None
    style = figures.style_of(params.methods)
    svg = _draw(figures.curves(_present(series), "epoch", label, style), column)
    return Figure(svg, f"{caption}: a line a seed. Methods without epochs are not shown.")


def attention_figure(params: Params, layout: Layout) -> Figure | None:
    """One pair's attention under the baseline and under the first method that aligns it."""
    aligned = next((name for name in params.methods if params.method[name].algorithm == "iais"), None)
    names = [name for name in (params.report.baseline, aligned) if name is not None]
    files = [layout.run(name, params.seeds[0]) / "evaluation" / ATTENTION_FILE for name in names]
    if len(names) == 1 or not all(file.is_file() for file in files):
        return None
    pairs = {name: read_json(file) for name, file in zip(names, files, strict=True)}
    plots = [
        figures.heat_map(pair[key], pair["words"], f"{name}: {title}")
        for name, pair in pairs.items()
        for key, title in (("words_to_words", "among words"), ("through_regions", "through regions"))
    ]
    svg = figures.draw(*plots, name="figure-attention", width=2.3 * len(plots), height=2.7, share_y=False)
    caption = pairs[names[0]]["caption"]
    return Figure(
        svg,
        f"Attention of “{caption}” with its own image in the last fusion layer, seed {params.seeds[0]}: each word "
        "(row) to each other, and between the regions that the two words attend to most. IAIS asks both to be "
        "alike. Darker is more; each row sums to 1.",
        wide=True,
    )


def _draw(plot: Callable[..., None], metric: str) -> str:
    return figures.draw(plot, name="".join(letter if letter.isalnum() else "-" for letter in f"figure-{metric}"))


def _present(table: Mapping[str, Sequence[T]]) -> dict[str, Sequence[T]]:
    return {name: values for name, values in table.items() if values}


def _title(side: str) -> str:
    return {"i2t": "image → text", "t2i": "text → image"}[side]
