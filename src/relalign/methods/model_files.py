"""Saving and loading a trained model: `model.safetensors` and the `config.json` that rebuilds it."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from pydantic import TypeAdapter
from safetensors.torch import load_file, save_file
from torch import nn

from relalign.features.encoders.trained import TrainedEncoder, rebuild_trained
from relalign.methods import trained_method
from relalign.methods.cca import LinearEmbedder, embedder_width
from relalign.methods.method import TrainedMethod
from relalign.methods.zero_shot import ZeroShotEmbedder
from relalign.model.backbone import Backbone, Widths
from relalign.model.fusion import FusionShape
from relalign.settings.backbone import Backbone as BackboneSettings
from relalign.settings.methods import Method
from relalign.settings.methods.cca import Cca
from relalign.settings.methods.zero_shot import ZeroShot
from relalign.system.artifacts import pretty_json, read_manifest

Embedder = Backbone | LinearEmbedder | ZeroShotEmbedder


def build_method(
    settings: Any,
    backbone: BackboneSettings,
    widths: Widths,
    *,
    seed: int,
    encoders: Mapping[str, TrainedEncoder] = MappingProxyType({}),
    fusion: FusionShape | None = None,
) -> TrainedMethod:
    """A freshly initialised method over encoders as they are; equal seeds give equal weights, and the global
    generator is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Backbone(backbone, widths, temperature=settings.temperature, encoders=encoders, fusion=fusion)
        build = trained_method(settings.algorithm)
        if build is None:
            raise ValueError(f"{settings.algorithm} is not trained")
        return build(model, settings, widths=widths)


def save_model(
    draft: Path,
    module: nn.Module,
    *,
    settings: Any,
    backbone: BackboneSettings,
    widths: Widths,
    encoders: Mapping[str, TrainedEncoder] = MappingProxyType({}),
    fusion: FusionShape | None = None,
) -> None:
    """Write the two files into a folder that is being published."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    save_file(state, draft / "model.safetensors")
    config = {
        "settings": settings.model_dump(mode="json"),
        "backbone": backbone.model_dump(mode="json"),
        "widths": asdict(widths),
        "encoders": {side: encoder.description for side, encoder in encoders.items()},
        "fusion": None if fusion is None else asdict(fusion),
    }
    (draft / "config.json").write_text(pretty_json(config))


def load_model(folder: Path, *, device: torch.device | None = None) -> Embedder:
    """The embedder of a published model folder, in evaluation mode: a `Backbone`, or what was not trained."""
    read_manifest(folder, verify=True)
    config = json.loads((folder / "config.json").read_text())
    settings: Any = TypeAdapter(Method).validate_python(config["settings"])
    widths = Widths(**config["widths"])
    state = load_file(folder / "model.safetensors")
    if isinstance(settings, Cca):
        embedder: Embedder = LinearEmbedder(widths, embedder_width(widths, settings))
        embedder.load_state_dict(state)
    elif isinstance(settings, ZeroShot):
        embedder = ZeroShotEmbedder(widths)
    else:
        encoders = {side: rebuild_trained(description) for side, description in config["encoders"].items()}
        fusion = None if config["fusion"] is None else FusionShape(**config["fusion"])
        backbone = BackboneSettings(**config["backbone"])
        method = build_method(settings, backbone, widths, seed=0, encoders=encoders, fusion=fusion)
        method.load_state_dict(state)
        embedder = method.backbone
    return embedder.eval().to(device or torch.device("cpu"))
