"""What the papers claim, as data, and which numbers reproduce a claim."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Literal

from relalign.report.comparison_table import LEVEL
from relalign.study.contrast import Contrast
from relalign.study.results import MEAN_NDCG
from relalign.study.settings import Modality

Kind = Literal["higher", "lower", "kept", "either"]
RSUM, RERANKED, I2I, T2T = "rsum", "rerank/rsum", "i2i/ndcg@10", "t2t/ndcg@10"
ISD = ("isd/singular", "isd/distributed")
TRIES = (("trained longer", "long"), ("larger batches", "large-batch"))  # each a variant of several methods
REPRODUCED, REFUTED, INCONCLUSIVE = "reproduced", "not reproduced", "inconclusive"
NOT_RUN, NOT_PLANNED = "not run", "not planned"


@dataclass(frozen=True)
class Claim:
    """A sentence of a paper, in our words, as a test.

    `variant` is compared on every one of `metrics` with every one of `references`; the claim is that all of these
    differences are as `kind` says. `test` is one of

    - `difference`: variant less reference;
    - `growth`: that difference under the worst corruption of `corrupted`, less that on clean data;
    - `mix`: the learned mix under the worst corruption of `corrupted`, less that on clean data;
    - `variants`, `checkpoints`: the correlation of the metrics with `outcome`, over all variants with one model
      and budget, or over the epochs of each run of `variant`.
    """

    paper: str
    sentence: str
    variant: str
    metrics: tuple[str, ...]
    references: tuple[str, ...] = ("",)
    kind: Kind = "higher"
    test: Literal["difference", "growth", "mix", "variants", "checkpoints"] = "difference"
    corrupted: Modality = "image"
    outcome: str = RSUM

    def margin(self, metric: str, margins: Mapping[str, float]) -> float | None:
        """The smallest difference of a metric worth having; None for correlations and mixes, or if none is set."""
        if self.test not in ("difference", "growth"):
            return None
        return next((value for family, value in margins.items() if family in metric), None)


def all_claims() -> list[Claim]:
    """Every claim that is tested, in the order in which they are reported."""
    return [*_premise(), *_covlr(), *_rebalanced(), *_iais(), *_ours()]


def _premise() -> list[Claim]:
    return [
        Claim(
            "all three",
            f"matching alone loses relations among {these} that its start had",
            "contrastive",
            (one,),
            ("start",),
            "lower",
        )
        for one, these in ((I2I, "images"), (T2T, "texts"))
    ]


def _covlr() -> list[Claim]:
    made = []
    for name, target in (("covlr", "distance target, as released"), ("covlr-cosine", "cosine target")):
        paper = f"CoVLR ({target})"
        made += [
            Claim(
                paper, "keeps relations among images better than matching alone", name, (I2I,), ("contrastive",)
            ),
            Claim(paper, "keeps relations among texts better than matching alone", name, (T2T,), ("contrastive",)),
            Claim(paper, "without loss across modalities", name, (RSUM,), ("contrastive",), "kept"),
            *(
                Claim(
                    paper,
                    "the meta step is better than the plain sum of the terms",
                    name,
                    (one,),
                    (f"{name}-sum",),
                )
                for one in (MEAN_NDCG, RSUM)
            ),
        ]
    made += [
        Claim(
            f"CoVLR ({words})",
            "the meta step is better than the plain sum of the terms",
            f"covlr-{suffix}",
            (one,),
            ("covlr-sum",),
        )
        for words, suffix in (
            ("meta step as far as an update", "far-step"),
            ("meta step ten times as far", "farther-step"),
            ("roles alternate", "alternating"),
        )
        for one in (MEAN_NDCG, RSUM)
    ]
    made.append(
        Claim(
            "CoVLR (strong modality: image)",
            "keeps relations among images better than matching alone",
            "covlr-strong-image",
            (I2I,),
            ("contrastive",),
        )
    )
    others = [(words, f"covlr-{suffix}", (f"contrastive-{suffix}",)) for words, suffix in TRIES]
    for words, name, reference in [("released loss and weights", "covlr-released", ("contrastive",)), *others]:
        paper = f"CoVLR ({words})"
        made += [
            Claim(paper, "keeps relations among images better than matching alone", name, (I2I,), reference),
            Claim(paper, "keeps relations among texts better than matching alone", name, (T2T,), reference),
            Claim(paper, "without loss across modalities", name, (RSUM,), reference, "kept"),
        ]
    second = "second-order meta-gradients, compared with first-order ones"
    return made + [
        Claim("CoVLR (cosine target)", second, "covlr-cosine-second", (metric,), ("covlr-cosine",), "either")
        for metric in (MEAN_NDCG, RSUM)
    ]


def _rebalanced() -> list[Claim]:
    paper, name = "Rebalanced", "rebalanced"
    made = []
    for reference, than in (
        ("contrastive", "than matching alone"),
        ("rebalanced-matching-only", "than its own first stage kept up to the end"),
    ):
        made += [
            Claim(paper, f"retrieves better across modalities {than}", name, (RSUM,), (reference,)),
            Claim(paper, f"keeps relations among images better {than}", name, (I2I,), (reference,)),
            Claim(paper, f"keeps relations among texts better {than}", name, (T2T,), (reference,)),
        ]
    made += [
        Claim(
            f"Rebalanced ({words})",
            f"{sentence} than matching alone",
            f"{name}-{suffix}",
            (one,),
            (f"contrastive-{suffix}",),
        )
        for words, suffix in TRIES
        for one, sentence in (
            (RSUM, "retrieves better across modalities"),
            (I2I, "keeps relations among images better"),
            (T2T, "keeps relations among texts better"),
        )
    ]
    sides: tuple[tuple[Modality, str, str, Kind], ...] = (
        ("image", "images", "up", "higher"),
        ("text", "captions", "down", "lower"),
    )
    for side, these, way, kind in sides:
        made += [
            Claim(
                paper,
                f"gains more over matching alone when {these} are poor",
                name,
                (metric,),
                ("contrastive",),
                test="growth",
                corrupted=side,
            )
            for metric in (RSUM, MEAN_NDCG)
        ]
        sentence = f"the text teacher's share in the learned mix goes {way} when {these} are poor"
        made.append(Claim(paper, sentence, name, ("mix",), kind=kind, test="mix", corrupted=side))
    return made


def _iais() -> list[Claim]:
    lowers, better = "lowers the attention distance (ISD) below that without it", "re-ranks better than without it"
    paper, off = "IAIS", ("iais-off",)
    made = [Claim(paper, lowers, "iais", (isd,), off, "lower") for isd in ISD]
    made.append(Claim(paper, better, "iais", (RERANKED,), off))
    for words, name in (
        ("deeper fusion", "iais-deep"),
        ("the paper's ranking task, one query a step", "iais-ranking"),
        ("eight times the updates", "iais-more-steps"),
    ):
        made += [
            Claim(f"IAIS ({words})", lowers, name, ISD, (f"{name}-off",), "lower"),
            Claim(f"IAIS ({words})", better, name, (RERANKED,), (f"{name}-off",)),
        ]
    made += [
        Claim(
            paper,
            "the lower ISD, the better retrieval: over variants",
            "",
            (isd,),
            ("",),
            "lower",
            "variants",
            outcome=one,
        )
        for isd in ISD
        for one in (RSUM, RERANKED)
    ]
    return made + [
        Claim(
            paper,
            "the lower ISD, the better retrieval: over a training's epochs",
            "iais",
            (isd,),
            ("",),
            "lower",
            "checkpoints",
        )
        for isd in ISD
    ]


def _ours() -> list[Claim]:
    rivals = ("contrastive", "covlr", "covlr-cosine", "rebalanced", "iais")
    three = (RSUM, I2I, T2T)
    each = [
        Claim(
            "ours (consensus)",
            f"ahead of {rival} across and within modalities at once",
            "consensus",
            three,
            (rival,),
        )
        for rival in (*rivals, "cca")
    ]
    alike = [
        Claim(
            "ours (consensus, one caption a step as the others)",
            f"ahead of {rival} across and within modalities at once",
            "consensus-one-caption",
            three,
            (rival,),
        )
        for rival in rivals
    ]
    captions = [
        Claim(
            "ours (consensus)",
            f"more captions alone are better than matching alone: {name}",
            "consensus-captions",
            (metric,),
            ("contrastive",),
        )
        for metric, name in ((RSUM, "across modalities"), (I2I, "among images"), (T2T, "among texts"))
    ]
    parts = [
        Claim("ours (consensus)", f"{sentence}: {name}", "consensus", (metric,), (without,))
        for without, sentence in (
            ("consensus-captions", "relations and attention add to what more captions bring"),
            ("consensus-one-caption", "more captions add to what relations and attention bring"),
        )
        for metric, name in ((RSUM, "across modalities"), (I2I, "among images"), (T2T, "among texts"))
    ]
    return [
        *each,
        *alike,
        *captions,
        *parts,
        Claim("ours (consensus)", "ahead of all trained ones in everything at once", "consensus", three, rivals),
    ]


def verdict(found: Contrast, p: float, margin: float | None, kind: Kind) -> str:
    """What a contrast with corrected p-value `p` says of a claim of this kind.

    `higher`, `lower`: reproduced if significant in that direction; not reproduced if significant in the other,
    or if the interval excludes an improvement of `margin` (if there is one). `kept`: reproduced if the interval
    excludes a loss of `margin` (none: any loss), be a smaller one significant or not; otherwise not reproduced if
    the interval shows such a loss, or a loss is significant. `either`: the significant direction, or `equal` if
    the interval lies within the margin. Otherwise inconclusive.
    """
    sign = -1 if kind == "lower" else 1
    difference, (low, high) = sign * found.difference, sorted((sign * found.low, sign * found.high))
    significant = p < LEVEL
    least = margin or 0.0
    if kind == "either":
        if significant:
            return "higher" if difference > 0 else "lower"
        return "equal" if -least < low and high < least else INCONCLUSIVE
    if low > -least if kind == "kept" else significant and difference > 0:
        return REPRODUCED
    excluded = -least if kind == "kept" else -inf if margin is None else margin
    if (significant and difference < 0) or high < excluded:
        return REFUTED
    return INCONCLUSIVE


def below(found: Contrast, margin: float | None, kind: Kind) -> bool:
    """Whether the interval shows an improvement to be smaller than one worth having."""
    if margin is None:
        return False
    return kind in ("higher", "lower") and (found.high if kind == "higher" else -found.low) < margin
