"""What each number is called in the report, which way is better, and what it means in one line."""

import re
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Definition:
    """One family of metrics: `{k}` in a text stands for the cut-off after '@'.

    `better` is +1 where higher is better, -1 where lower is, 0 where neither is.
    """

    pattern: str
    group: str
    short: str
    meaning: str
    better: int


def _cross_modal(side: str, title: str, asked: str) -> tuple[Definition, ...]:
    best = "the first right answer's rank"
    return (
        Definition(rf"{side}/recall@(?P<k>\d+)", title, "R@{k}", f"Percent of {asked} among the first {{k}}.", 1),
        Definition(f"{side}/median_rank", title, "median rank", f"Median over queries of {best}.", -1),
        Definition(f"{side}/mean_rank", title, "mean rank", f"Mean over queries of {best}.", -1),
    )


_GRADED = (
    "Discounted gain of the first {k}, in percent of the best possible order; relevance is the ROUGE-L similarity "
    "of captions, and the query itself is no candidate."
)
DEFINITIONS = (
    Definition("rsum", "both", "Rsum", "Sum of the recalls of both directions (at most 600 with six of them).", 1),
    *_cross_modal("i2t", "image → text", "images with one of their own captions"),
    *_cross_modal("t2i", "text → image", "captions with their own image"),
    Definition(r"i2i/ndcg@(?P<k>\d+)", "image → image", "nDCG@{k}", _GRADED, 1),
    Definition(r"t2t/ndcg@(?P<k>\d+)", "text → text", "nDCG@{k}", _GRADED, 1),
    Definition(r"i2it/ndcg@(?P<k>\d+)", "image → both", "nDCG@{k}", _GRADED, 1),
    Definition(r"t2it/ndcg@(?P<k>\d+)", "text → both", "nDCG@{k}", _GRADED, 1),
)
FAMILIES = {
    "": "First stage: cosine of the embeddings",
    "rerank": "Second stage: the first of the index, re-ordered by the fusion encoder",
    "mixed": "One pool of images and captions",
    "mixed_calibrated": "One pool, each query's scores standardised within each modality",
    "released": "By the protocol of the methods' released code, for comparison with published numbers only",
    "released/mixed": "One pool, by the protocol of the released code",
    "isd": "Attention distance between modalities",
    "geometry": "Shape of the learned space",
}


def family(metric: str) -> str:
    """The longest key of `FAMILIES` that begins the metric's name.

    >>> family("released/mixed/i2it/ndcg@10"), family("rsum")
    ('released/mixed', '')
    """
    found = [prefix for prefix in FAMILIES if metric.startswith(f"{prefix}/")]
    return max(found, key=len, default="")


def define(metric: str) -> Definition | None:
    """The definition of a metric of metrics.json with its cut-off filled in, or None for one not listed here.

    >>> define("rerank/t2i/recall@5").short
    'R@5'
    """
    name = metric.removeprefix(family(metric)).lstrip("/")
    for item in DEFINITIONS:
        if match := re.fullmatch(item.pattern, name):
            k = match.groupdict().get("k") or ""
            short, meaning = (text.replace("{k}", k) for text in (item.short, item.meaning))
            return replace(item, pattern=metric, short=short, meaning=meaning)
    return None
