"""Frozen features in memory, and batches of image-caption pairs in which no image appears twice."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class TokenTable:
    """Token features of every row of one modality, memory-mapped: rows are read only when they are fused."""

    tokens: Float[Tensor, "row token width"]
    lengths: Int[Tensor, " row"]

    def gather(
        self, rows: Int[Tensor, " batch"]
    ) -> tuple[Float[Tensor, "batch token width"], Bool[Tensor, "batch token"]]:
        """Float32 tokens of the given rows, cut to the longest of them, and the mask of real tokens."""
        lengths = self.lengths[rows]
        longest = max(int(lengths.max()), 1) if len(rows) else 1
        mask = torch.arange(longest, device=lengths.device) < lengths[:, None]
        return self.tokens[rows.to(self.tokens.device), :longest].to(lengths.device, torch.float32), mask


@dataclass(frozen=True)
class Features:
    """Frozen features of some rows of one modality.

    `summary` is what towers read, `pooled` the encoder's own vector, the single-modal teacher's; the tokens
    themselves stay in `table` until `tokens()` asks for them.
    """

    table: TokenTable
    rows: Int[Tensor, " batch"]
    pooled: Float[Tensor, "batch pooled_width"]
    summary: Float[Tensor, "batch summary_width"]

    def take(self, chosen: Int[Tensor, " chosen"]) -> "Features":
        """The features at the given positions (repeats allowed)."""
        return Features(self.table, self.rows[chosen], self.pooled[chosen], self.summary[chosen])

    def mixed_with(self, other: "Features", fraction: Float[Tensor, " batch"]) -> "Features":
        """Move each row's `summary` and `pooled` by `fraction` towards the other row; tokens stay its own."""
        return Features(
            self.table,
            self.rows,
            torch.lerp(self.pooled, other.pooled, fraction[:, None]),
            torch.lerp(self.summary, other.summary, fraction[:, None]),
        )

    def tokens(self) -> tuple[Float[Tensor, "batch token width"], Bool[Tensor, "batch token"]]:
        """Token features in float32 and the mask of real tokens."""
        return self.table.gather(self.rows)

    def __len__(self) -> int:
        return len(self.rows)


def features_of(
    tokens: Float[Tensor, "row token width"],
    lengths: Int[Tensor, " row"],
    pooled: Float[Tensor, "batch pooled_width"],
    summary: Float[Tensor, "batch summary_width"],
    rows: Int[Tensor, " batch"] | None = None,
) -> Features:
    """Some rows (by default all) of a modality's token arrays, with these rows' vectors, as `Features`."""
    chosen = torch.arange(len(lengths), device=lengths.device) if rows is None else rows
    return Features(TokenTable(tokens, lengths), chosen, pooled.float(), summary.float())


@dataclass(frozen=True)
class Batch:
    """Row i of each field belongs to the same pair; `other_text` is another caption of image i (if it has one).

    `text` may be moved towards `other_text`; `unmixed_text` is the same caption as it was. `further_texts` are
    still other captions of image i, for methods that ask for them; an image with fewer captions repeats them.
    """

    image_ids: Int[Tensor, " batch"]
    caption_ids: Int[Tensor, " batch"]
    image: Features
    text: Features
    other_text: Features
    unmixed_text: Features
    further_texts: tuple[Features, ...] = ()


@dataclass(frozen=True)
class SplitData:
    """One split: its images, its captions (grouped by image) and which caption belongs to which image.

    Captions of image position i are the caption positions `first_caption[i] .. first_caption[i + 1] - 1`.
    """

    image_ids: Int[Tensor, " image"]
    caption_ids: Int[Tensor, " caption"]
    image_of_caption: Int[Tensor, " caption"]
    first_caption: Int[Tensor, " image_plus_one"]
    image: Features
    text: Features

    @classmethod
    def build(
        cls,
        image_ids: NDArray[np.int64],
        caption_ids: NDArray[np.int64],
        caption_image_ids: NDArray[np.int64],
        image: Features,
        text: Features,
    ) -> "SplitData":
        """Group captions by image. `image` and `text` are in the order of `image_ids` and `caption_ids`."""
        position = np.searchsorted(image_ids, caption_image_ids)
        if not np.array_equal(image_ids[np.minimum(position, len(image_ids) - 1)], caption_image_ids):
            raise ValueError("a caption belongs to an image that is not among image_ids (which must be ascending)")
        order = np.argsort(position, kind="stable")
        counts = np.bincount(position, minlength=len(image_ids))
        device = image.pooled.device
        return cls(
            image_ids=torch.from_numpy(image_ids).to(device),
            caption_ids=torch.from_numpy(caption_ids[order]).to(device),
            image_of_caption=torch.from_numpy(position[order]).to(device),
            first_caption=torch.from_numpy(np.concatenate([[0], np.cumsum(counts)])).to(device),
            image=image,
            text=text.take(torch.from_numpy(order).to(device)),
        )

    def batch(
        self,
        images: Int[Tensor, " batch"],
        generator: torch.Generator,
        *,
        caption_mixing: float = 0.0,
        captions: int = 2,
    ) -> Batch:
        """Pair each image position with one of its captions at random, and with another one if there is one.

        A batch holds `captions` (from 2 on) of each image. The caption's vectors are moved towards the other one's
        by a random fraction up to `caption_mixing`.
        """
        device = images.device
        first = self.first_caption[images]
        count = self.first_caption[images + 1] - first
        draws = torch.rand(3, len(images), generator=generator).to(device)
        chosen = (draws[0] * count).long().clamp(max=count - 1)
        turn = (draws[1] * (count - 1)).long()
        others = [
            self.text.take(first + (chosen + 1 + (turn + place) % (count - 1).clamp(min=1)) % count)
            for place in range(captions - 1)
        ]
        text, other_text = self.text.take(first + chosen), others[0]
        return Batch(
            image_ids=self.image_ids[images],
            caption_ids=self.caption_ids[first + chosen],
            image=self.image.take(images),
            text=text.mixed_with(other_text, caption_mixing * draws[2]) if caption_mixing else text,
            other_text=other_text,
            unmixed_text=text,
            further_texts=tuple(others[1:]),
        )

    def epoch(
        self, batch_size: int, generator: torch.Generator, *, caption_mixing: float = 0.0, captions: int = 2
    ) -> Iterator[Batch]:
        """Every image once, in random order, in batches as near to `batch_size` as equal sizes allow.

        Equal, because a short last batch would have few negatives and a weight of its own. A single image has no
        negative and makes no batch.
        """
        order = torch.randperm(len(self.image_ids), generator=generator).to(self.image_ids.device)
        for images in torch.tensor_split(order, self.batches(batch_size)):
            if len(images) > 1:
                yield self.batch(images, generator, caption_mixing=caption_mixing, captions=captions)

    def batches(self, batch_size: int) -> int:
        """How many batches an epoch has."""
        images = len(self.image_ids)
        return max(min(round(images / batch_size), images // 2), 1)
