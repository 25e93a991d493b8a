"""The section `teacher`: single-modal encoders that are trained before all methods (`relalign.teachers`)."""

from typing import Annotated

from pydantic import AfterValidator, Field

from relalign.settings.section import (
    BelowOne,
    Count,
    Name,
    NonNegative,
    NonNegativeCount,
    Positive,
    Section,
    Temperature,
    each_once,
)


class Teacher(Section):
    """Which teachers are trained, and how; what is not said here is as in `training`."""

    encoders: Annotated[tuple[Name, ...], Field(strict=False), AfterValidator(each_once)]
    """Entries of `encoder` that are trained as teachers, for methods with `teacher: trained`. `[]`: none."""
    seed: NonNegativeCount = 0
    """Of all that is random; methods of all seeds share a teacher."""
    epochs: Count = 10
    """Length of the training. Unit: passes over the training images or captions."""
    batch_size: Annotated[int, Field(ge=2)] = 256
    """Of an update. Unit: images or captions."""
    learning_rate: Positive = 1e-4
    """Of the head's weights, at its peak; an encoder that trains has `training.encoder_learning_rate`."""
    temperature: Temperature = 0.2
    """Of the contrast of two views; fixed. At 0.05 neighbours are driven apart: on the default data, nDCG@10 of
    texts falls by 7 to 16. Source: SimCSE (2104.08821): 0.05."""
    dropout: BelowOne = 0.1
    """Of what the head reads, drawn for each view. Unit: fraction. Source: SimCSE."""
    band_weight: NonNegative = 0.0
    """Of CoVLR's band regulariser, mean over pairs of cosines; 0: without it. Source: CoVLR (2304.07567)."""
