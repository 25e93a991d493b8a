import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from relalign.data.corruption import corrupt_caption, corrupt_image, vocabulary_of
from relalign.errors import RelalignError
from relalign.settings.corruption import Corruption

IMAGE_KINDS = ("patches", "noise", "blur")
TEXT_KINDS = ("drop", "shuffle", "swap")
VOCABULARY = ["cat", "dog", "tree"]
RATES = st.floats(0, 1)
ROWS = st.integers(0, 2**62)
# Distinct, so that it shows where each word went.
CAPTIONS = st.integers(1, 30).map(lambda words: " ".join(f"w{number}" for number in range(words)))
PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (37, 53, 3), dtype=np.uint8))


def image_of(kind: str, rate: float, row: int = 0, *, image: Image.Image = PICTURE, seed: int = 0) -> np.ndarray:
    corruption = Corruption(modality="image", kind=kind, rate=rate, seed=seed)
    return np.asarray(corrupt_image(image, corruption, row)).astype(float)


def words_of(kind: str, rate: float, row: int = 0, *, caption: str, seed: int = 0) -> list[str]:
    corruption = Corruption(modality="text", kind=kind, rate=rate, seed=seed)
    return corrupt_caption(caption, corruption, row, VOCABULARY).split(" ")


def destroyed(kind: str, rate: float, row: int, caption: str) -> set[int]:
    """The places whose word is gone or another."""
    words, before = words_of(kind, rate, row, caption=caption), caption.split()
    if kind == "drop":
        return {place for place, word in enumerate(before) if word not in words}
    return {place for place, word in enumerate(before) if word != words[place]}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"modality": "image", "kind": "drop"}, "kind: 'drop' is none of modality 'image' .patches, noise, blur"),
        ({"modality": "text", "kind": "blur"}, "kind: 'blur' is none of modality 'text' .drop, shuffle, swap"),
        ({"modality": "image", "kind": "smear"}, "kind"),
        ({"modality": "audio", "kind": "drop"}, "modality"),
        ({"modality": "image", "kind": "blur", "rate": 1.5}, "rate"),
        ({"modality": "image", "kind": "blur", "rates": 1.0}, "did you mean 'rate'"),
    ],
)
def test_wrong_key_is_named(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Corruption.model_validate({"rate": 0.5, **wrong})


@pytest.mark.parametrize("kind", IMAGE_KINDS)
def test_image_at_rate_zero_is_unchanged(kind: str) -> None:
    np.testing.assert_array_equal(image_of(kind, 0), np.asarray(PICTURE))


@pytest.mark.parametrize("kind", TEXT_KINDS)
@given(caption=st.text(), row=ROWS)
def test_caption_at_rate_zero_is_unchanged(kind: str, caption: str, row: int) -> None:
    assert corrupt_caption(caption, Corruption(modality="text", kind=kind, rate=0), row, []) == caption


@pytest.mark.parametrize("kind", ["patches", "noise"])
def test_image_corruption_depends_on_seed_and_row(kind: str) -> None:
    first = image_of(kind, 0.5)
    np.testing.assert_array_equal(image_of(kind, 0.5), first)
    assert not np.array_equal(image_of(kind, 0.5, row=1), first)
    assert not np.array_equal(image_of(kind, 0.5, seed=1), first)


@pytest.mark.parametrize("kind", TEXT_KINDS)
def test_caption_corruption_depends_on_seed_and_row(kind: str) -> None:
    caption = " ".join(f"w{number}" for number in range(40))
    first = words_of(kind, 0.5, caption=caption)
    assert words_of(kind, 0.5, caption=caption) == first
    assert words_of(kind, 0.5, row=1, caption=caption) != first
    assert words_of(kind, 0.5, seed=1, caption=caption) != first


def test_results_are_the_same_on_every_machine() -> None:
    caption = "a small red cat sleeps on the mat"
    assert {kind: " ".join(words_of(kind, 0.5, 7, caption=caption)) for kind in TEXT_KINDS} == {
        "drop": "small sleeps the mat",
        "shuffle": "a on cat small sleeps red the mat",
        "swap": "cat small red tree dog on the cat",
    }
    grey = image_of("patches", 0.02, 7, image=Image.new("RGB", (16, 16)))[:, :, 0].astype(bool)
    assert np.argwhere(grey).tolist() == [[2, 15], [3, 6], [7, 11], [8, 13], [12, 9]]


@given(rate=RATES, row=ROWS, sides=st.tuples(st.integers(1, 40), st.integers(1, 40)))
@pytest.mark.parametrize("kind", IMAGE_KINDS)
def test_image_keeps_its_size_and_mode(kind: str, rate: float, row: int, sides: tuple[int, int]) -> None:
    image = Image.new("RGB", sides, "red")
    corrupted = corrupt_image(image, Corruption(modality="image", kind=kind, rate=rate), row)
    assert (corrupted.size, corrupted.mode) == (sides, "RGB")


@given(rates=st.tuples(RATES, RATES).map(sorted), row=ROWS)
def test_grey_patches_stay_grey_at_a_higher_rate_and_are_the_fraction_stated(rates: list[float], row: int) -> None:
    white = Image.new("RGB", (48, 32), "white")
    low, high = (image_of("patches", rate, row, image=white) == 127 for rate in rates)
    assert not (low & ~high).any()
    for rate, grey in zip(rates, (low, high), strict=True):
        patches = grey.reshape(16, 2, 16, 3, 3)
        assert (patches.all(axis=(1, 3, 4)) == patches.any(axis=(1, 3, 4))).all(), "patches are grey as a whole"
        assert abs(grey.mean() * 256 - rate * 256) < 1 + 1e-9


def test_noise_has_the_standard_deviation_stated_and_is_scaled_by_the_rate() -> None:
    grey = Image.new("RGB", (200, 100), (128, 128, 128))
    low, high = (image_of("noise", rate, image=grey) - 128 for rate in (0.04, 0.08))
    assert abs(low.mean()) < 0.2
    assert low.std() == pytest.approx(0.04 * 255, rel=0.02)
    np.testing.assert_allclose(high, 2 * low, atol=1.5)


def test_noise_is_clipped_and_not_wrapped_around() -> None:
    white = image_of("noise", 0.1, image=Image.new("RGB", (60, 60), "white"))
    assert white.min() > 100
    assert 0.4 < (white == 255).mean() < 0.6


@pytest.mark.parametrize("size", [(320, 160), (320, 480)])
def test_blur_has_the_standard_deviation_stated(size: tuple[int, int]) -> None:
    edge = Image.new("RGB", size)
    edge.paste("white", (size[0] // 2, 0, *size))
    slope = np.diff(image_of("blur", 0.5, image=edge)[:, :, 0].mean(axis=0)) / 255
    where = np.arange(len(slope))
    centre = (slope * where).sum()
    assert np.sqrt((slope * (where - centre) ** 2).sum()) == pytest.approx(0.5 * min(size) / 16, rel=0.05)


@pytest.mark.parametrize("kind", TEXT_KINDS)
@given(rates=st.tuples(RATES, RATES).map(sorted), row=ROWS, caption=CAPTIONS)
def test_words_destroyed_at_a_rate_are_destroyed_at_a_higher_one(
    kind: str, rates: list[float], row: int, caption: str
) -> None:
    low, high = (destroyed(kind, rate, row, caption) for rate in rates)
    assert low <= high


@pytest.mark.parametrize("kind", TEXT_KINDS)
@given(rate=RATES, row=ROWS, caption=CAPTIONS)
def test_number_of_words_destroyed_is_the_rate_rounded_up_or_down(
    kind: str, rate: float, row: int, caption: str
) -> None:
    words, count = len(caption.split()), len(destroyed(kind, rate, row, caption))
    kept_by_rule = (kind == "drop" and count == words - 1) or (kind == "shuffle" and count == 0)
    assert abs(count - rate * words) < 1 + 1e-9 or (kept_by_rule and abs(count - rate * words) < 2)


@pytest.mark.parametrize("rate", [0.2, 0.5])
def test_short_captions_lose_the_stated_fraction_on_average(rate: float) -> None:
    counts = [len(destroyed("swap", rate, row, "one two three")) for row in range(3000)]
    assert np.mean(counts) / 3 == pytest.approx(rate, abs=0.01)


@pytest.mark.parametrize("kind", TEXT_KINDS)
@given(rate=RATES, row=ROWS, caption=st.text(alphabet="ab \n", min_size=1).filter(str.strip))
def test_a_caption_never_becomes_empty(kind: str, rate: float, row: int, caption: str) -> None:
    assert words_of(kind, rate, row, caption=caption) != [""]


@given(rate=RATES, row=ROWS, caption=CAPTIONS)
def test_dropping_keeps_the_order(rate: float, row: int, caption: str) -> None:
    numbers = [int(word[1:]) for word in words_of("drop", rate, row, caption=caption)]
    assert numbers == sorted(set(numbers))


@given(rate=RATES, row=ROWS, caption=CAPTIONS)
def test_shuffling_keeps_the_words(rate: float, row: int, caption: str) -> None:
    assert sorted(words_of("shuffle", rate, row, caption=caption)) == sorted(caption.split())


@given(row=ROWS, words=st.integers(2, 30))
def test_shuffling_at_rate_one_leaves_no_word_in_its_place(row: int, words: int) -> None:
    caption = " ".join(f"w{number}" for number in range(words))
    assert len(destroyed("shuffle", 1.0, row, caption)) == words


@given(rates=st.tuples(RATES, RATES).map(sorted), row=ROWS, caption=CAPTIONS)
def test_a_swapped_word_is_the_same_of_the_vocabulary_at_every_rate(
    rates: list[float], row: int, caption: str
) -> None:
    low, high = (words_of("swap", rate, row, caption=caption) for rate in rates)
    for before, seldom, often in zip(caption.split(), low, high, strict=True):
        assert seldom in (before, often)
        assert often == before or often in VOCABULARY


def test_a_word_is_swapped_with_every_other_word_and_never_with_itself() -> None:
    for word in VOCABULARY:
        new = {words_of("swap", 1.0, row, caption=word)[0] for row in range(50)}
        assert new == set(VOCABULARY) - {word}


def test_swapping_without_a_vocabulary_is_refused() -> None:
    with pytest.raises(RelalignError, match="'swap' needs training captions"):
        corrupt_caption("a cat", Corruption(modality="text", kind="swap", rate=0.5), 0)


def test_vocabulary_is_the_distinct_words_sorted() -> None:
    assert vocabulary_of(["a red cat .", "a Cat"]) == [".", "Cat", "a", "cat", "red"]
