"""Tables of numbers for a terminal: every average with its interval and its n."""

from collections.abc import Sequence

import pandas as pd


def interval_table(rows: pd.DataFrame, confidence: float) -> str:
    """A row a metric: value, interval, and the numbers of queries and of the images they were resampled by."""
    lines = [("metric", "value", f"{confidence:.0%} interval", "queries", "images")]
    for row in rows.to_dict("records"):
        interval = f"[{row['low']:.4g}, {row['high']:.4g}]" if pd.notna(row["low"]) else ""
        counts = [f"{row[name]:.0f}" if pd.notna(row[name]) else "" for name in ("queries", "images")]
        lines.append((str(row["metric"]), f"{row['value']:.4g}", interval, counts[0], counts[1]))
    return _aligned(lines)


def difference_table(rows: pd.DataFrame, baseline: str, confidence: float) -> str:
    """A row a metric and run: both values, the difference with its interval, p-values and n."""
    lines = [
        (
            "metric",
            "run",
            baseline,
            "value",
            "difference",
            f"{confidence:.0%} interval",
            "p",
            "p (Holm)",
            "n images",
        )
    ]
    for row in rows.astype(object).where(rows.notna(), None).to_dict("records"):
        low = row["difference_low"]
        lines.append(
            (
                str(row["metric"]),
                str(row["run"]),
                f"{row['baseline']:.4g}",
                f"{row['value']:.4g}",
                f"{row['difference']:+.4g}",
                "" if low is None else f"[{low:+.4g}, {row['difference_high']:+.4g}]",
                "" if row["p"] is None else f"{row['p']:.4f}",
                "" if row["p_holm"] is None else f"{row['p_holm']:.4f}",
                "" if row["images"] is None else f"{row['images']:.0f}",
            )
        )
    return _aligned(lines)


def _aligned(lines: Sequence[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rows = (
        [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
        for line in lines
    )
    return "".join("  ".join(cells).rstrip() + "\n" for cells in rows)
