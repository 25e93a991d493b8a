"""Encoders: fetched once into `data/encoders/<name>/`, then loaded from there alone."""

from pathlib import Path
from typing import TYPE_CHECKING

from relalign.features.encoders.fetch import download_encoder
from relalign.settings.encoder import Encoder

if TYPE_CHECKING:
    import torch

    from relalign.features.encoders.base import ImageEncoder, TextEncoder

__all__ = ["download_encoder", "load_image_encoder", "load_text_encoder"]


def load_image_encoder(encoder: Encoder, folder: Path, device: "torch.device") -> "ImageEncoder":
    """The image encoder that `download_encoder` has put into `folder`."""
    if encoder.kind == "efficientnet_lite0":
        from relalign.features.encoders.efficientnet_lite import EfficientNetLite0Encoder

        return EfficientNetLite0Encoder(
            folder, device, image_size=encoder.image_size, train_from=encoder.train_from
        )
    from relalign.features.encoders.transformers_image import TransformersImageEncoder

    return TransformersImageEncoder(folder, device, train_from=encoder.train_from)


def load_text_encoder(encoder: Encoder, folder: Path, device: "torch.device") -> "TextEncoder":
    """The text encoder that `download_encoder` has put into `folder`."""
    from relalign.features.encoders.transformers_text import TransformersTextEncoder

    return TransformersTextEncoder(
        folder, device, max_tokens=encoder.max_tokens, prefix=encoder.prefix, train_from=encoder.train_from
    )
