"""The trained part of an encoder: features below its cut in, finished features out."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint

from relalign.features.encoders.base import Encoded
from relalign.features.encoders.part import EncoderPart
from relalign.features.table import Features, features_of
from relalign.settings.encoder import Encoder
from relalign.system import processes
from relalign.system.artifacts import canonical_json

_CAPTIONS_TOGETHER = 64


class TrainedEncoder(nn.Module):
    """An encoder from its cut on. What it gives is what a frozen encoder's store holds, with gradients.

    With `rows_at_once` a batch goes through in chunks of which only the outputs are kept: a backward pass computes
    each chunk again, with the dropout, the precision and the weights of the first time. Gradients are exact
    (GradCache, arXiv 2101.06983, by torch's checkpointing), and memory is that of one chunk.
    """

    def __init__(self, part: EncoderPart, description: dict[str, Any], *, rows_at_once: int = 0) -> None:
        super().__init__()
        self.part = part
        self.description = description
        self.rows_at_once = rows_at_once

    def forward(self, features: Features) -> Features:
        """Read a batch."""
        activations, mask = features.tokens()
        content, lengths = features.content(mask), mask.sum(1)
        order = lengths.argsort(stable=True)  # rows of one length together: little goes into padding
        size = self.rows_at_once or (len(order) if features.table.content is None else _CAPTIONS_TOGETHER)
        chunks = []
        for rows in order.split(size):
            longest = int(lengths[rows[-1]])
            read, real, own = (part[rows, :longest] for part in (activations, mask, content))
            chunks.append(self._encode(read, real, own, features.summary[rows]))
        back = order.argsort()
        widest = max(chunk.tokens.shape[1] for chunk in chunks)
        padded = [F.pad(chunk.tokens, (0, 0, 0, widest - chunk.tokens.shape[1])) for chunk in chunks]
        tokens, pooled, summary = (
            torch.cat(parts)[back]
            for parts in (padded, [chunk.pooled for chunk in chunks], [chunk.summary for chunk in chunks])
        )
        if features.table.content is None:
            lengths = torch.full_like(lengths, tokens.shape[1])
        else:
            tokens, lengths = only_content(tokens, content)
        return features_of(tokens, lengths, pooled, summary)

    def read(self, features: Features) -> Features:
        """Read a batch; of processes that train together, each reads its rows."""
        if processes.number() == 1:
            read: Features = self(features)
            return read

        def own_rows(call: Callable[[Features], Features], own: Tensor) -> list[Tensor]:
            finished = call(features.take(own))
            return [finished.table.tokens, finished.table.lengths, finished.pooled, finished.summary]

        return features_of(*processes.by_rows(self, own_rows, len(features)))

    def trained_layers(self) -> list[nn.Module]:
        """From the cut upwards."""
        return list(self.part.trained_layers())

    def _encode(self, activations: Tensor, mask: Tensor, content: Tensor, known: Tensor) -> Encoded:
        if not self.rows_at_once or not torch.is_grad_enabled():
            return cast(Encoded, self.part(activations, mask, content, known))
        # By name, as a meta step calls the part with other weights, which must be there when it is computed again.
        weights: dict[str, Tensor] = dict(self.part.named_parameters())
        kernels = _attention_kernels()  # of second order there is but one, and the gradient is computed outside

        def read(*inputs: Tensor) -> tuple[Tensor, ...]:
            with sdpa_kernel(kernels):
                encoded = functional_call(self.part, weights, inputs)
            return encoded.tokens, encoded.pooled, encoded.summary

        return Encoded(*checkpoint(read, activations, mask, content, known, use_reentrant=False))


def _attention_kernels() -> list[SDPBackend]:
    """The kernels that attention may choose from now."""
    may = torch.backends.cuda
    allowed = {
        SDPBackend.MATH: may.math_sdp_enabled(),
        SDPBackend.FLASH_ATTENTION: may.flash_sdp_enabled(),
        SDPBackend.EFFICIENT_ATTENTION: may.mem_efficient_sdp_enabled(),
        SDPBackend.CUDNN_ATTENTION: may.cudnn_sdp_enabled(),
    }
    return [kernel for kernel, enabled in allowed.items() if enabled]


def only_content(
    tokens: Shaped[Tensor, "row position width"], content: Bool[Tensor, "row position"]
) -> tuple[Float[Tensor, "row token width"], Int[Tensor, " row"]]:
    """The tokens that count, moved to the front of each row, zeros behind them, and how many there are.

    With content `[[False, True, True, False]]`: tokens 1 and 2, and length 2.
    """
    lengths = content.sum(1)
    places = (~content).to(torch.uint8).argsort(dim=1, stable=True)[:, : int(lengths.max())]
    kept = tokens.gather(1, places[..., None].expand(-1, -1, tokens.shape[2]))
    real = torch.arange(kept.shape[1], device=lengths.device) < lengths[:, None]
    return kept * real[..., None], lengths


def load_trained(encoder: Encoder, folder: Path, *, rows_at_once: int = 0) -> TrainedEncoder:
    """The part above `encoder.train_from` with the weights of the encoder's folder."""
    description: dict[str, Any] = {"encoder": encoder.model_dump(include={*_DESCRIBED}, mode="json")}
    if encoder.kind == "efficientnet_lite0":
        from relalign.features.encoders.efficientnet_lite import load_network

        return _trained(load_network(folder), description, rows_at_once)
    from relalign.features.encoders.pretrained import load_pretrained
    from relalign.features.encoders.transformers_text import takes_first

    model = load_pretrained(folder, torch.device("cpu"))
    config = json.loads(canonical_json(model.config.to_dict()))  # its keys in one order
    config.pop("_name_or_path", None)  # a folder of this machine
    description |= {"config": config, "takes_first": takes_first(folder)}
    return _trained(model, description, rows_at_once)


def rebuild_trained(description: dict[str, Any]) -> TrainedEncoder:
    """A part as `TrainedEncoder.description` has it, for weights that are loaded afterwards."""
    if description["encoder"]["kind"] == "efficientnet_lite0":
        from relalign.features.encoders.efficientnet_lite import EfficientNetLite0

        return _trained(EfficientNetLite0(), description, 0)
    from transformers import AutoConfig, AutoModel

    config = dict(description["config"])
    settings = AutoConfig.for_model(config.pop("model_type"), **config)
    model = AutoModel.from_config(settings)  # type: ignore[no-untyped-call]
    return _trained(model, description, 0)


_DESCRIBED = ("kind", "modality", "train_from", "image_size")


def _trained(model: Any, description: dict[str, Any], rows_at_once: int) -> TrainedEncoder:
    encoder = description["encoder"]
    if encoder["kind"] == "efficientnet_lite0":
        from relalign.features.encoders.efficientnet_lite import EfficientNetLite0Part

        part: EncoderPart = EfficientNetLite0Part(model, encoder["train_from"])
        part.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    else:
        from relalign.features.encoders.transformers_part import TransformersImagePart, TransformersTextPart

        if encoder["modality"] == "image":
            part = TransformersImagePart(model, encoder["train_from"])
        else:
            part = TransformersTextPart(model, encoder["train_from"], takes_first=description["takes_first"])
    return TrainedEncoder(part, description, rows_at_once=rows_at_once)
