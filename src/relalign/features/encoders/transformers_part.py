"""Any `transformers` encoder from a cut upwards, by its own code: lower layers are taken out, and what they gave
is given to it in the place of embeddings.

Families with layers in a list can be cut between any two of them: BERT, MiniLM, MPNet, ViT, DeiT, DINOv2, Swin
(whose layers are stages), CLIP and SigLIP, both towers, and others built alike. An encoder of another family has
the cut "input" alone.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn

from relalign.features.encoders.base import Encoded, mean_and_maximum
from relalign.features.encoders.part import INPUT, EncoderPart, cut_position

_LISTS = ("encoder.layer", "encoder.layers", "layers")
_PREFIX_PARAMETERS = ("cls_token", "class_embedding", "distillation_token", "register_tokens")


class _Given(nn.Module):
    """Stands for an encoder's embeddings and gives what it was told to."""

    class patch_embeddings:  # noqa: N801 (ViT asks for its data type by this name)
        class projection:  # noqa: N801 (the same)
            weight = torch.zeros(0)

    def __init__(self) -> None:
        super().__init__()
        self.value: Any = None

    def forward(self, *unused: Any, **also_unused: Any) -> Any:
        return self.value


class _TransformersPart(EncoderPart):
    def __init__(self, model: Any, tower: str, cut: str) -> None:
        super().__init__()
        root = getattr(model, tower, model)
        path, layers = _layers(root)
        position = _position(root, cut)
        self.joint = hasattr(model, tower)
        self.skipped = max(position - 1, 0)  # layers
        self.from_input = position == 0
        _drop(model, {"vision_model": "visual_projection", "text_model": "text_projection"}, keep=tower)
        pooler = getattr(root, "pooler", None)
        if pooler is not None and list(pooler.parameters()):
            root.pooler = None  # never used, and random in headless checkpoints
        if not self.from_input:
            holder = root.get_submodule(path.rpartition(".")[0])
            setattr(holder, path.rpartition(".")[2], layers[self.skipped :])
            root.embeddings = self.given = _Given()
            if hasattr(root, "pre_layrnorm"):
                root.pre_layrnorm = nn.Identity()
        self.model = model
        self._path, self._tower = path, tower

    @property
    def root(self) -> Any:
        """The tower itself."""
        return getattr(self.model, self._tower, self.model)

    def trained_layers(self) -> Sequence[nn.Module]:
        """The embeddings, if they are above the cut, and the layers."""
        embeddings = [self.root.embeddings] if self.from_input and hasattr(self.root, "embeddings") else []
        return [*embeddings, *layers_of(self.root)]

    def first_layer(self, cut: str) -> nn.Module:
        """Of a whole encoder, the layer whose input is cached for a cut other than the input."""
        return layers_of(self.root)[_position(self.root, cut) - 1]


class TransformersImagePart(_TransformersPart):
    """Tokens that are no region (CLS, distillation, registers) come first in all these models and are left out.

    The pooled vector is, for joint models, the image embedding in the shared space (`get_image_features`);
    otherwise the CLS token's last hidden state; without one, the mean over regions. `pooler_output` is not used:
    headless checkpoints leave its layer random. The summary is the pooled vector, mean and maximum over regions.
    """

    def __init__(self, model: Any, cut: str = INPUT) -> None:
        prefix = _prefix_length(getattr(model, "vision_model", model))  # before embeddings are taken out
        super().__init__(model, "vision_model", cut)
        self.prefix = prefix
        self.token_width = _width(self.root)

    def forward(
        self,
        activations: Shaped[Tensor, "batch position width"],
        mask: Bool[Tensor, "batch position"],
        content: Bool[Tensor, "batch position"] | None = None,
        cached_summary: Float[Tensor, "batch summary_width"] | None = None,
    ) -> Encoded:
        """Features of activations, or of prepared pixels (a position a pixel); all positions are real."""
        if self.from_input:
            pixels = as_pixels(activations)
        else:
            side = math.isqrt(activations.shape[1])
            swin = type(self.root).__name__.startswith("Swin")
            self.given.value = (activations, (side, side)) if swin else activations
            pixels = activations
        forward = self.model.get_image_features if self.joint else self.model
        output = forward(pixel_values=pixels)
        hidden = output.last_hidden_state
        hidden = hidden.flatten(2).transpose(1, 2) if hidden.ndim == 4 else hidden
        regions = hidden[:, self.prefix :]
        own = hidden[:, 0] if self.prefix else regions.mean(1)
        pooled = output.pooler_output if self.joint else own
        everywhere = torch.ones(regions.shape[:2], dtype=torch.bool, device=regions.device)
        return Encoded(regions, pooled, torch.cat([pooled, mean_and_maximum(regions, everywhere)], dim=1))


class TransformersTextPart(_TransformersPart):
    """The pooled vector is, for joint models, the text embedding in the shared space (`get_text_features`);
    otherwise the mean over all positions, CLS and SEP included, as sentence-transformers does, or with
    `takes_first` the CLS token. The summary is the pooled vector with mean and maximum over the words of three
    layers: the embeddings, two thirds up, and the last. A last layer trained for similarity of sentences has let
    go of many a word.
    """

    def __init__(self, model: Any, cut: str = INPUT, *, takes_first: bool = False) -> None:
        super().__init__(model, "text_model", cut)
        config = getattr(model.config, "text_config", model.config)
        self.takes_first = takes_first
        self.has_mask = not config.model_type.startswith("siglip")  # trained on captions padded without a mask
        self.end_of_text = getattr(config, "eos_token_id", None)
        self.levels = (0, 2 * config.num_hidden_layers // 3)
        self.token_width = config.hidden_size

    def forward(
        self,
        activations: Shaped[Tensor, "batch position width"],
        mask: Bool[Tensor, "batch position"],
        content: Bool[Tensor, "batch position"] | None = None,
        cached_summary: Float[Tensor, "batch summary_width"] | None = None,
    ) -> Encoded:
        """Features of activations, or of token numbers (width 1)."""
        padded = not bool(mask.all())
        asked: dict[str, Any] = {"attention_mask": mask.long()} if padded and self.has_mask else {}
        if self.from_input:
            asked["input_ids"] = activations[..., 0].long()
        else:
            self.given.value = activations
            if self.joint:
                asked["input_ids"] = self._numbers_that_end(mask)
            else:
                asked["inputs_embeds"] = activations
        forward = self.model.get_text_features if self.joint else self.model
        output = forward(output_hidden_states=True, **asked)
        hidden = output.last_hidden_state
        mean = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True) if padded else hidden.mean(1)
        own = hidden[:, 0] if self.takes_first else mean
        pooled = output.pooler_output if self.joint else own
        words = mask if content is None else content
        parts = [pooled]
        for place, level in enumerate(self.levels):
            if level >= self.skipped:
                parts.append(mean_and_maximum(output.hidden_states[level - self.skipped], words))
            else:
                assert cached_summary is not None  # noqa: S101 (only the whole encoder goes without)
                start = pooled.shape[1] + 2 * place * self.token_width
                parts.append(cached_summary[:, start : start + 2 * self.token_width])
        parts.append(mean_and_maximum(hidden, words))
        return Encoded(hidden, pooled, torch.cat(parts, dim=1))

    def _numbers_that_end(self, mask: Bool[Tensor, "batch position"]) -> Tensor:
        """Token numbers of no meaning but that the last real one ends the text, where CLIP looks for its vector.

        An old CLIP (`eos_token_id` 2) looks for the largest number, others for the first `eos_token_id`.
        """
        end = self.end_of_text or 0
        numbers = torch.full(mask.shape, 0 if end else 1, dtype=torch.long, device=mask.device)
        return numbers.scatter_(1, mask.sum(1, keepdim=True) - 1, end)


def as_pixels(activations: Float[Tensor, "batch pixel 3"]) -> Float[Tensor, "batch 3 side side"]:
    """Pixels in reading order as a square image."""
    side = math.isqrt(activations.shape[1])
    pixels: Tensor = activations.transpose(1, 2).unflatten(2, (side, side))
    return pixels


def layers_of(root: Any) -> nn.ModuleList:
    """The layers of an encoder's tower; none if it does not keep them in a list."""
    return _layers(root)[1]


def _layers(root: Any) -> tuple[str, nn.ModuleList]:
    for path in _LISTS:
        try:
            found = root.get_submodule(path)
        except AttributeError:
            continue
        if isinstance(found, nn.ModuleList) and hasattr(root, "embeddings"):
            return path, found
    return "", nn.ModuleList()


def _position(root: Any, cut: str) -> int:
    known = [INPUT, *(f"layer.{index}" for index in range(len(layers_of(root))))]
    return cut_position(cut, known, encoder=type(root).__name__)


def _drop(model: Any, towers: dict[str, str], *, keep: str) -> None:
    """Take the other tower and what compares both out of a joint model."""
    for scalar in ("logit_scale", "logit_bias"):
        if hasattr(model, scalar):
            delattr(model, scalar)
    for tower, projection in towers.items():
        if tower != keep and hasattr(model, tower):
            delattr(model, tower)
            if hasattr(model, projection):
                delattr(model, projection)


def _prefix_length(model: nn.Module) -> int:
    """How many tokens stand before the regions, from the parameters that make them."""
    return sum(
        parameter.numel() // parameter.shape[-1]
        for name, parameter in model.named_parameters()
        if name.rsplit(".", 1)[-1] in _PREFIX_PARAMETERS
    )


def _width(root: Any) -> int:
    sizes = getattr(root.config, "hidden_sizes", None)
    return int(sizes[-1]) if sizes else int(root.config.hidden_size)
