"""Where the fusion encoder starts: at the upper layers of the text encoder, which know language and how to attend.

As UNITER (arXiv 1909.11740) and ViLT (2102.03334), whose single stream starts from BERT or ViT, and ALBEF
(2107.07651), whose fusion layers are BERT's upper half. Image tokens are projected to the width of that encoder,
and each modality has a type embedding; text tokens enter as they are. MPNet's bias of relative positions is left
out, as it has no meaning among regions. CLIP's text attends backwards only, here in both directions.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from relalign.errors import RelalignError
from relalign.features.encoders.pretrained import load_pretrained
from relalign.features.encoders.transformers_part import layers_of
from relalign.model.backbone import Backbone
from relalign.model.fusion import FusionLayer, FusionShape

_NAMES = {  # query, key, value, output, norm; inner, outer, norm of the feed-forward part
    "bert": (
        ("attention.self.query", "attention.self.key", "attention.self.value"),
        ("attention.output.dense", "attention.output.LayerNorm"),
        ("intermediate.dense", "output.dense", "output.LayerNorm"),
    ),
    "mpnet": (
        ("attention.attn.q", "attention.attn.k", "attention.attn.v"),
        ("attention.attn.o", "attention.LayerNorm"),
        ("intermediate.dense", "output.dense", "output.LayerNorm"),
    ),
    "clip": (
        ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        ("self_attn.out_proj", "layer_norm1"),
        ("mlp.fc1", "mlp.fc2", "layer_norm2"),
    ),
}
State = dict[str, Tensor]


def language_layers(folder: Path, count: int) -> tuple[FusionShape, list[State]]:
    """The last `count` layers of the text encoder of a folder, in the fusion layer's own names, and their shape.

    Raises `RelalignError` if it has fewer layers, or layers of a kind that is not known here.
    """
    model = load_pretrained(folder, torch.device("cpu"))
    layers = layers_of(getattr(model, "text_model", model))
    if count > len(layers):
        raise RelalignError(
            f"backbone.fusion_layers is {count}, but the text encoder in {folder} has {len(layers)} layers. "
            "Lower it, or set backbone.fusion_start to random."
        )
    config = getattr(model.config, "text_config", model.config)
    first = layers[-1]
    kind = next((kind for kind, names in _NAMES.items() if _has(first, names[0][0])), None)
    if kind is None:
        raise RelalignError(
            f"backbone.fusion_start: layers of {type(first).__name__} are not known. Choose an encoder like BERT, "
            "MPNet, CLIP or SigLIP as encoders.text, or set it to random."
        )
    inner = cast(nn.Linear, first.get_submodule(_NAMES[kind][2][0])).out_features
    shape = FusionShape(
        width=config.hidden_size,
        heads=config.num_attention_heads,
        inner_width=inner,
        norm_last=kind != "clip",
        epsilon=config.layer_norm_eps,
        activation=config.hidden_act,
    )
    return shape, [_state(layer, *_NAMES[kind]) for layer in layers[len(layers) - count :]]


@torch.no_grad()
def start_fusion(backbone: Backbone, layers: Sequence[State]) -> None:
    """Let the fusion layers be these, and text tokens enter as they are."""
    for layer, state in zip(backbone.fusion, layers, strict=True):
        cast(FusionLayer, layer).load_state_dict(state)
    entrance = cast(nn.Linear, backbone.to_fusion["text"])
    nn.init.eye_(entrance.weight)
    nn.init.zeros_(entrance.bias)


def _state(layer: nn.Module, joint: Sequence[str], attention: Sequence[str], feed_forward: Sequence[str]) -> State:
    named: dict[str, Any] = dict(layer.named_parameters())
    state: State = {}
    for kind in ("weight", "bias"):
        state[f"query_key_value.{kind}"] = torch.cat([named[f"{name}.{kind}"].detach() for name in joint])
        parts = zip(
            ("attention_output", "attention_norm", "feed_forward.0", "feed_forward.3", "feed_forward_norm"),
            (*attention, *feed_forward),
            strict=True,
        )
        state |= {f"{ours}.{kind}": named[f"{theirs}.{kind}"].detach() for ours, theirs in parts}
    return state


def _has(layer: nn.Module, name: str) -> bool:
    return any(known == name for known, _ in layer.named_modules())
