"""The stages `train` and `export`: one method, one seed, from features to a published model and embeddings."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from relalign import tracking
from relalign.errors import RelalignError
from relalign.features.batches import SplitData
from relalign.features.encoders.low_rank import merge_low_rank, with_low_rank
from relalign.features.encoders.trained import TrainedEncoder
from relalign.layout import Layout
from relalign.methods import trained_method
from relalign.methods.cca import fit_cca, start_from_cca
from relalign.methods.method import TrainedMethod
from relalign.methods.model_files import build_method, load_model, save_model
from relalign.methods.zero_shot import ZeroShotEmbedder
from relalign.model.fusion import FusionShape
from relalign.model.fusion_start import start_fusion
from relalign.retrieval.embeddings import Embeddings, embed, write_embeddings
from relalign.retrieval.finished import finished
from relalign.retrieval.index import write_index
from relalign.settings import Params
from relalign.settings.methods.cca import Cca
from relalign.settings.params import NO_LAYERS
from relalign.system.artifacts import publish, read_manifest
from relalign.training.history import Row, write_history
from relalign.training.loop import fit
from relalign.training.process import choose_device, prepare_process
from relalign.training.processes import in_processes
from relalign.training.published import published_training
from relalign.training.relations import Relations
from relalign.training.split_data import (
    fusion_start,
    load_split,
    model_inputs,
    open_stores,
    trained_encoders,
    widths_of,
)
from relalign.training.teachers import teacher_folders, with_strong, with_teachers
from relalign.training.validation import validation_metrics


def train(params: Params, layout: Layout, *, method: str, seed: int) -> None:
    """Train (or, for CCA, fit) and publish `model/`."""
    trains = trained_method(params.settings_of(method).algorithm) is not None
    number = params.training.processes if trains else 1
    in_processes(number, params.training.device, _train, params, layout, method, seed)


def _train(params: Params, layout: Layout, method: str, seed: int) -> None:
    asked = params.settings_of(method)
    settings, strong = with_strong(params, layout, asked)
    prepare_process(params)
    run = layout.run(method, seed)
    parameters = {
        "method": asked.model_dump(mode="json"),
        "backbone": params.backbone.model_dump(mode="json"),
        "training": params.training.model_dump(mode="json"),
        "encoders": {
            side: params.encoder[name].model_dump(mode="json", include={"kind", "train_from", "views"})
            for side, name in params.encoders
        },
        "rotate_validation": params.datasets[params.dataset].rotate_validation,
        "seed": seed,
        **({"chosen": strong} if strong else {}),
    }
    teachers = {f"{side}_teacher": folder for side, folder in teacher_folders(params, layout, asked).items()}
    inputs = model_inputs(params, layout) | teachers
    checkpoint = run.with_name(f".{run.name}.checkpoint")
    with published_training(
        params,
        layout,
        run / "model",
        made_by="relalign train",
        run=tracking.run_identity(params.dataset, method, seed),
        parameters=parameters,
        inputs=inputs,
        checkpoint=checkpoint,
        files=("model.safetensors", "config.json", "history.csv"),
    ) as (draft, key, tracked):
        write_history(draft, _fit(params, layout, settings, seed, checkpoint, key, draft, tracked))


def _fit(
    params: Params,
    layout: Layout,
    settings: Any,
    seed: int,
    checkpoint: Path,
    key: str,
    draft: Path,
    tracked: tracking.Run,
) -> list[Row]:
    trains = trained_method(settings.algorithm) is not None
    device = choose_device(params.training.device) if trains else torch.device("cpu")
    encoders: Mapping[str, TrainedEncoder] = {}
    stores = open_stores(params, layout)
    data = with_teachers(load_split(params, layout, "train", device=device, seed=seed), params, layout, settings)
    validation = load_split(params, layout, "val", device=device, seed=seed)
    rotated = seed if params.datasets[params.dataset].rotate_validation else None
    relations = Relations.of(layout, "val", validation, rotated_by=rotated)
    fusion = None
    if not trains:
        widths = widths_of(*stores, encoders)
        fits = isinstance(settings, Cca)
        embedder = fit_cca(data, settings, widths=widths) if fits else ZeroShotEmbedder(widths)
        module: torch.nn.Module = embedder
        history: list[Row] = [{"epoch": 0, **validation_metrics(embedder, validation, relations)}]
        tracked.log_epoch(history[0], step=0)
    else:
        trained, encoders, fusion = starting_method(params, layout, settings, data, seed=seed)
        module = trained
        progress = fit(
            trained,
            data,
            lambda: validation_metrics(trained.backbone, validation, relations),
            params.training,
            seed=seed,
            checkpoint=checkpoint,
            key=key,
            on_epoch=lambda row: tracked.log_epoch(row, step=int(row["epoch"])),
        )
        history = progress.history
        for encoder in encoders.values():
            merge_low_rank(encoder)
    save_model(
        draft,
        module,
        settings=settings,
        backbone=params.backbone,
        widths=widths_of(*stores, encoders),
        encoders=encoders,
        fusion=fusion,
    )
    return history


def starting_method(
    params: Params, layout: Layout, settings: Any, data: SplitData, *, seed: int
) -> tuple[TrainedMethod, Mapping[str, TrainedEncoder], FusionShape | None]:
    """A method as its training starts: pretrained encoders, towers at CCA, fusion at the text encoder if asked
    for; on the device of `data`, the training split. Beside it what `save_model` wants to know."""
    encoders = trained_encoders(params, layout)
    if params.training.lora_rank and not encoders:  # a study sets cuts, which no file's check has seen
        raise RelalignError(f"{NO_LAYERS}.")
    widths = widths_of(*open_stores(params, layout), encoders)
    fusion, layers = fusion_start(params, layout)
    trained = build_method(settings, params.backbone, widths, seed=seed, encoders=encoders, fusion=fusion)
    if params.training.lora_rank:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for encoder in encoders.values():
                with_low_rank(encoder, params.training.lora_rank)
    if fusion is not None:
        start_fusion(trained.backbone, layers)
    trained.to(data.image_ids.device)
    start_from_cca(trained.backbone, data, params.backbone)
    return trained, encoders, fusion


def export(params: Params, layout: Layout, *, method: str, seed: int) -> None:
    """Embed the test split and publish `embeddings/` with one FAISS index a modality."""
    prepare_process(params)
    run = layout.run(method, seed)
    inputs = model_inputs(params, layout)
    check_model(params, layout, inputs, method=method, seed=seed)
    device = torch.device("cpu")
    data, model = load_split(params, layout, "test", device=device), load_model(run / "model", device=device)
    embeddings = embed_split(model, data, rows_at_once=params.export.batch_size)
    inputs = {"model": run / "model", **inputs}
    with publish(run / "embeddings", made_by="relalign export", inputs=inputs) as draft:
        write_embeddings(draft, embeddings)
        write_index(draft / "image.faiss", embeddings.image, embeddings.image_ids)
        write_index(draft / "text.faiss", embeddings.text, embeddings.text_ids)


def check_model(params: Params, layout: Layout, inputs: Mapping[str, Path], *, method: str, seed: int) -> None:
    """Raise `RelalignError` if a run's model is of another method or seed, or was made from other `inputs`."""
    folder = layout.run(method, seed) / "model"
    made = read_manifest(folder, made_from=inputs)["parameters"]
    if (made["method"], made["seed"]) != (params.settings_of(method).model_dump(mode="json"), seed):
        raise RelalignError(
            f"{folder} is a model of other settings or of another seed. Delete {folder} and run the pipeline "
            "again."
        )


def embed_split(embedder: Any, data: SplitData, *, rows_at_once: int) -> Embeddings:
    """A split's embeddings with their ids, captions in the order of their ids."""
    image, text = embed(embedder, finished(embedder, data), rows_at_once=rows_at_once)
    caption_ids = data.caption_ids.numpy(force=True)
    image_ids = data.image_ids.numpy(force=True)
    order = np.argsort(caption_ids)
    image_of_caption = data.image_of_caption.numpy(force=True)
    return Embeddings(image, text[order], image_ids, caption_ids[order], image_ids[image_of_caption][order])
