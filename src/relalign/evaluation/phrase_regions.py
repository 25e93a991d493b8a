"""Annotated phrases of captions: their tokens and the regions of the image that show them, for `isd/annotated`.

The file (`evaluate.phrase_regions`) is a JSON list with an entry a caption; docs/evaluation.md has an example. It
speaks of characters and of fractions of the picture, so that one file serves every encoder: the text encoder's
tokenizer says which of its tokens a phrase has, and the image encoder's regions are taken as the cells of a square
grid in reading order.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from jaxtyping import Bool, Int
from pydantic import AfterValidator, Field, TypeAdapter, ValidationError
from torch import Tensor

from relalign.errors import RelalignError
from relalign.settings.section import Fraction, NonNegativeCount, Section


@dataclass(frozen=True)
class PhraseMasks:
    """Which of a caption's stored tokens, and of its image's regions, belong to each of its phrases."""

    words: Bool[Tensor, "phrase word"]
    regions: Bool[Tensor, "phrase region"]

    @property
    def comparable(self) -> bool:
        """Whether two phrases have both a token and a region."""
        return int((self.words.any(1) & self.regions.any(1)).sum()) >= 2


def _has_area(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    left, top, right, bottom = box
    if left >= right or top >= bottom:
        raise ValueError("a box is [left, top, right, bottom], with left < right and top < bottom")
    return box


Box = Annotated[tuple[Fraction, Fraction, Fraction, Fraction], Field(strict=False), AfterValidator(_has_area)]


class Phrase(Section):
    """Words of a caption, which must stand at character `start` of it, and the boxes that show what they name."""

    start: NonNegativeCount
    text: Annotated[str, Field(min_length=1)]
    boxes: list[Box]


class _Entry(Section):
    caption_id: int
    phrases: list[Phrase]


_FILE = TypeAdapter(list[_Entry])


def read_phrases(path: Path, captions: Mapping[int, str]) -> dict[int, list[Phrase]]:
    """The phrases of each annotated caption; `captions` are all of the pairs table, by id.

    Raises `RelalignError` naming the file and the entry that is not as it should be.
    """
    try:
        entries = _FILE.validate_json(path.read_bytes())
    except OSError as error:
        raise RelalignError(f"{path}: {error.strerror}. evaluate.phrase_regions names it.") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
        problem = f"{place} {first['msg']}".strip()
        raise RelalignError(f"{path}: {problem} (docs/evaluation.md shows the format).") from None
    found: dict[int, list[Phrase]] = {}
    for number, entry in enumerate(entries):
        origin, caption = f"{path}: [{number}]", captions.get(entry.caption_id)
        if caption is None:
            raise RelalignError(
                f"{origin}: there is no caption {entry.caption_id}. Take the caption_id of the pairs table."
            )
        if entry.caption_id in found:
            raise RelalignError(f"{origin}: caption {entry.caption_id} stands twice. Make one entry of both.")
        for index, phrase in enumerate(entry.phrases):
            if not caption.startswith(phrase.text, phrase.start):
                raise RelalignError(
                    f"{origin}.phrases[{index}]: caption {entry.caption_id}, {caption!r}, has no {phrase.text!r} "
                    f"at character {phrase.start}. Count characters from 0, in the caption of the pairs table."
                )
        found[entry.caption_id] = entry.phrases
    return found


def words_of(phrases: Sequence[Phrase], offsets: Int[Tensor, "word 2"]) -> Bool[Tensor, "phrase word"]:
    """Which tokens, given by their characters [start, end), share a character with each phrase."""
    spans = [(phrase.start, phrase.start + len(phrase.text)) for phrase in phrases]
    start, end = torch.tensor(spans, dtype=torch.long).view(len(spans), 2, 1).unbind(1)
    return torch.maximum(start, offsets[:, 0]) < torch.minimum(end, offsets[:, 1])


def regions_of(phrases: Sequence[Phrase], regions: int) -> Bool[Tensor, "phrase region"]:
    """Which cells of a square grid in reading order have their centre in one of the boxes of each phrase.

    Not those that overlap a box by half, as usual with detected regions (the paper names no rule): no cell
    overlaps a large box by half. A box between centres shows nothing. Raises `RelalignError` if `regions` is not
    a square number.
    """
    side = math.isqrt(regions)
    if side**2 != regions:
        raise RelalignError(
            f"evaluate.phrase_regions: the image encoder has {regions} regions, which are no square grid. Take an "
            "image encoder whose regions are, or leave phrase_regions null."
        )
    middle = (torch.arange(side, dtype=torch.float64) + 0.5) / side
    shown = torch.zeros(len(phrases), side, side, dtype=torch.bool)
    for phrase, cells in zip(phrases, shown, strict=True):
        for left, top, right, bottom in phrase.boxes:
            rows, columns = (top <= middle) & (middle < bottom), (left <= middle) & (middle < right)
            cells |= rows[:, None] & columns
    return shown.flatten(1)


def read_tokeniser(folder: Path) -> Any:
    """The tokenizer of the text encoder in `folder`, or `RelalignError` if it cannot tell a token's characters."""
    from transformers import AutoTokenizer

    try:
        tokeniser = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise RelalignError(f"{folder} has no tokenizer: {error}") from error
    if not tokeniser.is_fast:
        raise RelalignError(
            f"{folder}: this tokenizer cannot tell the characters of a token, as evaluate.phrase_regions asks. "
            "Take a text encoder with a tokenizer.json, or leave phrase_regions null."
        )
    return tokeniser


def token_offsets(tokeniser: Any, caption: str, length: int, *, prefix: str = "") -> Int[Tensor, "word 2"]:
    """The characters [start, end) of the caption's `length` stored tokens.

    Of a long caption the feature store holds the first tokens only; those of the encoder's `prefix` it holds, too:
    they end at or before character 0.
    """
    found = tokeniser(
        prefix + caption,
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
        verbose=False,  # about captions longer than the model takes
    )
    pairs = zip(found["offset_mapping"], found["special_tokens_mask"], strict=True)
    # A caption without a word the tokenizer knows keeps one token, which is no word's.
    content = [span for span, special in pairs if not special] or [(0, 0)]
    if len(content) < length:
        raise RelalignError(
            f"the text encoder's tokenizer makes {len(content)} tokens of {caption!r}, but its features have "
            f"{length}. Run the features stage again."
        )
    return torch.tensor(content[:length], dtype=torch.long) - len(prefix)


def phrase_masks(
    annotated: Mapping[int, Sequence[Phrase]],
    captions: Mapping[int, str],
    lengths: Mapping[int, int],
    *,
    regions: int,
    tokeniser: Any,
    prefix: str = "",
) -> dict[int, PhraseMasks]:
    """The masks of each annotated caption that has two phrases with a token and a region, by caption id.

    `lengths` are the numbers of stored tokens of the captions that are measured; others are left out. Raises
    `RelalignError` if no caption is left.
    """
    found = {}
    for caption in sorted(annotated.keys() & lengths.keys()):
        offsets = token_offsets(tokeniser, captions[caption], lengths[caption], prefix=prefix)
        phrases = annotated[caption]
        masks = PhraseMasks(words_of(phrases, offsets), regions_of(phrases, regions))
        if masks.comparable:
            found[caption] = masks
    if not found:
        raise RelalignError(
            "evaluate.phrase_regions: no caption of the test split has two phrases with a token and a region. "
            "Annotate captions of the test split, or leave phrase_regions null."
        )
    return found


def check_whole_picture(folder: Path) -> None:
    """Raise `RelalignError` if the image encoder in `folder` cuts pictures: its grid is then not the picture's."""
    if not (folder / "preprocessor_config.json").is_file():
        return  # EfficientNet-Lite0, which squeezes
    from transformers import AutoImageProcessor

    processor = AutoImageProcessor.from_pretrained(  # type: ignore[no-untyped-call]
        folder, backend="pil", local_files_only=True, trust_remote_code=False
    )
    if getattr(processor, "do_center_crop", False):
        raise RelalignError(
            f"evaluate.phrase_regions: the image encoder in {folder} crops pictures, so its regions are not those "
            "of the whole picture. Take one that squeezes them, or leave phrase_regions null."
        )
