"""The section `evaluate`: what is measured on the test split, and how surely (docs/evaluation.md)."""

from typing import Annotated

from pydantic import Field

from relalign.settings.section import Count, Name, NonNegativeCount, Precision, Section


class Judgements(Section):
    """Positives beyond the captions an image came with: two JSON files (ECCV Caption, CxC), by MS-COCO ids."""

    image_to_caption: str
    """Path of the file. Source: ECCV Caption (Chun et al., 2022), CxC (Parekh et al., 2021)."""
    caption_to_image: str
    """Path of the file. Source: as above."""


class Evaluate(Section):
    """Metrics, re-ranking, resampling."""

    recall_at: Annotated[tuple[Count, ...], Field(strict=False, min_length=1)] = (1, 5, 10)
    """The K of Recall@K. Unit: candidates. Source: Karpathy & Fei-Fei, CVPR 2015."""
    ndcg_at: Annotated[tuple[Count, ...], Field(strict=False, min_length=1)] = (10, 20, 50)
    """The K of nDCG@K. Unit: candidates. Source: Rebalanced (2412.10761)."""
    neighbours: Count = 10
    """Of each image or caption: how many are kept from the frozen encoder's space. Unit: neighbours."""
    rerank_depth: NonNegativeCount = 16
    """Of each query, how many candidates fusion re-ranks; 0: none. Unit: candidates."""
    precision: Precision = "float32"
    """Of fusion."""
    fold_size: NonNegativeCount = 0
    """Also average over folds of so many images, 1000 for COCO 1K; 0: none. Unit: images."""
    released_protocol: bool = False
    """Also the numbers of the papers' own scripts. Source: the code of Rebalanced."""
    judgements: dict[Name, Judgements] = {}
    """Positives beyond the captions an image came with, by name."""
    graded_judgements: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """CxC's files of graded similarity. Source: CxC (Parekh et al., 2021)."""
    phrase_regions: str | None = None
    """A JSON file of phrases with boxes, which adds `isd/annotated`. Source: IAIS (2105.13868)."""
    bootstrap_samples: Count = 1000
    """Of each confidence interval. Unit: resamples of images."""
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95
    """Of the intervals. Unit: fraction."""
    permutations: Count = 9999
    """Of the paired sign-flip test. Unit: draws."""
    resampling_seed: NonNegativeCount = 0
    """Of bootstrap and permutations."""
