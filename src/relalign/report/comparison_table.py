"""The comparison as a reader sees it: which columns, how many digits, what is bold and what is marked.

Bold is the best value of a column, and only if the tests carry it: it differs significantly from the baseline,
or it is the baseline and every other method differs significantly from it. Ties for the best are not bold.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from relalign.comparison.stage import Comparison, Entry
from relalign.report.definitions import define

LEVEL = 0.05
ROUNDING = 1e-9
SHOWN = 0.05
HEADLINE = (
    "i2t/recall@1",
    "i2t/recall@5",
    "i2t/recall@10",
    "t2i/recall@1",
    "t2i/recall@5",
    "t2i/recall@10",
    "rsum",
    "i2i/ndcg@10",
    "t2t/ndcg@10",
    "rerank/i2t/recall@1",
    "rerank/t2i/recall@1",
    "rerank/rsum",
)


@dataclass(frozen=True)
class Cell:
    """One number as text, with what the tests say of it; empty texts where there is nothing to say."""

    mean: str = ""
    interval: str = ""
    seeds: str = ""  # the standard deviation over seeds, empty if they are equal
    p: str = ""
    verdict: str = ""  # "better" or "worse" than the baseline, significantly; else empty
    best: bool = False


@dataclass(frozen=True)
class Group:
    """Neighbouring columns under one title; `n` queries each, None where columns differ or have none."""

    title: str
    n: int | None
    metrics: list[str]


def columns(comparison: Comparison) -> list[str]:
    """The headline metrics that were measured."""
    measured = {metric for entries in comparison.entries.values() for metric in entries}
    return [metric for metric in HEADLINE if metric in measured]


def groups(comparison: Comparison, metrics: Sequence[str]) -> list[Group]:
    """Consecutive metrics of one kind of query, under its title."""
    made = []
    for title, members in groupby(metrics, key=lambda metric: _about(metric)[1]):
        names = list(members)
        size = queries(comparison, names)
        made.append(Group(title, size, [_about(name)[0] for name in names]))
    return made


def queries(comparison: Comparison, metrics: Sequence[str]) -> int | None:
    """How many queries each of these numbers is the average of; None if that differs, and for sums."""
    if any(metric.endswith("rsum") for metric in metrics):
        return None
    sizes = {
        entries[metric].queries
        for entries in comparison.entries.values()
        for metric in metrics
        if metric in entries
    }
    return sizes.pop() if len(sizes) == 1 else None


def images(comparison: Comparison, metric: str) -> int | None:
    """By how many images a number's interval was resampled; None if that differs, or there is no interval."""
    sizes = {entries[metric].images for entries in comparison.entries.values() if metric in entries}
    return sizes.pop() if len(sizes) == 1 else None


def cells(comparison: Comparison, metric: str) -> dict[str, Cell]:
    """The column of one metric, a cell a method."""
    entries = {name: held[metric] for name, held in comparison.entries.items() if metric in held}
    better = definition.better if (definition := define(metric)) else 0
    winner = _winner(entries, comparison.baseline, better)
    return {
        name: _cell(entries[name], better, best=name == winner) if name in entries else Cell()
        for name in comparison.entries
    }


def number(value: float) -> str:
    """As many digits as are worth reading: `0.0312` -> `0.031`, `3.14159` -> `3.14`, `41.26` -> `41.3`."""
    size = abs(value)
    text = f"{value:.2g}" if 0 < size < 0.1 else f"{value:.2f}" if size < 10 else f"{value:.1f}"
    return text.replace("-", "−", 1) if value < 0 else text


def p_value(p: float) -> str:
    """`0.0004` -> `< 0.001`, `0.0312` -> `= 0.031`."""
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def over(seeds: int) -> str:
    """What intervals and tests speak of: with one seed nothing can be said of another training."""
    return "trainings and test images" if seeds > 1 else "test images alone"


def same_embeddings(comparison: Comparison) -> str:
    """A sentence on the methods that equal the baseline in all numbers of embeddings shown; empty without such.

    An objective that acts in the fusion encoder alone, over frozen tokens, reaches the embeddings only through the
    norm at which gradients are clipped, which is in no digit that is shown.
    """
    baseline = comparison.baseline
    own = _of_embeddings(comparison.entries[baseline])
    alike = [
        name
        for name, entries in comparison.entries.items()
        if name != baseline and own.keys() == (found := _of_embeddings(entries)).keys()
        if all(abs(found[metric] - own[metric]) < SHOWN for metric in own)
    ]
    if not alike:
        return ""
    return (
        f"{', '.join(alike)} and {baseline} have the same embeddings, to the digits shown: what they do "
        "differently acts on the attention of the fusion encoder, and shows in re-ranking and ISD."
    )


def _of_embeddings(entries: Mapping[str, Entry]) -> dict[str, float]:
    return {name: entries[name].value for name in HEADLINE if name in entries and not name.startswith("rerank/")}


def terminal_table(comparison: Comparison) -> str:
    """The headline columns for a terminal, `*` where a method differs significantly from the baseline."""
    metrics = columns(comparison)
    head = ["method", *map(_short, metrics)]
    lines = [head]
    for method in comparison.entries:
        row = [cells(comparison, metric)[method] for metric in metrics]
        lines.append([method, *(cell.mean + ("*" if cell.verdict else " ") for cell in row)])
    widths = [max(len(line[place]) for line in lines) for place in range(len(head))]
    table = [
        "  ".join(
            text.ljust(width) if place == 0 else text.rjust(width) for place, (text, width) in enumerate(pairs)
        )
        for pairs in (list(zip(line, widths, strict=True)) for line in lines)
    ]
    seeds = f"mean over {comparison.seeds} seed{'s' if comparison.seeds != 1 else ''}"
    about = f"paired test over {over(comparison.seeds)}, Holm, p < {LEVEL}"
    note = f"{seeds}; * differs from {comparison.baseline} ({about})"
    same = same_embeddings(comparison)
    return "\n".join([table[0], "-" * len(table[0]), *table[1:], note, *([same] if same else [])])


def markdown_table(comparison: Comparison) -> str:
    """The most telling columns as Markdown, with intervals; bold as in the report, ▲ and ▼ for significant
    differences."""
    metrics = [metric for metric in columns(comparison) if not metric.endswith(("recall@5", "recall@10"))]
    metrics = [metric for metric in metrics if not metric.startswith("rerank/") or metric == "rerank/rsum"]
    rows = [["method", *map(_short, metrics)], [":--", *("--:" for _ in metrics)]]
    by_metric = [cells(comparison, metric) for metric in metrics]
    for method in comparison.entries:
        row = [column[method] for column in by_metric]
        marks = {"better": " ▲", "worse": " ▼", "": ""}
        shown = (f"**{cell.mean}**" if cell.best else cell.mean for cell in row)
        intervals = (f" <sub>{cell.interval}</sub>" if cell.interval else "" for cell in row)
        texts = (
            text + marks[cell.verdict] + interval
            for text, cell, interval in zip(shown, row, intervals, strict=True)
        )
        rows.append([method, *texts])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _short(metric: str) -> str:
    """`rerank/i2t/recall@1` -> `re-ranked i2t@1`, as a terminal is narrow."""
    return metric.replace("rerank/", "re-ranked ").replace("/recall", "").replace("/ndcg", " nDCG")


def _about(metric: str) -> tuple[str, str]:
    definition = define(metric)
    if definition is None:
        return metric, ""
    if metric.startswith("rerank/"):
        return _short(metric).removeprefix("re-ranked "), "re-ranked"
    return definition.short, definition.group


def _significant(entry: Entry) -> bool:
    return entry.p_holm is not None and entry.p_holm < LEVEL


def _winner(entries: Mapping[str, Entry], baseline: str, better: int) -> str | None:
    if better == 0 or len(entries) < 2:
        return None
    first, second = sorted(entries, key=lambda name: -better * entries[name].value)[:2]
    if entries[first].value == entries[second].value:
        return None
    rivals = (
        [entry for name, entry in entries.items() if name != baseline] if first == baseline else [entries[first]]
    )
    return first if all(map(_significant, rivals)) else None


def _cell(entry: Entry, better: int, *, best: bool) -> Cell:
    interval = (
        f"{number(entry.low)}–{number(entry.high)}" if entry.low is not None and entry.high is not None else ""
    )
    verdict = ""
    if better and _significant(entry) and entry.difference:
        verdict = "better" if entry.difference * better > 0 else "worse"
    p = p_value(entry.p_holm) if entry.p_holm is not None else ""
    deviation = entry.seed_sd or 0.0
    seeds = f"±{number(deviation)}" if deviation > ROUNDING else ""
    return Cell(number(entry.value), interval, seeds, p, verdict, best)
