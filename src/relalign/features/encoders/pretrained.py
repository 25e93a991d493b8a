"""Any `transformers` model from a folder: nothing downloaded, no pickle, no remote code, no random layer."""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from relalign.errors import RelalignError


def load_pretrained(folder: Path, device: torch.device) -> Any:
    """The model of a folder in float32, evaluation mode.

    Raises `RelalignError` if the folder holds no usable checkpoint, or one that lacks weights: those would be
    random. A missing `pooler` alone is accepted, as it is never used.
    """
    from transformers import AutoModel

    try:
        model, report = AutoModel.from_pretrained(
            folder,
            dtype=torch.float32,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise RelalignError(f"{folder} is not a transformers model with safetensors weights: {error}") from error
    missing = sorted(name for name in report["missing_keys"] if "pooler" not in name.split("."))
    if missing:
        raise RelalignError(
            f"{folder}: the checkpoint lacks {len(missing)} weights of its model ({', '.join(missing[:3])}, ...), "
            "which would be random. Choose a checkpoint of the whole encoder."
        )
    return model.eval().to(device)
