"""The stage `teacher`: one encoder of one modality, trained on the training split and published with its vectors.

`data/teachers/<dataset>/<encoder>/` holds

| file | holds |
| --- | --- |
| `vectors.npy` | (rows, width) float32, for each row of the feature store, views too; NaN for the test split |
| `ids.npy` | the ids of the feature store, which prove that the rows are its rows |
| `teacher.json` | modality, metric and its values on validation, `frozen` (at the start) and `trained` |
| `model.safetensors`, `history.csv` | the weights, and a row an epoch |

Every seed shares it. With `rotate_validation` it is trained on the split as the pairs table has it: images that
another seed validates on may be among its images, without their captions, those of the test split never.
"""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from relalign import tracking
from relalign.data.pairs import read_pairs
from relalign.errors import RelalignError
from relalign.features.batches import SplitData
from relalign.features.encoders.trained import load_trained
from relalign.features.store import FeatureStore
from relalign.features.table import Features
from relalign.layout import Layout
from relalign.retrieval.relevance_files import relevance_of_split
from relalign.settings import Params
from relalign.settings.training import Training
from relalign.system.artifacts import pretty_json
from relalign.system.disk import allocate
from relalign.teachers.single_modal import SingleModalTeacher
from relalign.training.history import Row, write_history
from relalign.training.loop import fit
from relalign.training.process import choose_device, prepare_process
from relalign.training.processes import in_processes
from relalign.training.published import published_training
from relalign.training.relations import METRICS, single_modal_ndcg
from relalign.training.split_data import features_from, open_store
from relalign.training.teachers import RECORD

ROWS_AT_ONCE = 128

logger = logging.getLogger(__name__)


def train_teacher(params: Params, layout: Layout, *, encoder: str) -> None:
    """Train and publish the teacher of one entry of `encoder`."""
    in_processes(params.training.processes, params.training.device, _train_and_publish, params, layout, encoder)


def _train_and_publish(params: Params, layout: Layout, encoder: str) -> None:
    prepare_process(params)
    side = params.encoder[encoder].modality
    if getattr(params.encoders, side) != encoder:
        raise RelalignError(f"--encoder: '{encoder}' is not what encoders.{side} of params.yaml names.")
    folder, settings = layout.teacher(encoder), params.teacher
    inputs = {"pairs": layout.pairs, "features": layout.features(encoder)}
    if params.encoder[encoder].train_from is not None:
        inputs["encoder"] = layout.encoder(encoder)
    parameters = {
        "method": settings.model_dump(mode="json", exclude={"encoders"}) | {"algorithm": "teacher"},
        "training": params.training.model_dump(mode="json"),
        "encoder": params.encoder[encoder].model_dump(mode="json", include={"kind", "train_from", "views"}),
        "seed": settings.seed,
    }
    checkpoint = folder.with_name(f".{encoder}.checkpoint")
    with published_training(
        params,
        layout,
        folder,
        made_by="relalign teacher",
        run=tracking.run_identity(params.dataset, f"teacher-{side}", settings.seed),
        parameters=parameters,
        inputs=inputs,
        checkpoint=checkpoint,
        files=("model.safetensors", "history.csv", RECORD),
    ) as (draft, key, tracked):
        _train(params, layout, encoder, draft, checkpoint, key, tracked)


def _train(
    params: Params, layout: Layout, encoder: str, draft: Path, checkpoint: Path, key: str, tracked: tracking.Run
) -> None:
    side, settings = params.encoder[encoder].modality, params.teacher
    device = choose_device(params.training.device)
    store = open_store(params, layout, side)
    teacher = starting_teacher(params, layout, encoder, width=store.pooled_width).to(device)
    metric, ids = f"val/{METRICS[side]}", _ids(layout, side, "train")
    progress = fit(
        teacher,
        _paired_with_itself(features_from(store, ids, device), ids),
        _validation(layout, side, teacher, store, device),
        _budget(params),
        seed=settings.seed,
        checkpoint=checkpoint,
        key=key,
        score=metric,
        on_epoch=lambda row: tracked.log_epoch(row, step=int(row["epoch"])),
    )
    frozen, trained = float(progress.history[0][metric]), progress.best_score
    logger.info("%s: %s on validation %.2f frozen, %.2f trained", encoder, METRICS[side], frozen, trained)
    record = {"modality": side, "metric": METRICS[side], "frozen": frozen, "trained": trained}
    (draft / RECORD).write_text(pretty_json(record), encoding="utf-8")
    write_history(draft, progress.history)
    weights = {name: value.detach().cpu().contiguous() for name, value in teacher.state_dict().items()}
    save_file(weights, draft / "model.safetensors")
    _write_vectors(draft, teacher, layout, side, store, device)


def starting_teacher(params: Params, layout: Layout, encoder: str, *, width: int) -> SingleModalTeacher:
    """A teacher as its training starts; equal seeds give equal weights, and the global generator is left alone."""
    settings, folder = params.encoder[encoder], layout.encoder(encoder)
    above = None
    if settings.train_from is not None:
        above = load_trained(settings, folder, rows_at_once=params.training.encode_rows)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(params.teacher.seed)
        return SingleModalTeacher(settings.modality, params.teacher, width=width, encoder=above)


def _budget(params: Params) -> Training:
    """The section `training` with what `teacher` says in its place; captions are not mixed."""
    own = params.teacher.model_dump(include={"epochs", "batch_size", "learning_rate"})
    return params.training.model_copy(update={**own, "fresh_learning_rate": None, "caption_mixing": 0.0})


def _ids(layout: Layout, side: str, split: str) -> Int64[NDArray[np.int64], " row"]:
    return np.unique(read_pairs(layout, split)[f"{'image' if side == 'image' else 'caption'}_id"].to_numpy())


def _paired_with_itself(features: Features, ids: Int64[NDArray[np.int64], " row"]) -> SplitData:
    """A split of one modality as the loop reads it: each row stands on both sides of its pair."""
    return SplitData.build(ids, ids, ids, features, features)


def _validation(
    layout: Layout, side: str, teacher: SingleModalTeacher, store: FeatureStore, device: torch.device
) -> Callable[[], Row]:
    relevance = relevance_of_split(layout, "val")
    pairs = read_pairs(layout, "val").sort_values("caption_id")
    image_of_caption = np.searchsorted(relevance.image_ids, pairs["image_id"].to_numpy())
    features = features_from(store, _ids(layout, side, "val"), device)

    def measure() -> Row:
        vectors = _vectors(teacher, features)
        return {f"val/{METRICS[side]}": single_modal_ndcg(side, vectors, relevance, image_of_caption)}

    return measure


@torch.inference_mode()
def _vectors(teacher: SingleModalTeacher, features: Features) -> Float[Tensor, "row width"]:
    teacher.eval()
    places = torch.arange(len(features), device=features.rows.device).split(ROWS_AT_ONCE)
    return torch.cat([teacher.vectors(features.take(chosen)).float().cpu() for chosen in places])


def _write_vectors(
    draft: Path, teacher: SingleModalTeacher, layout: Layout, side: str, store: FeatureStore, device: torch.device
) -> None:
    np.save(draft / "ids.npy", store.ids, allow_pickle=False)
    shape = (len(store.tokens), store.pooled_width)
    allocate(draft / "vectors.npy", np.float32, shape)
    out = np.load(draft / "vectors.npy", mmap_mode="r+", allow_pickle=False)
    out[:] = np.nan
    for split in ("train", "val"):
        features = features_from(store, _ids(layout, side, split), device)
        for view in range(store.views):
            seen = Features(features.table, features.rows + view)
            out[seen.rows.numpy(force=True)] = _vectors(teacher, seen).numpy()
    out.flush()
