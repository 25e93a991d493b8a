"""Checkpoints for exact resume: safetensors and JSON only, replaced atomically, bound to a key.

Randomness needs no saving: every epoch derives its generators from the seed and the epoch's number, so a run
resumed at an epoch's end repeats what an uninterrupted run would have done, bit for bit. A damaged checkpoint is
as good as none.
"""

import hashlib
import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from relalign.system.artifacts import canonical_json, write_atomic

logger = logging.getLogger(__name__)

FILE = "state.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """Named groups of tensors (`model`, `optimizer`, ...) and plain values (epoch, history, ...)."""

    tensors: Mapping[str, Mapping[str, Tensor]]
    values: Mapping[str, Any]


def save_checkpoint(folder: Path, checkpoint: Checkpoint, *, key: str) -> None:
    """Replace the folder's checkpoint; a kill at any moment leaves the old one or the new one."""
    flat = {
        f"{group}/{name}": tensor.detach().cpu().contiguous()
        for group, tensors in checkpoint.tensors.items()
        for name, tensor in tensors.items()
    }
    values = canonical_json(checkpoint.values)
    metadata = {"key": key, "values": values, "sha256": _sha256(flat, values)}
    write_atomic(folder / FILE, save(flat, metadata))


def load_checkpoint(folder: Path, *, key: str) -> Checkpoint | None:
    """The folder's checkpoint, or None if there is none, or a damaged one, or one of other work (another key)."""
    path = folder / FILE
    for abandoned in folder.glob(f".{FILE}.*"):  # as large as the checkpoint itself
        abandoned.unlink(missing_ok=True)  # another process of the training may have done it
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as stream:
            metadata = stream.metadata() or {}
            if metadata.get("key") != key:
                return None
            flat = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 (not a mapping)
        whole = metadata["sha256"] == _sha256(flat, metadata["values"])
    except (SafetensorError, KeyError):
        whole = False
    if not whole:
        logger.warning("%s is damaged: training begins anew", path)
        return None
    groups: dict[str, dict[str, Tensor]] = {}
    for name, tensor in flat.items():
        group, _, rest = name.partition("/")
        groups.setdefault(group, {})[rest] = tensor
    return Checkpoint(groups, json.loads(metadata["values"]))


def _sha256(tensors: Mapping[str, Tensor], values: str) -> str:
    found = hashlib.sha256(values.encode())
    for name in sorted(tensors):
        found.update(name.encode())
        found.update(tensors[name].reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def drop_checkpoint(folder: Path) -> None:
    """Remove it once the result it served is published."""
    shutil.rmtree(folder, ignore_errors=True)
