"""A few test queries with what each method finds for them: chosen by position (`relalign.report.failures`: by
loss)."""

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from relalign.layout import Layout
from relalign.retrieval.embeddings import Embeddings, load_embeddings
from relalign.settings import Params

TOP = 5
PIXELS = 112  # shown at up to 64 CSS pixels, so that a phone's or a printer's resolution has something to show


@dataclass(frozen=True)
class Found:
    """One result: a caption or an image (as a data URI), and whether it is a right answer (None: no telling)."""

    caption: str
    image: str
    right: bool | None


@dataclass(frozen=True)
class Example:
    """One query and the first results of each method; `note` says of a method what its results do not."""

    caption: str
    image: str
    answers: Mapping[str, list[Found]]
    note: Mapping[str, str] = field(default_factory=dict)

    @property
    def of_texts(self) -> bool:
        """Whether the answers are captions rather than images."""
        return not any(found.image for answers in self.answers.values() for found in answers)


def thumbnail(path: Path) -> str:
    """A small JPEG of the image as a data URI."""
    with Image.open(path) as opened:
        picture = opened.convert("RGB")
    picture.thumbnail((PIXELS, PIXELS), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=80, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()


def evenly(count: int, total: int) -> list[int]:
    """`count` places spread over `total`: `evenly(2, 8)` -> `[2, 6]`."""
    count = min(count, total)
    return [(2 * place + 1) * total // (2 * count) for place in range(count)]


def read_examples(params: Params, layout: Layout, count: int) -> dict[str, list[Example]]:
    """`count` queries of each kind over the test split, answered by every method's first seed."""
    if count == 0:
        return {}
    shelf, models = read_shelf(layout), read_models(params, layout)
    first = models[params.methods[0]]
    texts, images = evenly(count, len(first.text_ids)), evenly(count, len(first.image_ids))
    return {
        "text → image": [shelf.text_to_image(models, row) for row in texts],
        "image → text": [shelf.image_to_text(models, row) for row in images],
        "image → image": [shelf.image_to_image(models, row) for row in images],
    }


def read_shelf(layout: Layout) -> "Shelf":
    """Captions and pictures of the test split."""
    pairs = pd.read_parquet(layout.pairs / "pairs.parquet").query("split == 'test'").sort_values("caption_id")
    paths = pairs.drop_duplicates("image_id").set_index("image_id")["image_path"].to_dict()
    return Shelf(
        captions=pairs.set_index("caption_id")["caption"].to_dict(),
        image_of=pairs.set_index("caption_id")["image_id"].to_dict(),
        pictures={},
        paths={image: layout.root / path for image, path in paths.items()},
    )


def read_models(params: Params, layout: Layout) -> dict[str, Embeddings]:
    """The embeddings of every method's first seed."""
    return {name: load_embeddings(layout.run(name, params.seeds[0]) / "embeddings") for name in params.methods}


def best(scores: NDArray[np.float32], *, leave_out: int | None = None) -> list[int]:
    """Rows of the highest scores, ties by row; `leave_out` is the query's own row."""
    order = np.argsort(-scores, kind="stable")
    return [int(row) for row in order[: TOP + 1] if row != leave_out][:TOP]


@dataclass(frozen=True)
class Shelf:
    """Captions and small pictures by id, and the answers that methods give from them."""

    captions: Mapping[Any, str]
    image_of: Mapping[Any, int]
    paths: Mapping[Any, Path]
    pictures: dict[int, str]

    def picture(self, image: int) -> str:
        """The image as a data URI."""
        if image not in self.pictures:
            self.pictures[image] = thumbnail(self.paths[image])
        return self.pictures[image]

    def caption_of(self, image: int) -> str:
        """Its first caption."""
        return next(self.captions[caption] for caption, owner in self.image_of.items() if owner == image)

    def text_to_image(self, models: Mapping[str, Embeddings], row: int) -> Example:
        """A caption row asks for images."""
        query = int(next(iter(models.values())).text_ids[row])
        answers = {}
        for name, model in models.items():
            images = [int(model.image_ids[place]) for place in best(model.image @ model.text[row])]
            answers[name] = [
                Found(self.caption_of(image), self.picture(image), image == self.image_of[query])
                for image in images
            ]
        return Example(self.captions[query], "", answers)

    def image_to_text(self, models: Mapping[str, Embeddings], row: int) -> Example:
        """An image row asks for captions."""
        query = int(next(iter(models.values())).image_ids[row])
        answers = {}
        for name, model in models.items():
            texts = [int(model.text_ids[place]) for place in best(model.text @ model.image[row])]
            answers[name] = [Found(self.captions[text], "", self.image_of[text] == query) for text in texts]
        return Example(self.caption_of(query), self.picture(query), answers)

    def image_to_image(self, models: Mapping[str, Embeddings], row: int) -> Example:
        """An image row asks for other images."""
        query = int(next(iter(models.values())).image_ids[row])
        answers = {}
        for name, model in models.items():
            places = best(model.image @ model.image[row], leave_out=row)
            images = [int(model.image_ids[place]) for place in places]
            answers[name] = [Found(self.caption_of(image), self.picture(image), None) for image in images]
        return Example(self.caption_of(query), self.picture(query), answers)
