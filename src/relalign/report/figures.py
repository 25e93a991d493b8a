"""Figures as inline SVG: they take the page's text colour and font, and equal data gives equal bytes."""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colours without their yellow and black: told apart with any colour vision, on light and on dark.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
LEGIBLE = 5.0  # percent of recall between two labels that can be read side by side
Style = Mapping[str, tuple[str, str]]
_INK, _LINE = "#010203", "#040506"  # stand-ins, replaced by the page's own colours
_SETTINGS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "relalign",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib, so the layout is the same everywhere
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _LINE,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _LINE,
    "grid.linewidth": 0.6,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "xtick.color": _LINE,
    "ytick.color": _LINE,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
}


def style_of(methods: Sequence[str]) -> dict[str, tuple[str, str]]:
    """A colour and a marker for each method, the same in every figure."""
    return {
        name: (COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]) for place, name in enumerate(methods)
    }


def draw(
    *plots: Callable[["Axes"], None],
    name: str,
    width: float = 4.2,
    height: float = 3.0,
    share_y: bool = True,
) -> str:
    """The SVG element that `plots` draw side by side; `name` keeps its ids apart from other figures'."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with mpl.rc_context(_SETTINGS):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        for plot, axes in zip(
            plots, figure.subplots(1, len(plots), sharey=share_y, squeeze=False)[0], strict=True
        ):
            plot(axes)
        stream = io.StringIO()
        metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(stream, format="svg", transparent=True, metadata=metadata)
    return _inline(stream.getvalue(), name)


def _inline(document: str, name: str) -> str:
    svg = document[document.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg [^>]*?)height="[^"]*" ', r"\1", svg, count=1)
    svg = re.sub(r'(<svg [^>]*?)width="[^"]*" ', rf'\1role="img" aria-label="{name}" ', svg, count=1)
    svg = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", svg)
    return svg.replace(_INK, "var(--ink)").replace(_LINE, "var(--line)")


def forest(
    rows: Mapping[str, Mapping[str, tuple[float, float | None, float | None]]], label: str, style: Style
) -> Callable[["Axes"], None]:
    """A row a method with a point a metric: `rows[method][mark] = (mean, low, high)`, the interval as a line."""

    def plot(axes: "Axes") -> None:
        for place, (method, cells) in enumerate(rows.items()):
            colour, marker = style[method]
            labelled = -100.0
            for mark, (mean, low, high) in sorted(cells.items(), key=lambda item: item[1][0]):
                if low is not None and high is not None:
                    axes.plot([low, high], [place, place], color=colour, linewidth=2.2, alpha=0.45)
                axes.plot(mean, place, marker=marker, markersize=6, color=colour)
                if mean - labelled > LEGIBLE:
                    labelled = mean
                    above: Any = {"textcoords": "offset points", "ha": "center", "fontsize": 7.5}
                    axes.annotate(mark, (mean, place), (0, 7), **above)
        axes.set_yticks(range(len(rows)), list(rows))
        axes.set_ylim(len(rows) - 0.4, -0.7)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(label)

    return plot


def curves(
    series: Mapping[str, Sequence[tuple[Sequence[float], Sequence[float]]]],
    x_label: str,
    y_label: str,
    style: Style,
) -> Callable[["Axes"], None]:
    """Lines over epochs: `series[method]` is a line a seed, as (x, y)."""

    def plot(axes: "Axes") -> None:
        for method, lines in series.items():
            for place, (x, y) in enumerate(lines):
                label = method if place == 0 else None
                axes.plot(x, y, color=style[method][0], linewidth=1.3, alpha=0.8, label=label)
        axes.set(xlabel=x_label, ylabel=y_label)
        axes.legend(fontsize=8)

    return plot


def cumulative_ranks(ranks: Mapping[str, Sequence[float]], label: str, style: Style) -> Callable[["Axes"], None]:
    """The share of queries whose first right answer has at most this rank: recall at every cutoff at once."""

    def plot(axes: "Axes") -> None:
        for method, values in ranks.items():
            ordered = sorted(values)
            share = [100 * (place + 1) / len(ordered) for place in range(len(ordered))]
            axes.step(
                [1, *ordered], [0, *share], where="post", color=style[method][0], linewidth=1.5, label=method
            )
        axes.set(xscale="log", xlabel=label, ylabel="queries answered (%)", ylim=(0, 102))
        axes.set_xlim(left=1)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.legend(fontsize=8, loc="lower right")

    return plot


def scatter(
    points: Mapping[str, Sequence[tuple[float, float]]], x_label: str, y_label: str, style: Style
) -> Callable[["Axes"], None]:
    """A point a seed and a larger one at their mean."""

    def plot(axes: "Axes") -> None:
        for method, seeds in points.items():
            colour, marker = style[method]
            x, y = [point[0] for point in seeds], [point[1] for point in seeds]
            axes.scatter(x, y, s=14, color=colour, alpha=0.45, marker=marker, linewidths=0)
            mean = sum(x) / len(x), sum(y) / len(y)
            axes.scatter(*mean, s=52, color=colour, marker=marker, label=method, linewidths=0)
        axes.margins(0.15)
        axes.set(xlabel=x_label, ylabel=y_label)
        axes.legend(fontsize=8)

    return plot


def heat_map(matrix: Sequence[Sequence[float]], labels: Sequence[str], title: str) -> Callable[["Axes"], None]:
    """A square of shares, darker for more, with the same labels on both sides."""

    def plot(axes: "Axes") -> None:
        axes.pcolormesh(matrix, cmap="Blues", vmin=0, edgecolors=_LINE, linewidth=0.3)
        axes.invert_yaxis()
        axes.set_aspect("equal")
        places = [place + 0.5 for place in range(len(labels))]
        axes.set_xticks(places, labels, rotation=90, fontsize=7)
        axes.set_yticks(places, labels, fontsize=7)
        axes.grid(visible=False)
        axes.set_title(title, fontsize=8)

    return plot
