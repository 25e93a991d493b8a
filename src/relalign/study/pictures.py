"""The pictures of docs/findings.md: standalone SVG files on white, readable on a dark page, too."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from relalign.report import figures
from relalign.study.claims import I2I, ISD, RSUM, T2T
from relalign.study.contrast import difference
from relalign.study.judging import checkpoint_points
from relalign.study.results import MEAN_NDCG, Results
from relalign.study.settings import ALIGNED, CLEAN, Modality

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Plot = Callable[["Axes"], None]
Points = Mapping[str, Mapping[float, Sequence[float]]]  # variant, rate, a number a seed
INK, LINE = "#1d2329", "#d5d9dc"
GAINS = {RSUM: "Rsum", I2I: "nDCG@10 image → image", T2T: "nDCG@10 text → text"}


def dataset_pictures(results: Results) -> dict[str, str]:
    """By name, those pictures of one dataset whose numbers exist."""
    drawn = {"gains": _gains(results), "isd": _isd(results), "epochs": _epochs(results)}
    if results.regime == CLEAN and results.dataset in results.study.sweep.datasets:
        drawn |= {modality: _sweep(modality, results) for modality in results.study.sweep.kinds}
    return {f"{results.stem}-{name}": svg for name, svg in drawn.items() if svg is not None}


def _gains(results: Results) -> str | None:
    """What each variant adds to the baseline, with intervals: a row a variant, a panel a number."""
    baseline = results.params.report.baseline
    names = [
        name
        for name in results.study.comparable_with(baseline, results.dataset, results.regime)
        if results.seeds((name, CLEAN), (baseline, CLEAN)) and results.captions(name) == results.captions(baseline)
    ]
    if not names:
        return None
    style = figures.style_of(list(results.study.variants))
    plots = []
    for metric, label in GAINS.items():
        rows = {}
        for name in names:
            system, against = results.systems((name, CLEAN), (baseline, CLEAN))
            found = difference(system, against, metric, results.params.evaluate)
            rows[name] = {"": (found.difference, found.low, found.high)}
        plots.append(_around_zero(figures.forest(rows, f"{label}, less {baseline}'s", style)))
    return picture(plots, f"{results.stem}-gains", height=1 + 0.25 * len(names), share_y=True)


def _around_zero(plot: Plot) -> Plot:
    def plot_with(axes: "Axes") -> None:
        plot(axes)
        axes.axvline(0.0, color=INK, linewidth=0.8, zorder=0)

    return plot_with


def sweep_points(metric: str, modality: Modality, results: Results) -> Points:
    """The sweep's runs, a number a seed, rate 0 first; of `mix`, the text teacher's share."""
    sweep = results.study.sweep
    points: dict[str, dict[float, list[float]]] = {}
    for name in sweep.variants:
        for rate in (0.0, *sweep.rates):
            where = name, results.study.condition(modality, rate)
            seeds = [seed for seed in results.seeds(where) if seed in sweep.seeds]
            values = [
                results.text_share(where, seed) if metric == "mix" else results.value(where, seed, metric)
                for seed in seeds
            ]
            if known := [value for value in values if value is not None]:
                points.setdefault(name, {})[rate] = known
    return points


def _sweep(modality: Modality, results: Results) -> str | None:
    labels = {
        RSUM: "Rsum",
        MEAN_NDCG: "nDCG@10 within a modality, mean of both (%)",
        "mix": "text teacher's share in the mix",
    }
    rate = f"{modality}: rate of '{results.study.sweep.kinds[modality]}'"
    points = {metric: sweep_points(metric, modality, results) for metric in labels}
    style = figures.style_of(list(results.study.sweep.variants))
    plots = [
        _against_rate(points[metric], rate, label, style) for metric, label in labels.items() if points[metric]
    ]
    return picture(plots, f"{results.stem}-{modality}")


def _against_rate(points: Points, x_label: str, y_label: str, style: figures.Style) -> Plot:
    def plot(axes: "Axes") -> None:
        for name, by_rate in points.items():
            colour, marker = style[name]
            rates = list(by_rate)
            axes.plot(rates, [float(np.mean(by_rate[rate])) for rate in rates], color=colour, label=name)
            for rate, values in by_rate.items():
                axes.scatter(
                    [rate] * len(values), values, s=16, color=colour, marker=marker, alpha=0.6, linewidths=0
                )
        axes.set(xlabel=x_label, ylabel=y_label)
        axes.legend(fontsize=8)

    return plot


def _isd(results: Results) -> str | None:
    style = figures.style_of(list(results.study.variants))
    plots = []
    for metric in ISD:
        points = {
            name: [pair for seed in _seeds(name, results) if (pair := _pair(metric, name, seed, results))]
            for name in results.comparable()
        }
        if any(points.values()):
            shown = {name: pairs for name, pairs in points.items() if pairs}
            label = f"ISD, {metric.removeprefix('isd/')} (logarithmic)"
            plots.append(figures.scatter(shown, label, "Rsum", style))
    return picture([_distances(plot, last=plot is plots[-1]) for plot in plots], f"{results.stem}-isd")


def _distances(plot: Plot, *, last: bool) -> Plot:
    """Distances differ by orders of magnitude. One legend beside all panels: within, there is no room for it."""

    def plot_with(axes: "Axes") -> None:
        axes.set_xscale("log")
        plot(axes)
        # Three ticks at equal steps: those of a logarithmic scale of about a decade run into each other.
        ticks = np.geomspace(*axes.get_xlim(), 5)[1:-1]
        axes.set_xticks(ticks, [f"{tick:.1e}" if tick < 1e-3 else f"{tick:.2g}" for tick in ticks])
        axes.set_xticks([], minor=True)
        axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1)).set_visible(last)

    return plot_with


def _epochs(results: Results) -> str | None:
    style = figures.style_of(list(results.study.variants))
    plots = []
    for name in ALIGNED:
        lines = [checkpoint_points(ISD[0], name, seed, results) for seed in _seeds(name, results)]
        if any(x for x, _ in lines):
            plots.append(_paths(lines, f"ISD, singular, of {name} on validation", style[name]))
    return picture(plots, f"{results.stem}-epochs")


def _pair(metric: str, name: str, seed: int, results: Results) -> tuple[float, float] | None:
    found = [results.value((name, CLEAN), seed, one) for one in (metric, RSUM)]
    return None if found[0] is None or found[1] is None else (found[0], found[1])


def _seeds(name: str, results: Results) -> Sequence[int]:
    return results.seeds((name, CLEAN))


def _paths(lines: Sequence[tuple[list[float], list[float]]], x_label: str, style: tuple[str, str]) -> Plot:
    def plot(axes: "Axes") -> None:
        for x, y in lines:
            axes.plot(x, y, color=style[0], linewidth=0.8, alpha=0.6)
            axes.scatter(x[-1:], y[-1:], s=20, color=style[0], marker=style[1], linewidths=0)
        axes.set(xlabel=x_label, ylabel="Rsum on validation")
        axes.locator_params(axis="x", nbins=5)

    return plot


def picture(plots: Sequence[Plot], name: str, height: float = 4.0, *, share_y: bool = False) -> str | None:
    """A standalone SVG file with the plots side by side; None without plots."""
    if not plots:
        return None
    svg = figures.draw(*plots, name=name, width=4.2 * len(plots), height=height, share_y=share_y)
    svg = (
        svg.replace("var(--ink)", INK)
        .replace("var(--line)", LINE)
        .replace("<svg ", '<svg font-family="sans-serif" ', 1)
    )
    return svg.replace(">", '><rect width="100%" height="100%" fill="#fff"/>', 1) + "\n"
