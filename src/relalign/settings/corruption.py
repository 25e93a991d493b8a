"""Images or captions made poor on purpose, for the study's conditions (`relalign.data.corruption`)."""

from typing import Literal

from pydantic import model_validator

from relalign.settings.section import Fraction, NonNegativeCount, Section


class Corruption(Section):
    """How, and how much.

    Kinds for images: `patches` greyed out, `noise`, `blur`; for text: words that `drop` out, `shuffle` among
    themselves, or `swap` with others of the dataset. `rate` is the fraction destroyed; for noise its standard
    deviation, 1 being 255 grey levels; for blur its standard deviation, 1 being a 16th of the shorter side.
    """

    modality: Literal["image", "text"]
    kind: Literal["patches", "noise", "blur", "drop", "shuffle", "swap"]
    rate: Fraction
    seed: NonNegativeCount = 0

    @model_validator(mode="after")
    def _kind_fits_the_modality(self) -> "Corruption":
        fitting = {"image": ("patches", "noise", "blur"), "text": ("drop", "shuffle", "swap")}[self.modality]
        if self.kind not in fitting:
            raise ValueError(f"kind: '{self.kind}' is none of modality '{self.modality}' ({', '.join(fitting)})")
        return self
