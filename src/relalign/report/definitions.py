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
    right = "R right answers of a query"
    return (
        Definition(rf"{side}/recall@(?P<k>\d+)", title, "R@{k}", f"Percent of {asked} among the first {{k}}.", 1),
        Definition(f"{side}/median_rank", title, "median rank", f"Median over queries of {best}.", -1),
        Definition(f"{side}/mean_rank", title, "mean rank", f"Mean over queries of {best}.", -1),
        Definition(
            f"{side}/map@r", title, "mAP@R", f"Average precision up to rank R, for the {right}, in percent.", 1
        ),
        Definition(f"{side}/r_precision", title, "R-Precision", f"Percent of the {right} among the first R.", 1),
    )


def _single_modal(side: str, title: str) -> tuple[Definition, ...]:
    alike = "share the query's label"
    return (
        Definition(rf"{side}/ndcg@(?P<k>\d+)", title, "nDCG@{k}", _GRADED, 1),
        Definition(f"{side}/map@r", title, "mAP@R", f"Average precision up to rank R, for the R that {alike}.", 1),
        Definition(
            f"{side}/r_precision", title, "R-Precision", f"Percent, among the first R, of the R that {alike}.", 1
        ),
    )


def _kept(side: str) -> Definition:
    kept = (
        f"Percent of the {{k}} nearest {side}s by the frozen {side} encoder that are so in the learned space, too."
    )
    return Definition(rf"geometry/{side}_neighbours@(?P<k>\d+)", f"{side} → {side}", "kept@{k}", kept, 1)


_GRADED = (
    "Discounted gain of the first {k}, in percent of the best possible order; relevance is the ROUGE-L similarity "
    "of captions, and the query itself is no candidate."
)
_UNIFORM = (
    "Log of the mean Gaussian kernel over pairs of {side}s; lower is more evenly spread (Wang & Isola 2020)."
)
_ISD = "attention within one modality against attention within the other, through the {how}; 0 means alike."
_ANNOTATED = (
    "Distance of attention between a caption's annotated phrases and between their regions; 0 means alike."
)
_FLAT = (
    "Entropy of attention among {side}, as a share of uniform attention's; at 1 it is flat, and ISD says nothing."
)
_CXC = "Spearman correlation of cosine and human grade, Crisscrossed Captions: {pairs}."
DEFINITIONS = (
    Definition("rsum", "both", "Rsum", "Sum of the recalls of both directions (at most 600 with six of them).", 1),
    *_cross_modal("i2t", "image → text", "images with one of their own captions"),
    *_cross_modal("t2i", "text → image", "captions with their own image"),
    Definition(
        "rerank/fusion_share", "both", "share", "Weight of fusion's own say, chosen on validation; 0: none.", 0
    ),
    *_single_modal("i2i", "image → image"),
    *_single_modal("t2t", "text → text"),
    Definition(r"i2it/ndcg@(?P<k>\d+)", "image → both", "nDCG@{k}", _GRADED, 1),
    Definition(r"t2it/ndcg@(?P<k>\d+)", "text → both", "nDCG@{k}", _GRADED, 1),
    Definition("isd/singular", "pairs", "ISD, singular", "Distance of " + _ISD.format(how="best match"), -1),
    Definition("isd/distributed", "pairs", "ISD, distributed", "Distance of " + _ISD.format(how="whole row"), -1),
    Definition("isd/annotated", "pairs", "ISD, annotated", _ANNOTATED, -1),
    Definition("isd/entropy_words", "text", "flatness, words", _FLAT.format(side="words"), 0),
    Definition("isd/entropy_regions", "images", "flatness, regions", _FLAT.format(side="regions"), 0),
    _kept("image"),
    _kept("text"),
    Definition("geometry/modality_gap", "both", "gap", "Distance between the mean image and the mean caption.", 0),
    Definition(
        "geometry/alignment", "pairs", "alignment", "Mean squared distance of matching pairs; 0 is perfect.", 0
    ),
    Definition("geometry/uniformity_image", "images", "uniformity", _UNIFORM.format(side="image"), 0),
    Definition("geometry/uniformity_text", "captions", "uniformity", _UNIFORM.format(side="caption"), 0),
    Definition("cxc/sits", "image, text", "correlation", _CXC.format(pairs="captions with images"), 1),
    Definition("cxc/sts", "text, text", "correlation", _CXC.format(pairs="captions with captions"), 1),
    Definition("cxc/sis", "image, image", "correlation", _CXC.format(pairs="images with images"), 1),
)
FAMILIES = (
    (r"", "First stage: cosine of the embeddings"),
    (r"rerank", "Second stage: the first of the index, re-ordered by the fusion encoder"),
    (r"mixed", "One pool of images and captions"),
    (r"mixed_calibrated", "One pool, each query's scores standardised within each modality"),
    (r"isd", "Attention distance of matching pairs"),
    (r"geometry", "Shape of the learned space"),
    (r"encoder", "Each trained encoder's own vectors, before the shared space"),
    (r"teacher", "The same encoders' vectors before they were trained: the single-modal teachers"),
    (r"language_(.+)", "The captions in one language alone: {}"),
    (r"folds(\d+)", "Mean over folds of {} test images"),
    (r"first(\d+)", "The first {} test images alone"),
    (
        r"released",
        "By the protocol of the methods' released code, only for comparison with their published numbers",
    ),
    (r"released/mixed", "One pool, by the protocol of the released code"),
    (r"(.+)", "By other judgements: {}"),
)
_OWN = ("i2t", "t2i", "i2i", "t2t", "i2it", "t2it")


@dataclass(frozen=True, order=True)
class Family:
    """Metrics measured in one way, in the order of `FAMILIES`."""

    place: int
    prefix: str
    title: str


def family(metric: str) -> Family:
    """What stands before the kind of query in a metric's name, and what it stands for.

    >>> family("rerank/t2i/recall@5").prefix, family("rsum").prefix, family("geometry/alignment").prefix
    ('rerank', '', 'geometry')
    """
    parts = metric.split("/")[:-1]
    prefix = "/".join(parts[:-1] if parts and parts[-1] in _OWN else parts)
    for place, (pattern, title) in enumerate(FAMILIES):
        if match := re.fullmatch(pattern, prefix):
            return Family(place, prefix, title.format(*match.groups()))
    raise AssertionError("the last pattern takes everything")


def define(metric: str) -> Definition | None:
    """The definition of a metric of metrics.json with its cut-off filled in, or None for one not listed here.

    >>> define("rerank/t2i/recall@5").short
    'R@5'
    """
    found = _look_up(metric)
    if found is None:
        return None
    item, k = DEFINITIONS[found[0]], f"{found[1]}"
    short, meaning = (text.replace("{k}", k) for text in (item.short, item.meaning))
    return replace(item, pattern=metric, short=short, meaning=meaning)


def reading_order(metric: str) -> tuple[Family, int, int, str]:
    """A sort key: by family, then in the order of `DEFINITIONS`, then by cut-off; unlisted metrics come last."""
    place, k = _look_up(metric) or (len(DEFINITIONS), 0)
    return family(metric), place, k, metric


def _look_up(metric: str) -> tuple[int, int] | None:
    """The place in `DEFINITIONS` and the cut-off (0 for none)."""
    within = metric.removeprefix(family(metric).prefix).lstrip("/")
    for place, item in enumerate(DEFINITIONS):
        if match := re.fullmatch(item.pattern, metric) or re.fullmatch(item.pattern, within):
            return place, int(match.groupdict().get("k") or 0)
    return None
