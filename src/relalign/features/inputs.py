"""What an encoder is run over: the pairs' images or captions, each with its hash, cut into batches."""

import hashlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float16, Float32, Int32, Int64, Shaped, UInt8
from numpy.typing import NDArray
from PIL import Image

from relalign.data.corruption import corrupt_caption, corrupt_image, vocabulary_of
from relalign.data.images import load_image
from relalign.errors import RelalignError
from relalign.features.encoders.base import Encoded, ImageEncoder, TextEncoder, saturated_half
from relalign.features.views import of_view, view_of
from relalign.settings.corruption import Corruption


@dataclass(frozen=True)
class Shape:
    """The shape of one row of features."""

    tokens: int
    width: int
    pooled_width: int
    summary_width: int
    dtype: type[np.generic] = np.float16
    has_content: bool = False

    @classmethod
    def of(cls, encoded: Encoded, *, tokens: int, has_content: bool = False) -> "Shape":
        """The shape of what an encoder gave, for rows of at most `tokens` tokens."""
        widths = encoded.tokens.shape[2], encoded.pooled.shape[1], encoded.summary.shape[1]
        return cls(tokens, *widths, _stored(encoded.tokens[:0]).dtype.type, has_content)


@dataclass(frozen=True)
class EncodedRows:
    """Features of some rows, ready to be stored; rows shorter than `tokens` end in zeros.

    `content` is stored for captions that keep all their tokens (`relalign.features.store`).
    """

    rows: Int64[np.ndarray, " n"]
    tokens: Shaped[np.ndarray, "n tokens width"]
    lengths: Int32[np.ndarray, " n"]
    pooled: Float32[np.ndarray, "n pooled_width"]
    summary: Float16[np.ndarray, "n summary_width"]
    content: Bool[np.ndarray, "n tokens"] | None = None


@runtime_checkable
class Inputs(Protocol):
    """Rows in ascending order of id; rows of equal `hashes` (`relalign.features.store`) have equal features.

    Each id has `views` rows, one after the other.
    """

    ids: NDArray[np.int64]
    hashes: NDArray[np.uint8]
    views: int

    def shape(self) -> Shape:
        """The shape of each row of features (runs the encoder once)."""

    def batches(self, todo: NDArray[np.int64]) -> list[tuple[NDArray[np.int64], int]]:
        """The rows `todo` as `full_batches`, each row once, in an order that only `todo` decides."""

    def encode(self, batch: NDArray[np.int64], real: int) -> EncodedRows:
        """Features of the first `real` rows of a batch; safe to call from several threads at once."""


class ImageInputs:
    """The images of a pairs table, corrupted if asked for, before the encoder prepares them."""

    def __init__(
        self,
        pairs: pd.DataFrame,
        encoder: ImageEncoder,
        *,
        root: Path,
        batch_size: int,
        max_pixels: int,
        views: int = 1,
        corruption: Corruption | None = None,
    ) -> None:
        images = pairs.drop_duplicates("image_id").sort_values("image_id")
        self.ids = images["image_id"].to_numpy(dtype=np.int64)
        self.paths = [root / path for path in images["image_path"]]
        self.encoder, self.batch_size, self.max_pixels = encoder, batch_size, max_pixels
        self.corruption, self.views = corruption, views
        with ThreadPoolExecutor() as pool:
            digests: Iterable[bytes] = pool.map(_hash_file, self.paths)
        if corruption is not None:  # two copies of one file are corrupted each in its own way
            named = zip(digests, self.ids, strict=True)
            digests = (hashlib.sha256(digest + image.tobytes()).digest() for digest, image in named)
        self.hashes = _stack_hashes(of_view(digest, view) for digest in digests for view in range(views))

    def shape(self) -> Shape:
        """The shape of each row of features, from one grey image."""
        prepared = self.encoder.prepare(Image.new("RGB", (256, 256), (127, 127, 127)))
        encoded = self.encoder.encode(prepared[np.newaxis])
        return Shape.of(encoded, tokens=encoded.tokens.shape[1])

    def batches(self, todo: NDArray[np.int64]) -> list[tuple[NDArray[np.int64], int]]:
        """Images in ascending order."""
        return list(full_batches(todo, self.batch_size))

    def encode(self, batch: NDArray[np.int64], real: int) -> EncodedRows:
        """Decode and encode a batch of images."""
        prepared = [self.encoder.prepare(self._image(row)) for row in batch[:real]]
        encoded = self.encoder.encode(np.stack(prepared)[np.arange(len(batch)) % real])
        lengths = np.full(real, encoded.tokens.shape[1], dtype=np.int32)
        pooled, summary = encoded.pooled[:real].numpy(), saturated_half(encoded.summary[:real]).numpy()
        return EncodedRows(batch[:real], _stored(encoded.tokens[:real]), lengths, pooled, summary)

    def _image(self, row: np.int64) -> Image.Image:
        place, view = divmod(int(row), self.views)
        image = load_image(self.paths[place], self.max_pixels)
        if self.corruption:
            image = corrupt_image(image, self.corruption, int(self.ids[place]))
        return view_of(image, view, self.hashes[place * self.views])


class CaptionInputs:
    """The captions of a pairs table, corrupted if asked for, and tokenised once.

    A batch holds captions of one length in tokens: nothing is padded, so a caption's features do not depend on
    the captions beside it, and no time goes into padding.
    """

    def __init__(
        self, pairs: pd.DataFrame, encoder: TextEncoder, *, batch_size: int, corruption: Corruption | None = None
    ) -> None:
        captions = pairs.sort_values("caption_id")
        self.ids = captions["caption_id"].to_numpy(dtype=np.int64)
        texts = captions["caption"].tolist()
        if corruption is not None:
            words = vocabulary_of(captions.loc[captions["split"] == "train", "caption"])
            named = zip(texts, self.ids.tolist(), strict=True)
            texts = [corrupt_caption(text, corruption, caption, words) for text, caption in named]
        self.hashes = _stack_hashes(hashlib.sha256(text.encode()).digest() for text in texts)
        self.encoder, self.batch_size = encoder, batch_size
        self.views = 1
        self.tokenised = encoder.tokenise(texts)
        kept = (len(one.numbers) if encoder.keeps_all else int(one.content.sum()) for one in self.tokenised)
        self.longest = max(kept)

    def shape(self) -> Shape:
        """The shape of each row of features; `tokens` is the length of the longest caption."""
        first = self.tokenised[0]
        encoded = self.encoder.encode(first.numbers[np.newaxis], first.content[np.newaxis])
        return Shape.of(encoded, tokens=self.longest, has_content=self.encoder.keeps_all)

    def batches(self, todo: NDArray[np.int64]) -> list[tuple[NDArray[np.int64], int]]:
        """Captions by length, and then by id."""
        lengths = np.array([len(self.tokenised[row].numbers) for row in todo])
        groups = (todo[lengths == length] for length in np.unique(lengths))
        return list(chain.from_iterable(full_batches(group, self.batch_size) for group in groups))

    def encode(self, batch: NDArray[np.int64], real: int) -> EncodedRows:
        """Encode a batch of captions and keep what belongs to their words, or all for an encoder that is cut."""
        captions = [self.tokenised[row] for row in batch]
        numbers, words = (np.stack([getattr(one, name) for one in captions]) for name in ("numbers", "content"))
        encoded = self.encoder.encode(numbers, words)
        pooled, summary = encoded.pooled[:real].numpy(), saturated_half(encoded.summary[:real]).numpy()
        hidden, content = _stored(encoded.tokens), words[:real]
        keep = np.ones_like(content) if self.encoder.keeps_all else content
        lengths = keep.sum(1).astype(np.int32)
        tokens = np.zeros((real, self.longest, hidden.shape[2]), dtype=hidden.dtype)
        for index, kept in enumerate(keep):
            tokens[index, : lengths[index]] = hidden[index, kept]
        if not self.encoder.keeps_all:
            return EncodedRows(batch[:real], tokens, lengths, pooled, summary)
        content = np.pad(content, ((0, 0), (0, self.longest - content.shape[1])))
        return EncodedRows(batch[:real], tokens, lengths, pooled, summary, content)


def full_batches(rows: NDArray[np.int64], size: int) -> Iterator[tuple[NDArray[np.int64], int]]:
    """Cut rows into batches of exactly `size`, the last filled up by repetition; says how many are real.

    Equal shapes make a row's features independent of how many other rows there are, down to the last bit.
    With rows `[5, 6, 7]` and size 2: `([5, 6], 2)`, `([7, 7], 1)`.
    """
    for start in range(0, len(rows), size):
        batch = rows[start : start + size]
        yield np.resize(batch, size), len(batch)


def _stored(tokens: Any) -> NDArray[Any]:
    """Features in float16; token numbers and pixels as they are, in as few bytes as hold them."""
    if tokens.is_floating_point():
        return saturated_half(tokens).numpy()
    return tokens.numpy() if tokens.dtype == torch.uint8 else tokens.numpy().astype(np.int32)  # type: ignore[no-any-return]


def _hash_file(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").digest()
    except OSError as error:
        raise RelalignError(f"{path}: {error.strerror}. Run the download and validate stages again.") from error


def _stack_hashes(digests: Iterable[bytes]) -> UInt8[np.ndarray, "rows 32"]:
    return np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, 32)
