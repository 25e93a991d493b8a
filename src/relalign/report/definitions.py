"""What each number is called in the report, which way is better, and what it means in one line."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Definition:
    """One family of metrics: `{k}` in a text stands for the cut-off after '@'."""

    pattern: str
    group: str
    short: str
    meaning: str
    better: int  # +1 higher, -1 lower, 0 neither
    percent: bool = True


_ASK = {"i2t": "image → text", "t2i": "text → image"}
_LIKE = {"i2i": "image → image", "t2t": "text → text"}

DEFINITIONS = (
    *(
        Definition(rf"{name}/recall@(?P<k>\d+)", title, "R@{k}", f"{title}: {text}", 1)
        for (name, title), text in zip(
            _ASK.items(),
            (
                "share of images with one of their own captions among the first {k}.",
                "share of captions with their own image among the first {k}.",
            ),
            strict=True,
        )
    ),
    Definition("rsum", "both", "Rsum", "Sum of all recalls of both directions (at most 600 with six of them).", 1),
    *(
        Definition(
            rf"{name}/ndcg@(?P<k>\d+)",
            title,
            "nDCG@{k}",
            f"{title}: discounted gain of the first {{k}} over the best possible order; relevance is the ROUGE-L "
            "similarity of captions, and the query itself is never a candidate.",
            1,
        )
        for name, title in _LIKE.items()
    ),
    *(
        Definition(
            f"{name}/median_rank",
            title,
            "median rank",
            f"{title}: median over queries of the first right answer's rank.",
            -1,
            False,
        )
        for name, title in _ASK.items()
    ),
    *(
        Definition(
            f"{name}/mean_rank",
            title,
            "mean rank",
            f"{title}: mean over queries of the first right answer's rank.",
            -1,
            False,
        )
        for name, title in _ASK.items()
    ),
)


def define(metric: str) -> Definition | None:
    """The definition of a metric of metrics.json with its cut-off filled in, or None for one not listed here.

    >>> define("t2i/recall@5").short
    'R@5'
    """
    for item in DEFINITIONS:
        if match := re.fullmatch(item.pattern, metric):
            k = match.groupdict().get("k") or ""
            fill = [text.replace("{k}", k) for text in (item.short, item.meaning)]
            return Definition(metric, item.group, fill[0], fill[1], item.better, item.percent)
    return None
