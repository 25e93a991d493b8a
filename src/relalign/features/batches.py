"""Batches of image-caption pairs in which no image appears twice."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor

from relalign.features.table import Features


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
    contrasted: int = 1

    @property
    def texts(self) -> tuple[Features, ...]:
        """The captions of each image that the step contrasts it with: `training.captions_per_step`."""
        return (self.text, self.other_text, *self.further_texts)[: self.contrasted]


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
        device = image.rows.device
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
        contrasted: int = 1,
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
        image = self.image.take(images)
        if (views := image.table.views) > 1:
            image = image.in_view(torch.randint(views, images.shape, generator=generator).to(device))
        return Batch(
            image_ids=self.image_ids[images],
            caption_ids=self.caption_ids[first + chosen],
            image=image,
            text=text.mixed_with(other_text, caption_mixing * draws[2]) if caption_mixing else text,
            other_text=other_text,
            unmixed_text=text,
            further_texts=tuple(others[1:]),
            contrasted=contrasted,
        )

    def epoch(
        self,
        batch_size: int,
        generator: torch.Generator,
        *,
        caption_mixing: float = 0.0,
        captions: int = 2,
        contrasted: int = 1,
    ) -> Iterator[Batch]:
        """Every image once, in random order, in batches as near to `batch_size` as equal sizes allow.

        Equal, because a short last batch would have few negatives and a weight of its own. A single image has no
        negative and makes no batch.
        """
        order = torch.randperm(len(self.image_ids), generator=generator).to(self.image_ids.device)
        for images in torch.tensor_split(order, self.batches(batch_size)):
            if len(images) > 1:
                yield self.batch(
                    images, generator, caption_mixing=caption_mixing, captions=captions, contrasted=contrasted
                )
                for side in (self.image, self.text):
                    side.table.let_go()

    def batches(self, batch_size: int) -> int:
        """How many batches an epoch has."""
        images = len(self.image_ids)
        return max(min(round(images / batch_size), images // 2), 1)
