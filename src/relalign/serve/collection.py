"""What is searched: the images and captions of the test split, and which of them belong together."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from relalign.data.pairs import read_pairs
from relalign.errors import RelalignError
from relalign.layout import Layout


class UnknownItemError(RelalignError):
    """An id that the test split does not have."""


@dataclass(frozen=True)
class Collection:
    """The test split of a dataset, by the ids of the pairs table; paths are relative to the project's folder."""

    root: Path
    dataset: str
    paths: dict[int, str]
    captions: dict[int, str]
    image_of: dict[int, int]
    captions_of: dict[int, list[int]]

    @classmethod
    def of_project(cls, layout: Layout) -> "Collection":
        """Read the pairs table; without one, or without a test split, `RelalignError`."""
        pairs = read_pairs(layout, "test").sort_values("caption_id")
        return cls(
            layout.root,
            layout.dataset,
            paths=dict(zip(pairs["image_id"].tolist(), pairs["image_path"].tolist(), strict=True)),
            captions=dict(zip(pairs["caption_id"].tolist(), pairs["caption"].tolist(), strict=True)),
            image_of=dict(zip(pairs["caption_id"].tolist(), pairs["image_id"].tolist(), strict=True)),
            captions_of=_grouped(pairs),
        )

    def file(self, image_id: int) -> Path:
        """The file of an image; another id than the split's is an `UnknownItemError`."""
        self.check(image_id=image_id)
        return self.root / self.paths[image_id]

    def check(self, *, image_id: int | None = None, caption_id: int | None = None) -> None:
        """Raise `UnknownItemError` for an id that the split does not have."""
        for what, given, known in (("image", image_id, self.paths), ("caption", caption_id, self.captions)):
            if given is not None and given not in known:
                raise UnknownItemError(f"The test split of {self.dataset} has no {what} with id {given}.")


def _grouped(pairs: pd.DataFrame) -> dict[int, list[int]]:
    groups: dict[int, list[int]] = {}
    for image, caption in zip(pairs["image_id"].tolist(), pairs["caption_id"].tolist(), strict=True):
        groups.setdefault(image, []).append(caption)
    return groups
