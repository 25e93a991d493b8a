"""Image encoders from `transformers`: CLIP, SigLIP, DINO, Swin, ViT and others whose input has one size."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32
from PIL import Image

from relalign.errors import RelalignError
from relalign.features.encoders.base import Encoded
from relalign.features.encoders.part import INPUT, InputOf
from relalign.features.encoders.pretrained import load_pretrained
from relalign.features.encoders.transformers_part import TransformersImagePart


class TransformersImageEncoder:
    """`ImageEncoder`: the model's own preprocessing and the whole model, or with a cut its activations there."""

    def __init__(self, folder: Path, device: torch.device, *, train_from: str | None = None) -> None:
        from transformers import AutoImageProcessor

        self.device = device
        model = load_pretrained(folder, device)
        try:
            # Pillow everywhere: the torchvision backend resizes differently and may not be installed.
            self.processor = AutoImageProcessor.from_pretrained(  # type: ignore[no-untyped-call]
                folder, backend="pil", local_files_only=True, trust_remote_code=False
            )
        except (OSError, ValueError) as error:
            raise RelalignError(
                f"{folder} has no image preprocessing (preprocessor_config.json): {error}"
            ) from error
        self.part = TransformersImagePart(model)
        self.train_from = train_from
        self.at_cut = None if train_from in (None, INPUT) else InputOf(self.part.first_layer(str(train_from)))

    def prepare(self, image: Image.Image) -> Float32[np.ndarray, "3 height width"]:
        """The image as the model's own image processor makes it."""
        pixels = self.processor(images=image, return_tensors="np")["pixel_values"][0]
        return np.asarray(pixels, dtype=np.float32)

    @torch.inference_mode()
    def encode(self, inputs: Float32[np.ndarray, "batch 3 height width"]) -> Encoded:
        """Features of a stack of prepared images."""
        pixels = torch.from_numpy(inputs).to(self.device).flatten(2).transpose(1, 2)
        encoded = self.part(pixels, torch.ones(pixels.shape[:2], dtype=torch.bool, device=self.device))
        tokens = encoded.tokens
        if self.train_from is not None:
            tokens = pixels if self.at_cut is None else self.at_cut.seen
        return Encoded(tokens.cpu(), encoded.pooled.cpu(), encoded.summary.cpu())
