"""Trained teachers as a method reads them: vectors in place of the frozen encoders', and which is the better."""

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from relalign.errors import RelalignError
from relalign.features.batches import SplitData
from relalign.features.store import FeatureStore
from relalign.features.table import Features
from relalign.layout import Layout
from relalign.settings import Params
from relalign.settings.methods import taught_by
from relalign.system.artifacts import read_manifest
from relalign.training.split_data import open_store

RECORD = "teacher.json"

logger = logging.getLogger(__name__)


def teacher_folders(params: Params, layout: Layout, settings: Any) -> dict[str, Path]:
    """Where the trained teachers lie that a method asks for, by modality; a missing one is an error."""
    folders = {side: layout.teacher(getattr(params.encoders, side)) for side in taught_by(settings)}
    for folder in folders.values():
        if not folder.is_dir():
            raise RelalignError(
                f"{folder} does not exist: the method asks for a trained teacher. Name '{folder.name}' in "
                "teacher.encoders and run the pipeline."
            )
    return folders


def with_teachers(data: SplitData, params: Params, layout: Layout, settings: Any) -> SplitData:
    """The split with the vectors of the trained teachers that the method asks for as `pooled`."""
    for side, folder in teacher_folders(params, layout, settings).items():
        features: Any = _with_vectors(getattr(data, side), folder, open_store(params, layout, side))
        data = replace(data, **{side: features})
    return data


def _with_vectors(features: Features, folder: Path, store: FeatureStore) -> Features:
    read_manifest(folder, verify=True)
    ids = np.load(folder / "ids.npy", allow_pickle=False)
    vectors = np.load(folder / "vectors.npy", mmap_mode="c", allow_pickle=False)
    if not np.array_equal(ids, store.ids) or len(vectors) != len(store.tokens):
        odd = np.setxor1d(ids, store.ids)[:5].tolist()
        raise RelalignError(
            f"{folder}: its ids.npy and vectors.npy do not have the rows of {store.folder} "
            f"({f'ids {odd} are in one of them only' if odd else 'their number or order differs'}). "
            f"Delete {folder} and run the pipeline again."
        )
    mapped = (*features.table.mapped, vectors)
    table = replace(features.table, pooled=torch.from_numpy(vectors), mapped=mapped)
    return replace(features, table=table)


def with_strong(params: Params, layout: Layout, settings: Any) -> tuple[Any, dict[str, Any]]:
    """A method's settings with the strong modality in place of `strong: auto`, and why it is that one.

    It is the one whose teacher has the higher nDCG@10 within its own modality on the validation split; of equal
    ones text, which the released code of CoVLR takes.
    """
    if getattr(settings, "strong", None) != "auto":
        return settings, {}
    found = {side: _score(folder) for side, folder in teacher_folders(params, layout, settings).items()}
    strong = "image" if found["image"] > found["text"] else "text"
    said = "strong: auto takes %s; nDCG@10 of the teachers on validation: image %.2f, text %.2f"
    logger.info(said, strong, found["image"], found["text"])
    return settings.model_copy(update={"strong": strong}), {"strong": strong, "teacher_ndcg": found}


def _score(folder: Path) -> float:
    read_manifest(folder, verify=True)
    return float(json.loads((folder / RECORD).read_text(encoding="utf-8"))["trained"])
