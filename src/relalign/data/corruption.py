"""One modality made poor on purpose, for studies of robustness: images or captions corrupted to a known degree.

What `rate` means for each kind (see `relalign.settings.corruption.Corruption`):

| kind | at rate r |
| --- | --- |
| `patches` | of the image's 16 x 16 patches, the fraction r turns mid grey |
| `noise` | Gaussian noise of standard deviation r x 255 grey levels on every channel of every pixel, clipped |
| `blur` | Gaussian blur of standard deviation r x the shorter side / 16: at 1, the side of a patch |
| `drop` | the fraction r of the words is left out, but one word always stays |
| `shuffle` | the fraction r of the words change places among themselves, each of them; one alone stays |
| `swap` | the fraction r of the words turn into others, drawn from a vocabulary |

Words are what white space separates. What happens to a row depends on the seed, the kind and the row's id, and on
nothing beside it. A higher rate destroys what a lower one does, and more: each row has one random order of its
patches or words, of which the first r x n are taken, and one field of noise, which is scaled. Where r x n is no
whole number, one more is taken with the probability of the rest, so that short captions lose r on average, too.
"""

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Int64, UInt8
from PIL import Image, ImageFilter

from relalign.errors import RelalignError
from relalign.settings.corruption import Corruption

GRID = 16  # patches a side
_GREY = 127


def corrupt_image(image: Image.Image, corruption: Corruption, row: int) -> Image.Image:
    """The corrupted copy of an upright RGB image, of the same size; at rate 0 the same pixels.

    Args:
        image: any size; of one with fewer than 16 pixels a side some patches are empty.
        corruption: of modality `image`.
        row: the image's id.
    """
    if corruption.kind == "blur":
        return image.filter(ImageFilter.GaussianBlur(corruption.rate * min(image.size) / GRID))
    corrupted = {"patches": _without_patches, "noise": _with_noise}[corruption.kind]
    return Image.fromarray(corrupted(np.asarray(image), corruption.rate, _generator(corruption, row)))


def corrupt_caption(caption: str, corruption: Corruption, row: int, vocabulary: Sequence[str] = ()) -> str:
    """The corrupted caption, its words one space apart; at rate 0 the caption as it is. Never empty.

    With `a red cat`: `drop` may give `red cat`, `shuffle` `cat red a`, `swap` `a red on`.

    Args:
        caption: has a word, as validated captions do.
        corruption: of modality `text`.
        row: the caption's id.
        vocabulary: the words that `swap` draws from (see `vocabulary_of`); other kinds ignore it.

    Raises:
        RelalignError: `swap` without a vocabulary.
    """
    if corruption.rate == 0:
        return caption
    generator = _generator(corruption, row)
    words = caption.split()
    chosen = _first_of_order(len(words), corruption.rate, generator).tolist()
    if corruption.kind == "drop":
        gone = set(chosen[: len(words) - 1])
        return " ".join(word for place, word in enumerate(words) if place not in gone)
    if corruption.kind == "shuffle":
        # Round a random cycle: a random permutation might leave words where they are.
        new = [words[place] for place in chosen[1:] + chosen[:1]]
    else:
        new = _others(words, chosen, vocabulary, generator)
    for place, word in zip(chosen, new, strict=True):
        words[place] = word
    return " ".join(words)


def vocabulary_of(captions: Iterable[str]) -> list[str]:
    """The distinct words of captions, sorted.

    >>> vocabulary_of(["a cat .", "a Cat"])
    ['.', 'Cat', 'a', 'cat']
    """
    return sorted({word for caption in captions for word in caption.split()})


def _without_patches(
    pixels: UInt8[np.ndarray, "height width 3"], rate: float, generator: np.random.Generator
) -> UInt8[np.ndarray, "height width 3"]:
    grey = np.zeros(GRID * GRID, dtype=bool)
    grey[_first_of_order(len(grey), rate, generator)] = True
    down, right = (np.arange(side) * GRID // side for side in pixels.shape[:2])
    corrupted = pixels.copy()
    corrupted[grey.reshape(GRID, GRID)[down[:, None], right]] = _GREY
    return corrupted


def _with_noise(
    pixels: UInt8[np.ndarray, "height width 3"], rate: float, generator: np.random.Generator
) -> UInt8[np.ndarray, "height width 3"]:
    noise = generator.standard_normal(pixels.shape, dtype=np.float32)
    noisy: UInt8[np.ndarray, "height width 3"]
    noisy = np.rint(pixels + rate * 255 * noise).clip(0, 255).astype(np.uint8)
    return noisy


def _others(
    words: Sequence[str], chosen: Sequence[int], vocabulary: Sequence[str], generator: np.random.Generator
) -> list[str]:
    """For each chosen place a word other than the one there (unless the vocabulary has no other)."""
    if not vocabulary:
        raise RelalignError("corruption: kind 'swap' needs training captions to take its words from.")
    # One draw for each word, chosen or not, so that a word turns into the same other at every rate. The last word
    # of the vocabulary stands in where a word draws itself.
    draws = generator.integers(max(len(vocabulary) - 1, 1), size=len(words))
    drawn = ((words[place], vocabulary[draws[place]]) for place in chosen)
    return [other if other != word else vocabulary[-1] for word, other in drawn]


def _first_of_order(items: int, rate: float, generator: np.random.Generator) -> Int64[np.ndarray, " chosen"]:
    """The first `rate * items` of a random order, rounded up or down at random, without bias."""
    order = generator.permutation(items)
    return order[: int(rate * items + generator.random())]


def _generator(corruption: Corruption, row: int) -> np.random.Generator:
    key = f"{corruption.seed} {corruption.kind} {row}"
    return np.random.default_rng(int.from_bytes(hashlib.sha256(key.encode()).digest()))
