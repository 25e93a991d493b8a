import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from relalign.errors import RelalignError
from relalign.evaluation.phrase_regions import (
    Phrase,
    check_whole_picture,
    phrase_masks,
    read_phrases,
    read_tokeniser,
    regions_of,
    token_offsets,
    words_of,
)
from relalign.features.encoders.transformers_text import TransformersTextEncoder
from tests.features.encoders.checkpoints import save_joint, save_text, save_vision

CAPTIONS = {7: "a dog on the red mat", 8: "two cats"}
WHOLE = [0, 0, 1, 1]
DOG = {"start": 2, "text": "dog", "boxes": [[0, 0, 0.5, 1]]}
MAT = {"start": 9, "text": "the red mat", "boxes": [[0.5, 0, 1, 1]]}


def phrase(start: int = 0, text: str = "x", boxes=()) -> Phrase:
    return Phrase.model_validate({"start": start, "text": text, "boxes": [list(box) for box in boxes]})


def write(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content))
    return path


def entry(**changes: object) -> list[object]:
    """A file of one caption with one phrase, changed in one place."""
    return [{"caption_id": 7, "phrases": [{**DOG, **changes}]}]


def test_a_file_is_read_by_caption(tmp_path: Path) -> None:
    found = read_phrases(write(tmp_path / "x.json", [{"caption_id": 7, "phrases": [DOG, MAT]}]), CAPTIONS)
    assert {caption: [item.text for item in phrases] for caption, phrases in found.items()} == {
        7: ["dog", "the red mat"]
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "Input should be a valid array"),
        ([{"caption_id": 9, "phrases": []}], r"\[0\]: there is no caption 9"),
        ([{"caption_id": 7, "phrases": []}] * 2, r"\[1\]: caption 7 stands twice"),
        ([{"caption_id": 7}], r"\[0\]\.phrases Field required"),
        (entry(start=20), r"\[0\]\.phrases\[0\]: caption 7, .* has no 'dog' at character 20"),
        (entry(start=3), "has no 'dog' at character 3"),
        (entry(start=-1), r"\[0\]\.phrases\[0\]\.start"),
        (entry(text=""), r"\[0\]\.phrases\[0\]\.text"),
        (entry(text="on the red mat and more", start=6), "has no 'on the red mat and more'"),
        (entry(boxes=[WHOLE, [0, 0, 1.5, 1]]), r"\[0\]\.phrases\[0\]\.boxes\[1\]\[2\] .* less than or equal to 1"),
        (entry(boxes=[[0, 0, float("nan"), 1]]), r"\.boxes\[0\]"),
        (entry(boxes=[[0.6, 0, 0.5, 1]]), r"\.boxes\[0\] .*left < right"),
        (entry(boxes=[[0, 0, 1]]), r"\.boxes\[0\]"),
        (entry(box=WHOLE), "did you mean 'boxes'"),
    ],
)
def test_a_wrong_entry_is_named(tmp_path: Path, content: object, message: str) -> None:
    with pytest.raises(RelalignError, match=rf"x\.json: .*{message}"):
        read_phrases(write(tmp_path / "x.json", content), CAPTIONS)


def test_a_file_that_is_not_json_or_absent_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(b"[\xff")
    with pytest.raises(RelalignError, match=r"x\.json: Invalid JSON"):
        read_phrases(tmp_path / "x.json", CAPTIONS)
    with pytest.raises(RelalignError, match=r"absent\.json: No such file"):
        read_phrases(tmp_path / "absent.json", CAPTIONS)


def test_words_are_the_tokens_that_share_a_character_with_a_phrase() -> None:
    offsets = torch.tensor([[-7, 0], [0, 1], [2, 4], [4, 5], [5, 5], [6, 8]])
    phrases = [phrase(0, "a"), phrase(2, "dog"), phrase(3, "o"), phrase(1, " "), phrase(5, " on the")]
    assert words_of(phrases, offsets).int().tolist() == [
        [0, 1, 0, 0, 0, 0],
        [0, 0, 1, 1, 0, 0],
        [0, 0, 1, 0, 0, 0],
        [0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 1],
    ]
    assert words_of([], offsets).shape == (0, 6)


def test_regions_are_the_cells_in_reading_order_whose_centre_is_in_a_box() -> None:
    corners = [[0, 0, 0.4, 0.4], [0.6, 0.6, 1, 1]]
    phrases = [phrase(boxes=[[0, 0, 1, 0.3]]), phrase(boxes=corners), phrase(boxes=[[0.2, 0, 0.4, 1]]), phrase()]
    assert regions_of(phrases, 9).int().view(4, 3, 3).tolist() == [
        [[1, 1, 1], [0, 0, 0], [0, 0, 0]],
        [[1, 0, 0], [0, 0, 0], [0, 0, 1]],
        [[0, 0, 0], [0, 0, 0], [0, 0, 0]],
        [[0, 0, 0], [0, 0, 0], [0, 0, 0]],
    ]


@given(st.integers(1, 9), st.lists(st.floats(0.01, 0.99), min_size=1, max_size=4, unique=True))
def test_boxes_that_tile_the_picture_share_out_its_regions(side: int, cuts: list[float]) -> None:
    edges = [0, *sorted(cuts), 1]
    strips = [(left, 0, right, 1) for left, right in zip(edges, edges[1:], strict=False)]
    apart = regions_of([phrase(boxes=[strip]) for strip in strips], side**2)
    assert (apart.sum(0) == 1).all()
    assert regions_of([phrase(boxes=strips)], side**2).all()


def test_regions_that_are_no_square_grid_are_an_error() -> None:
    with pytest.raises(RelalignError, match="12 regions, which are no square grid"):
        regions_of([phrase()], 12)


@pytest.mark.parametrize("kind", ["bert", "mpnet", "clip", "siglip"])
@pytest.mark.parametrize("prefix", ["", "query : "])
def test_offsets_are_those_of_the_stored_tokens(kind: str, prefix: str, tmp_path: Path) -> None:
    (save_text if kind in ("bert", "mpnet") else save_joint)(kind, tmp_path)
    encoder = TransformersTextEncoder(tmp_path, torch.device("cpu"), max_tokens=9, prefix=prefix)
    tokeniser = read_tokeniser(tmp_path)
    captions = ["a dog", "the small  red cat sleeps on a mat under the tree", "unheard-of"]
    for caption, tokenised in zip(captions, encoder.tokenise(captions), strict=True):
        stored = tokenised.numbers[tokenised.content]
        offsets = token_offsets(tokeniser, caption, len(stored), prefix=prefix)
        own = (prefix + caption).replace("-", " - ").split()[: len(stored)]
        assert [(prefix + caption)[start + len(prefix) : end + len(prefix)] for start, end in offsets] == own
        inside = (offsets[:, 1] > 0).tolist()
        assert inside == [place >= len(prefix.split()) for place in range(len(stored))]


def test_a_caption_without_a_known_word_has_one_token_of_no_characters(tmp_path: Path) -> None:
    save_text("bert", tmp_path)
    assert token_offsets(read_tokeniser(tmp_path), " ", 1).tolist() == [[0, 0]]


def test_more_stored_tokens_than_the_tokenizer_makes_are_an_error(tmp_path: Path) -> None:
    save_text("bert", tmp_path)
    with pytest.raises(RelalignError, match="makes 2 tokens of 'a dog', but its features have 3"):
        token_offsets(read_tokeniser(tmp_path), "a dog", 3)


def test_an_encoder_without_a_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(RelalignError, match=r"absent has no tokenizer"):
        read_tokeniser(tmp_path / "absent")


def test_only_measured_captions_with_two_comparable_phrases_have_masks(tmp_path: Path) -> None:
    save_text("bert", tmp_path)
    dog, mat = Phrase.model_validate(DOG), Phrase.model_validate(MAT)
    unseen = phrase(0, "a", [[0, 0, 0.1, 0.1]])
    captions = dict.fromkeys(range(4), CAPTIONS[7])
    annotated = {0: [dog, unseen, mat], 1: [dog, unseen], 2: [dog, mat], 3: [dog, mat]}
    lengths = {0: 6, 1: 6, 2: 3}  # of caption 2 the mat is cut off, caption 3 is of another split
    tokeniser = read_tokeniser(tmp_path)
    masks = phrase_masks(annotated, captions, lengths, regions=4, tokeniser=tokeniser)
    assert list(masks) == [0]
    assert masks[0].words.int().tolist() == [[0, 1, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0], [0, 0, 0, 1, 1, 1]]
    assert masks[0].regions.int().tolist() == [[1, 0, 1, 0], [0, 0, 0, 0], [0, 1, 0, 1]]
    with pytest.raises(RelalignError, match="no caption of the test split"):
        phrase_masks({1: annotated[1]}, captions, lengths, regions=4, tokeniser=tokeniser)


def test_an_image_encoder_that_crops_is_refused(tmp_path: Path) -> None:
    check_whole_picture(tmp_path)
    save_vision("vit", tmp_path)
    check_whole_picture(tmp_path)
    settings = json.loads((tmp_path / "preprocessor_config.json").read_text())
    write(tmp_path / "preprocessor_config.json", settings | {"image_processor_type": "CLIPImageProcessor"})
    with pytest.raises(RelalignError, match="crops pictures"):
        check_whole_picture(tmp_path)
