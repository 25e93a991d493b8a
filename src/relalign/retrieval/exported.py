"""A folder that holds all that a model needs: made by `relalign export`, loaded by `relalign.load`.

| path | holds |
| --- | --- |
| `config.json` | what it is: method, seed, dataset, encoders, and the share with which fusion re-ranks |
| `model/` | the trained weights, those of trained encoder layers included, as the pipeline published them |
| `encoders/image/`, `encoders/text/` | weights, preprocessing and tokenizer, frozen layers included |
| `image.onnx`, `text.onnx` | both towers, with `--onnx` (see `relalign.retrieval.onnx_files`) |
| `README.md` | the model card |

Weights are safetensors; nothing is pickled.
"""

import shutil
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Literal

import torch
from pydantic import ValidationError

from relalign.errors import RelalignError
from relalign.layout import Layout
from relalign.retrieval.retrieval_model import RetrievalModel, check_run, fusion_share_of
from relalign.settings import Params
from relalign.settings.encoder import Encoder
from relalign.settings.section import Count, Fraction, Name, NonNegativeCount, Section
from relalign.system.artifacts import read_manifest

__all__ = ["Exported", "RetrievalModel", "load_exported", "read_exported", "write_exported"]

CONFIG, MODEL, ENCODERS = "config.json", "model", "encoders"
WAY_OUT = "copy or export it again"


class Exported(Section):
    """The `config.json` of an exported folder."""

    format: Literal["relalign 1"] = "relalign 1"
    """By which a folder is known to be one."""
    method: Name
    """The entry of `method` that was trained."""
    seed: NonNegativeCount
    """Its seed."""
    dataset: Name
    """What it was trained on."""
    image: Encoder
    """The encoder of images."""
    text: Encoder
    """The encoder of texts."""
    max_pixels: Count
    """Larger images are refused. Unit: pixels."""
    fusion_share: Fraction | None
    """How much fusion's own say counts in re-ranking; None where there is no fusion, or no evaluation yet."""


def write_exported(draft: Path, params: Params, layout: Layout, *, method: str, seed: int) -> Exported:
    """Copy a trained run and its encoders into a folder that is being published, and say what it is.

    Raises `RelalignError` if the run is not trained, or not with the encoders of params.yaml.
    """
    exported = exported_as(params, layout, method=method, seed=seed)
    shutil.copytree(layout.run(method, seed) / "model", draft / MODEL, copy_function=shutil.copyfile)
    for side, name in params.encoders:
        shutil.copytree(layout.encoder(name), draft / ENCODERS / side, copy_function=shutil.copyfile)
    (draft / CONFIG).write_text(exported.model_dump_json(indent=2) + "\n")
    return exported


def exported_as(params: Params, layout: Layout, *, method: str, seed: int) -> Exported:
    """The `config.json` of a trained run; the same errors."""
    check_run(params, layout, method=method, seed=seed)
    return Exported(
        method=method,
        seed=seed,
        dataset=params.dataset,
        image=params.encoder[params.encoders.image],
        text=params.encoder[params.encoders.text],
        max_pixels=params.validate_.max_pixels,
        fusion_share=fusion_share_of(layout.run(method, seed)),
    )


def read_exported(folder: Path) -> Exported:
    """What an exported folder is; `RelalignError` if it is another one."""
    try:
        return Exported.model_validate_json((folder / CONFIG).read_text(encoding="utf-8"))
    except FileNotFoundError:
        state = "has no config.json" if folder.is_dir() else "does not exist"
    except (ValidationError, UnicodeDecodeError, OSError):
        state = "has another or a damaged config.json"
    raise RelalignError(f"{folder} {state}. A folder is wanted that `relalign export` has made.")


def load_exported(folder: str | PathLike[str], device: str | torch.device | None = None) -> RetrievalModel:
    """See `relalign.load`."""
    folder = Path(folder)
    exported = read_exported(folder)
    places = {MODEL: folder / MODEL, **{side: folder / ENCODERS / side for side in ("image", "text")}}
    for part in places.values():
        read_manifest(part, verify=True, way_out=WAY_OUT)
    return load_parts(exported, places, device)


def load_parts(
    exported: Exported, places: Mapping[str, Path], device: str | torch.device | None = None
) -> RetrievalModel:
    """The model of published folders, "model", "image" and "text", wherever each lies."""
    model = RetrievalModel.of_folders(
        places[MODEL],
        {"image": (exported.image, places["image"]), "text": (exported.text, places["text"])},
        device=_device(device),
        max_pixels=exported.max_pixels,
    )
    model.use_fusion_share(exported.fusion_share)
    return model


def _device(wanted: str | torch.device | None) -> torch.device | None:
    if wanted is None:
        return None
    try:
        device = torch.device(wanted)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # AssertionError: a torch that is built without CUDA
        raise RelalignError(f"device '{wanted}' cannot be used here: {str(error).splitlines()[0]}") from None
    return device
