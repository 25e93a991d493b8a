"""How relevant an image is to a caption: ROUGE-L of the caption against all captions of the image."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float32, Integer
from numpy.typing import NDArray
from tqdm import tqdm

from relalign.metrics.common_subsequence import WORD, PackedReferences, common_subsequence

BETA = 1.2
IMAGES_AT_ONCE = 512


def rouge_l(
    captions: Sequence[str],
    image_of_caption: Integer[NDArray[np.integer], " caption"],
    images: int | None = None,
    *,
    out: Float32[NDArray[np.float32], "caption image"] | None = None,
) -> Float32[NDArray[np.float32], "caption image"]:
    """ROUGE-L of every caption against the captions of every image, in [0, 1]; row a caption, column an image.

    As coco-caption and TERAN compute it: lower case, split at single spaces; precision LCS / words of the
    caption and recall LCS / words of the reference are maximised over the image's captions independently;
    F with beta 1.2, and 0 where nothing is shared. A caption has relevance 1 to its own image. `images` is the
    number of columns (default: up to the largest number named); an image without captions has relevance 0.
    `out` (for example a memory map) receives the result, so that memory stays at one block.

    >>> rouge_l(["A dog runs", "a cat"], np.array([0, 1])).astype(float).round(3).tolist()
    [[1.0, 0.415], [0.386, 1.0]]
    """
    columns = images if images is not None else int(image_of_caption.max(initial=-1)) + 1
    if out is None:
        out = np.empty((len(captions), columns), dtype=np.float32)
    tokens = _as_numbers(captions)
    order = sorted(range(len(tokens)), key=tokens.__getitem__)
    members: list[list[int]] = [[] for _ in range(columns)]
    for caption, image in enumerate(image_of_caption.tolist()):
        members[image].append(caption)
    for start in tqdm(range(0, columns, IMAGES_AT_ONCE), desc="ROUGE-L", unit="block", disable=None):
        block = slice(start, start + IMAGES_AT_ONCE)
        _fill(out[:, block], tokens, order, [[tokens[c] for c in group] for group in members[block]])
    return out


def _as_numbers(captions: Sequence[str]) -> list[tuple[int, ...]]:
    numbers: dict[str, int] = {}
    return [
        tuple(numbers.setdefault(word, len(numbers)) for word in caption.lower().split(" "))
        for caption in captions
    ]


def _fill(
    out: Float32[NDArray[np.float32], "caption image"],
    tokens: list[tuple[int, ...]],
    order: list[int],
    groups: list[list[tuple[int, ...]]],
) -> None:
    """One block of images: references stand as (place within the image, image), so that maxima are vectorised."""
    places = max(map(len, groups), default=0)
    grid = [[group[place] if place < len(group) else () for group in groups] for place in range(places)]
    flat = [reference for row in grid for reference in row]
    long = [place for place, reference in enumerate(flat) if len(reference) > WORD]
    packed = PackedReferences([reference if len(reference) <= WORD else () for reference in flat])
    words = np.array([max(len(reference), 1) for reference in flat], dtype=np.float64).reshape(places, len(groups))
    for caption, short in zip(order, packed.lengths([tokens[c] for c in order]), strict=True):
        shared: NDArray[np.float64] = short.astype(np.float64)
        for place in long:
            shared[place] = common_subsequence(tokens[caption], flat[place])
        out[caption] = _f_measure(shared.reshape(places, len(groups)), words, len(tokens[caption]))


def _f_measure(
    shared: Float[NDArray[np.float64], "place image"],
    words: Float[NDArray[np.float64], "place image"],
    length: int,
) -> Float[NDArray[np.float64], " image"]:
    precision = shared.max(axis=0, initial=0) / length
    recall = (shared / words).max(axis=0, initial=0)
    scale = recall + BETA**2 * precision
    measure: NDArray[np.float64] = np.zeros_like(scale)
    np.divide((1 + BETA**2) * precision * recall, scale, out=measure, where=scale > 0)
    return measure
