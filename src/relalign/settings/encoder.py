"""The sections `encoder`, `encoders` and `features`: the encoders, where they are cut, and how they are run."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from relalign.settings.dataset import Source
from relalign.settings.section import Count, Device, Name, NonNegativeCount, Section


class Encoder(Section):
    """An encoder: packaged EfficientNet-Lite0, or any `transformers` model by hub name or folder."""

    kind: Literal["efficientnet_lite0", "transformers"]
    """Who reads the weights."""
    modality: Literal["image", "text"]
    """What it encodes."""
    source: Source | None = None
    """A package or archive with the weights; this or `model`."""
    model: str | None = None
    """A name on the Hugging Face hub, or a folder; this or `source`."""
    revision: str | None = None
    """The hub's commit."""
    max_tokens: Annotated[int, Field(ge=3)] = 40
    """Longer captions are cut. Unit: tokens."""
    prefix: str = ""
    """Put before every caption, for encoders that were trained so."""
    image_size: Annotated[int, Field(ge=32, multiple_of=32)] = 224
    """Of EfficientNet, which takes any size; other encoders bring their own. Unit: pixels."""

    train_from: str | None = None
    """The layer from which on the encoder trains; what lies below is cached. None: nothing trains. `input`: all of
    it. `layer.3` (transformers; from 0), `blocks.13` or `head` (EfficientNet-Lite0); a wrong name is an error that
    lists the others."""
    views: Count = 1
    """How many versions of each image are cached, of which a step draws one: as it is, mirrored, then crops. Unit:
    versions."""

    @model_validator(mode="after")
    def _views_are_of_images(self) -> "Encoder":
        if self.views > 1 and self.modality != "image":
            raise ValueError("views: captions have one; only an encoder of images has more")
        return self

    @model_validator(mode="after")
    def _has_one_origin(self) -> "Encoder":
        if (self.source is None) == (self.model is None):
            raise ValueError(
                "give exactly one of 'source' (a package or archive) and 'model' (a hub name or folder)"
            )
        if self.kind == "efficientnet_lite0" and (self.source is None or self.modality != "image"):
            raise ValueError("kind 'efficientnet_lite0' needs a 'source' and serves modality 'image'")
        return self


class Encoders(Section):
    """Which entry of `encoder` serves each modality."""

    image: Name
    """An entry of `encoder`."""
    text: Name
    """An entry of `encoder`."""


class Features(Section):
    """How features are computed; none of these changes what is computed, beyond rounding."""

    device: Device = "auto"
    """`auto` is a GPU where there is one."""
    batch_size: Count = 8
    """8 stays in a core's cache; a GPU wants 256. Unit: images or captions."""
    workers: NonNegativeCount = 0
    """Each has a batch of its own; 0 is all cores. Unit: cores."""
