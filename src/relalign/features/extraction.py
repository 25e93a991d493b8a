"""The features stage: an encoder up to its cut over all images or captions, computed once and where needed."""

import hashlib
import logging
import shutil
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from filelock import FileLock
from tqdm import tqdm

from relalign.errors import RelalignError
from relalign.features.draft import FeatureDraft, open_draft
from relalign.features.encoders import load_image_encoder, load_text_encoder
from relalign.features.inputs import CaptionInputs, ImageInputs, Inputs
from relalign.settings.corruption import Corruption
from relalign.settings.dataset import Validate
from relalign.settings.encoder import Encoder, Features
from relalign.system.artifacts import canonical_json, publish, read_manifest
from relalign.system.disk import full_disk_explained
from relalign.system.memory import keep_freed_memory
from relalign.system.ordered_pool import map_on_cores
from relalign.system.source_hash import source_hash

log = logging.getLogger(__name__)

_PACKAGE = Path(__file__).parents[1]
_CODE = (
    "data/images.py",
    "features/inputs.py",
    "features/views.py",
    "features/encoders/base.py",
    "features/encoders/part.py",
    "features/encoders/pretrained.py",
)
_CODE_OF = {
    "efficientnet_lite0": ("features/encoders/efficientnet_lite.py",),
    "transformers": (
        "features/encoders/transformers_part.py",
        "features/encoders/transformers_{modality}.py",
    ),
}
_COMMIT_SECONDS = 5.0


def extract_features(
    encoder: Encoder,
    encoder_folder: Path,
    pairs_folder: Path,
    destination: Path,
    settings: Features,
    *,
    root: Path,
    max_pixels: int = Validate().max_pixels,
    corruption: Corruption | None = None,
) -> None:
    """Publish the features of every image (image encoder) or caption (text encoder) of a pairs table.

    `destination` becomes a `relalign.features.store` store. The work goes on in a hidden sibling of it, so a
    killed run continues where it was and ends in the same bytes. Rows of the previous store are taken over if the
    same encoder (weights, preprocessing, tokenizer, settings, code, versions) has made them from the same bytes;
    any other row is computed.

    Args:
        encoder: what `encoder_folder` (made by `download_encoder`) holds.
        encoder_folder: weights, configuration and tokenizer; altered files are refused.
        pairs_folder: the folder of `pairs.parquet`, whose image paths count from `root`.
        destination: the store, `data/features/<dataset>/<encoder>`.
        settings: device, batch size and number of cores.
        root: the project folder.
        max_pixels: images with more pixels are refused, as validation does.
        corruption: applied to the images (upright RGB, before the encoder's own resize) or captions of all
            splits, and recorded in the manifest; without effect if it is of the other modality. `swap` draws from
            the words of the training captions.

    Raises:
        RelalignError: altered or missing inputs, an unreadable image, a full disk.
    """
    keep_freed_memory()
    device = _device(settings)
    if corruption is not None and corruption.modality != encoder.modality:
        corruption = None
    identity = _encoder_identity(encoder, encoder_folder, device, corruption)
    inputs = _inputs(encoder, encoder_folder, pairs_folder, settings, device, root, max_pixels, corruption)
    key = {"encoder": _sha256(identity), "rows": _rows_key(inputs)}
    destination.parent.mkdir(parents=True, exist_ok=True)
    work = destination.with_name(f".{destination.name}.work")
    with FileLock(f"{work}.lock"), full_disk_explained(destination):
        draft = _prepared_draft(work, key, inputs)
        cores = settings.workers or torch.get_num_threads()
        _fill(draft, inputs, cores=cores, name=destination.name)
        parameters = {"encoder": identity, "key": key}
        origin = {"encoder": encoder_folder, "pairs": pairs_folder}
        with publish(destination, made_by="features", parameters=parameters, inputs=origin) as store:
            draft.link_into(store)
        draft.seal(destination)


def _fill(draft: FeatureDraft, inputs: Inputs, *, cores: int, name: str) -> None:
    """Compute what the draft lacks, committing every few seconds."""
    todo = draft.todo
    committed = time.monotonic()
    bar = tqdm(total=len(draft.done), initial=len(draft.done) - len(todo), desc=name, unit="row", mininterval=2)
    with bar as progress:
        for encoded in map_on_cores(lambda batch: inputs.encode(*batch), inputs.batches(todo), cores=cores):
            draft.put(encoded)
            progress.update(len(encoded.rows))
            if time.monotonic() - committed > _COMMIT_SECONDS:
                draft.commit()
                committed = time.monotonic()
    draft.commit()


def _prepared_draft(work: Path, key: dict[str, str], inputs: Inputs) -> FeatureDraft:
    """The draft to go on with: the one on disk if it has this key, or a new one with what can be taken over."""
    donor_folder = work.with_name(f"{work.name}.previous")
    draft = open_draft(work)
    if draft is not None and draft.key != key:
        shutil.rmtree(donor_folder, ignore_errors=True)
        work.rename(donor_folder)
        draft = None
    if draft is None:
        draft = FeatureDraft.create(work, key, inputs, inputs.shape())
    donor = open_draft(donor_folder)
    if donor is not None and donor.key["encoder"] == key["encoder"]:
        log.info("%d of %d rows are taken over from the previous store", draft.take_from(donor), len(draft.done))
    shutil.rmtree(donor_folder, ignore_errors=True)
    return draft


def _inputs(
    encoder: Encoder,
    folder: Path,
    pairs_folder: Path,
    settings: Features,
    device: torch.device,
    root: Path,
    max_pixels: int,
    corruption: Corruption | None,
) -> Inputs:
    read_manifest(pairs_folder, verify=True)
    pairs = pd.read_parquet(pairs_folder / "pairs.parquet")
    if pairs.empty:
        raise RelalignError(f"{pairs_folder / 'pairs.parquet'} has no rows: there is nothing to encode.")
    if encoder.modality == "text":
        text_encoder = load_text_encoder(encoder, folder, device)
        return CaptionInputs(pairs, text_encoder, batch_size=settings.batch_size, corruption=corruption)
    return ImageInputs(
        pairs,
        load_image_encoder(encoder, folder, device),
        root=root,
        batch_size=settings.batch_size,
        max_pixels=max_pixels,
        views=encoder.views,
        corruption=corruption,
    )


def _encoder_identity(
    encoder: Encoder, folder: Path, device: torch.device, corruption: Corruption | None
) -> dict[str, Any]:
    """Everything but the input that a row of features depends on."""
    files = read_manifest(folder, verify=True)["outputs"]
    settings = encoder.model_dump(include={"kind", "modality", "max_tokens", "prefix"})
    if encoder.modality == "image":
        settings = encoder.model_dump(include={"kind", "modality", "image_size"})
    # Only where they differ from the default, so that features which are the same stay those they were.
    settings |= encoder.model_dump(include={"train_from", "views"}, exclude_defaults=True)
    identity = {
        "settings": settings,
        "files": {name: file["sha256"] for name, file in files.items() if name != "licence.json"},
        "code": _code_hash(encoder),
        "dtype": "float16",
        "device": device.type,
        "packages": {name: version(name) for name in ("torch", "transformers", "tokenizers", "pillow")},
    }
    if corruption is not None:  # only then, so that what corrupts may change without touching clean features
        code = source_hash([_PACKAGE / "data/corruption.py"])
        identity["corruption"] = {**corruption.model_dump(), "code": code, "numpy": version("numpy")}
    return identity


def _code_hash(encoder: Encoder) -> str:
    own = (name.format(modality=encoder.modality) for name in _CODE_OF[encoder.kind])
    return source_hash(_PACKAGE / name for name in (*_CODE, *own))


def _rows_key(inputs: Inputs) -> str:
    return hashlib.sha256(np.ascontiguousarray(inputs.ids).tobytes() + inputs.hashes.tobytes()).hexdigest()


def _sha256(value: Any) -> str:
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def _device(settings: Features) -> torch.device:
    if settings.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise RelalignError("params.yaml: features.device is 'cuda', but this machine has no CUDA device.")
    return torch.device(settings.device)
