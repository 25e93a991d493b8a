"""Frozen image encoders from `transformers`: CLIP, SigLIP, DINO, Swin, ViT and others whose input has one size."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32
from PIL import Image
from torch import Tensor, nn

from relalign.errors import RelalignError
from relalign.features.encoders.base import Encoded, mean_and_maximum
from relalign.features.encoders.pretrained import load_pretrained

_PREFIX_PARAMETERS = ("cls_token", "class_embedding", "distillation_token", "register_tokens")


class TransformersImageEncoder:
    """`ImageEncoder`: the model's own preprocessing, its last hidden states as regions, and a pooled vector.

    Tokens that are no region (CLS, distillation, registers) come first in all these models and are left out.
    The pooled vector is, for joint models, the image embedding in the shared space (`get_image_features`);
    otherwise the CLS token's last hidden state; without one, the mean over regions. `pooler_output` is not used:
    headless checkpoints leave its layer random. The summary is the pooled vector, mean and maximum over regions.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        from transformers import AutoImageProcessor

        self.device = device
        self.model = load_pretrained(folder, device)
        try:
            # Pillow everywhere: the torchvision backend resizes differently and may not be installed.
            load = AutoImageProcessor.from_pretrained
            self.processor = load(folder, backend="pil", local_files_only=True)  # type: ignore[no-untyped-call]
        except (OSError, ValueError) as error:
            raise RelalignError(
                f"{folder} has no image preprocessing (preprocessor_config.json): {error}"
            ) from error
        self.joint = hasattr(self.model, "get_image_features")
        self.prefix = _prefix_length(getattr(self.model, "vision_model", self.model))

    def prepare(self, image: Image.Image) -> Float32[np.ndarray, "3 height width"]:
        """The image as the model's own image processor makes it."""
        pixels = self.processor(images=image, return_tensors="np")["pixel_values"][0]
        return np.asarray(pixels, dtype=np.float32)

    @torch.inference_mode()
    def encode(self, inputs: Float32[np.ndarray, "batch 3 height width"]) -> Encoded:
        """Features of a stack of prepared images."""
        forward = self.model.get_image_features if self.joint else self.model
        output = forward(pixel_values=torch.from_numpy(inputs).to(self.device))
        hidden = _as_tokens(output.last_hidden_state)
        regions = hidden[:, self.prefix :]
        own = hidden[:, 0] if self.prefix else regions.mean(1)
        pooled = output.pooler_output if self.joint else own
        everywhere = torch.ones(regions.shape[:2], dtype=torch.bool, device=self.device)
        summary = torch.cat([pooled, mean_and_maximum(regions, everywhere)], dim=1)
        return Encoded(regions.cpu(), pooled.cpu(), summary.cpu())


def _as_tokens(hidden: Float[Tensor, "..."]) -> Float[Tensor, "batch tokens width"]:
    return hidden.flatten(2).transpose(1, 2) if hidden.ndim == 4 else hidden


def _prefix_length(model: nn.Module) -> int:
    """How many tokens stand before the regions, from the parameters that make them."""
    return sum(
        parameter.numel() // parameter.shape[-1]
        for name, parameter in model.named_parameters()
        if name.rsplit(".", 1)[-1] in _PREFIX_PARAMETERS
    )
