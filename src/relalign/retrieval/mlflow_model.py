"""What MLflow calls to load a logged model and to turn rows of texts and images into vectors.

A logged model is a whole exported folder, or a reference to one run's model and to the encoders that all runs of a
project share: a small file with their places and hashes, so that a model a run costs next to nothing. A reference
works on the machine that trained, and until the run is trained again; loading says so when it does not.
"""

import base64
import binascii
import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, UnidentifiedImageError

from relalign.data.images import FORMATS
from relalign.errors import RelalignError
from relalign.layout import Layout
from relalign.retrieval.exported import Exported, exported_as, load_exported, load_parts
from relalign.retrieval.given import Given
from relalign.retrieval.retrieval_model import RetrievalModel, Vectors
from relalign.settings import Params
from relalign.settings.section import Section
from relalign.system.artifacts import MANIFEST, digest

REFERENCE = "reference.json"


class Reference(Section):
    """The `reference.json` of a logged model: what it is, where its parts lie, the hashes of their manifests."""

    exported: Exported
    """As in an exported folder."""
    places: dict[str, str]
    """Of "model", "image" and "text"."""
    digests: dict[str, str]
    """The same keys."""


def write_reference(folder: Path, params: Params, layout: Layout, *, method: str, seed: int) -> None:
    """Write a reference to a trained run; `RelalignError` if it is not trained with what is there now."""
    exported = exported_as(params, layout, method=method, seed=seed)
    places = {"model": layout.run(method, seed) / "model"}
    places |= {side: layout.encoder(name) for side, name in params.encoders}
    reference = Reference(
        exported=exported,
        places={part: str(place.resolve()) for part, place in places.items()},
        digests={part: digest(place) for part, place in places.items()},
    )
    (folder / REFERENCE).write_text(reference.model_dump_json(indent=2) + "\n", encoding="utf-8")


def _load_pyfunc(path: str) -> "VectorModel":
    """The name and the argument are MLflow's."""
    folder = Path(path)
    if not (folder / REFERENCE).is_file():
        return VectorModel(load_exported(folder))
    reference = Reference.model_validate_json((folder / REFERENCE).read_text(encoding="utf-8"))
    places = {part: Path(place) for part, place in reference.places.items()}
    for part, place in places.items():
        if not (place / MANIFEST).is_file():
            raise RelalignError(
                f"{place} does not exist here. Only the best model is logged whole (`@champion`); this one is a "
                "reference, which works on the machine that trained it."
            )
        if digest(place) != reference.digests[part]:
            raise RelalignError(f"{place} was made again since this model was logged. Take the newest run of it.")
    return VectorModel(load_parts(reference.exported, places))


class VectorModel:
    """A model with the one method that MLflow calls."""

    def __init__(self, model: RetrievalModel) -> None:
        self.model = model

    def predict(self, rows: pd.DataFrame, params: dict[str, Any] | None = None) -> Vectors:
        """The unit-norm vector of each row: of its `text`, or of its `image` (base64, a data URI, or a path)."""
        given = {name: rows[name] if name in rows else pd.Series([None] * len(rows)) for name in ("text", "image")}
        is_text, is_image = (given[name].notna().to_numpy() for name in ("text", "image"))
        if wrong := np.flatnonzero(is_text == is_image).tolist():
            raise RelalignError(f"Row {wrong[0]} must have either a text or an image.")
        order, parts = [], []
        if is_text.any():
            order.append(np.flatnonzero(is_text))
            parts.append(self.model.encode_texts(given["text"][is_text].tolist()))
        if is_image.any():
            order.append(np.flatnonzero(is_image))
            parts.append(
                self.model.encode_images([_image(given["image"].iloc[row], row) for row in order[-1].tolist()])
            )
        if not parts:
            raise RelalignError("There are no rows: a table with `text` or `image` is wanted.")
        vectors: Vectors = np.concatenate(parts)[np.concatenate(order).argsort()]
        return vectors


def _image(text: str, row: int) -> Given:
    """A path has a dot, which base64 has not."""
    is_uri = text.startswith("data:")
    if "." in text and not is_uri:
        return Path(text)
    try:
        content = base64.b64decode(text.partition(",")[2] if is_uri else text, validate=True)
        return Image.open(io.BytesIO(content), formats=FORMATS)
    except (binascii.Error, UnidentifiedImageError, Image.DecompressionBombError):
        raise RelalignError(f"The image of row {row} is neither a file's path nor an image in base64.") from None
