"""What the papers claim, as data, and which numbers reproduce a claim."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from relalign.study.results import MEAN_NDCG
from relalign.study.settings import Modality

Kind = Literal["higher", "lower", "kept", "either"]
Test = Literal["difference", "poor", "slope", "mix", "variants", "checkpoints"]
RSUM, RERANKED, I2I, T2T = "rsum", "rerank/rsum", "i2i/ndcg@10", "t2t/ndcg@10"
# Percent of a pretrained encoder's nearest ten that are so in the shared space: a ground truth without captions.
KEPT_I, KEPT_T = "geometry/image_neighbours@10", "geometry/text_neighbours@10"
ISD = ("isd/singular", "isd/distributed")
RIVALS = ("contrastive", "covlr", "covlr-cosine", "rebalanced", "iais")
# Ours, the captions of a step in words, and what its rivals' variants with as many are called.
OURS_ONE, OURS_FIVE = ("consensus-one-caption", "one", ""), ("consensus", "five", "-five-captions")
UNREAD = "unknown: no table of the paper was readable to us"
SIDES: tuple[tuple[Modality, str, str, Kind], ...] = (
    ("image", "images", "up", "higher"),
    ("text", "captions", "down", "lower"),
)
TRIES = (("trained longer", "long"), ("larger batches", "large-batch"))  # each a variant of several methods


@dataclass(frozen=True)
class Claim:
    """A sentence of a paper, in our words, as a test.

    `variant` is compared on every one of `metrics` with every one of `references`; the claim is that all of these
    differences are as `kind` says. `test` is one of

    - `difference`: variant less reference;
    - `poor`: that difference under the worst corruption of `corrupted`;
    - `slope`: how that difference grows from clean data to the worst corruption, by a line over all rates;
    - `mix`: the learned mix under the worst corruption of `corrupted`, less that on clean data;
    - `variants`, `checkpoints`: the correlation of the metrics with `outcome`, over all variants with one model
      and budget, or over the epochs of each run of `variant`.

    Runs that see unequally many captions of an image in a step are compared only if `unlike_captions` says so.
    """

    paper: str
    sentence: str
    variant: str
    metrics: tuple[str, ...]
    references: tuple[str, ...] = ("",)
    kind: Kind = "higher"
    test: Test = "difference"
    corrupted: Modality = "image"
    outcome: str = RSUM
    unlike_captions: bool = False

    def margin(self, metric: str, margins: Mapping[str, float]) -> float | None:
        """The smallest difference of a metric worth having; None for correlations and mixes, or if none is set."""
        if self.test not in ("difference", "poor", "slope"):
            return None
        return next((value for family, value in margins.items() if family in metric), None)


def claims_by_page() -> dict[str, list[Claim]]:
    """Every claim that is tested, by the page of the appendix (docs/findings) that reports it, in that order."""
    return {
        "premise": _premise() + _premise_kept(),
        "covlr": _covlr(),
        "rebalanced": _rebalanced(),
        "iais": _iais(),
        "consensus": _ours(),
    }


def all_claims() -> list[Claim]:
    """The claims of all pages."""
    return [claim for claims in claims_by_page().values() for claim in claims]


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


def _premise_kept() -> list[Claim]:
    return [
        Claim(
            "all three",
            f"matching alone loses nearest {these} of the pretrained encoder that its start had",
            "contrastive",
            (one,),
            ("start",),
            "lower",
        )
        for one, these in ((KEPT_I, "images"), (KEPT_T, "texts"))
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
            *(
                Claim(
                    paper,
                    f"keeps more nearest {these} of the pretrained encoder than matching alone",
                    name,
                    (one,),
                    ("contrastive",),
                )
                for one, these in ((KEPT_I, "images"), (KEPT_T, "texts"))
            ),
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
    meta = "the meta step, by second-order gradients, is better than the plain sum of the terms"
    made += [Claim("CoVLR", meta, "covlr-second", (metric,), ("covlr-sum",)) for metric in (MEAN_NDCG, RSUM)]
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
    tests: tuple[tuple[Test, str], ...] = (
        ("poor", "is better than matching alone when {} are poor"),
        ("slope", "gains the more over matching alone the poorer {} are"),
    )
    for side, these, way, kind in SIDES:
        made += [
            Claim(paper, sentence.format(these), name, (metric,), ("contrastive",), test=test, corrupted=side)
            for metric in (RSUM, MEAN_NDCG)
            for test, sentence in tests
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
    paper, three = "ours (consensus)", (RSUM, I2I, T2T)
    parts = ((RSUM, "across modalities"), (I2I, "among images"), (T2T, "among texts"))
    made = [
        Claim(
            f"{paper}, {words} caption{'s' * (words != 'one')} a step as the others",
            f"ahead of {rival} across and within modalities at once",
            name,
            three,
            (rival + suffix,),
        )
        for name, words, suffix in (OURS_ONE, OURS_FIVE)
        for rival in RIVALS
    ]
    made.append(
        Claim(
            f"{paper}, as tuned",
            "ahead of cca across and within modalities at once",
            "consensus",
            three,
            ("cca",),
            unlike_captions=True,  # CCA takes no steps
        )
    )
    made += [
        Claim(paper, f"{sentence}: {name}", variant, (metric,), (without,), unlike_captions=True)
        for variant, without, sentence in (
            ("consensus-captions", "contrastive", "more captions alone are better than matching alone"),
            ("consensus", "consensus-one-caption", "more captions add to what relations and attention bring"),
        )
        for metric, name in parts
    ]
    return made + [
        Claim(
            paper,
            f"relations and attention add to what more captions bring: {name}",
            "consensus",
            (metric,),
            ("consensus-captions",),
        )
        for metric, name in parts
    ]


@dataclass(frozen=True)
class Row:
    """A row of the headline: what a paper says in one sentence, and the claims that it takes, which all have to
    hold.

    `theirs` is the paper's own number, with where it was read.
    """

    sentence: str
    claims: tuple[Claim, ...]
    theirs: str


def headline() -> list[Row]:
    """The rows of the headline table, in order. Why a claim held or failed is in docs/findings-notes.md."""
    rebalanced, iais = ("Rebalanced", "", "rebalanced"), ("IAIS", "", "iais")
    return [
        Row("All three: matching alone damages relations within a modality", tuple(_premise()), UNREAD),
        Row(
            "CoVLR keeps them",
            (Claim("CoVLR", "", "covlr", (I2I, T2T), ("contrastive",)),),
            UNREAD,
        ),
        Row(
            "at no cost across modalities",
            (Claim("CoVLR", "", "covlr", (RSUM,), ("contrastive",), "kept"),),
            UNREAD,
        ),
        Row(
            "CoVLR's meta step is more than the sum of its terms, of first and of second order",
            tuple(
                Claim("CoVLR", "", name, (MEAN_NDCG, RSUM), ("covlr-sum",)) for name in ("covlr", "covlr-second")
            ),
            "unknown; the released code has no meta step",
        ),
        Row(
            "Rebalanced improves across and within modalities where captions or images are poor",
            tuple(
                Claim(*rebalanced, (RSUM, MEAN_NDCG), ("contrastive",), test="poor", corrupted=side)
                for side, *_ in SIDES
            ),
            UNREAD,
        ),
        Row(
            "and the gain grows with the poverty",
            tuple(
                Claim(*rebalanced, (RSUM, MEAN_NDCG), ("contrastive",), test="slope", corrupted=side)
                for side, *_ in SIDES
            ),
            UNREAD,
        ),
        Row(
            "Rebalanced's learned mix leans on the better teacher",
            tuple(
                Claim(*rebalanced, ("mix",), kind=kind, test="mix", corrupted=side) for side, _, _, kind in SIDES
            ),
            "unknown; a comment in the released code has 0.85 of the text teacher for Flickr",
        ),
        Row(
            "IAIS lowers the attention distance (ISD), and not merely entropy",
            (Claim(*iais, ISD, ("iais-off", "iais-entropy"), "lower"),),
            UNREAD,
        ),
        Row(
            "and that improves re-ranking and the first stage",
            (Claim(*iais, (RERANKED, RSUM), ("iais-off",)),),
            "Flickr30K R@1 88.3 and 76.9 (a listing on wizwand, its directions swapped) against UNITER's 87.3 and "
            "75.6 (LAVIS's card)",
        ),
        Row(
            "The lower ISD, the better retrieval, over methods and over epochs",
            (
                Claim("IAIS", "", "", ISD, kind="lower", test="variants"),
                Claim(*iais, ISD, kind="lower", test="checkpoints"),
            ),
            "unknown; the released code has no ISD",
        ),
        *(
            Row(
                f"Ours is ahead of each in everything, all with {words} caption{'s' * (words != 'one')} a step",
                (Claim("ours", "", name, (RSUM, I2I, T2T), tuple(rival + suffix for rival in RIVALS)),),
                "–",
            )
            for name, words, suffix in (OURS_ONE, OURS_FIVE)
        ),
    ]
