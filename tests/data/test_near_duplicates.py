import io
from unittest.mock import patch

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from relalign.data.near_duplicates import MAX_THUMBNAIL_DISTANCE, Fingerprint, duplicate_groups, fingerprint
from tests.twins.near_duplicates import slow_groups


def photograph(seed: int, size: int = 200) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)


def recompressed(image: Image.Image, quality: int) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Image.open(stream).convert("RGB")


def groups(*images: Image.Image, bits: int = 6) -> list[int]:
    return duplicate_groups([fingerprint(image) for image in images], bits).tolist()


def test_copies_resized_and_recompressed_are_one_group_and_others_are_not() -> None:
    first, other = photograph(1), photograph(2)
    copies = [first, recompressed(first, 40), first.resize((100, 100)), other, recompressed(other, 80)]
    assert groups(*copies) == [0, 0, 0, 1, 1]


def test_same_outline_in_another_colour_is_another_picture() -> None:
    red, blue = (Image.new("RGB", (64, 64), "white") for _ in range(2))
    red.paste((200, 0, 0), (16, 16, 48, 48))
    blue.paste((0, 0, 255), (16, 16, 48, 48))
    assert fingerprint(red).slopes == fingerprint(blue).slopes
    assert groups(red, blue) == [0, 1]


def test_exact_hash_tells_pixels_and_shape_apart() -> None:
    wide, tall = Image.new("RGB", (4, 2)), Image.new("RGB", (2, 4))
    assert fingerprint(wide).pixels != fingerprint(tall).pixels
    assert fingerprint(photograph(1)).pixels == fingerprint(photograph(1)).pixels


def test_slopes_by_hand() -> None:
    step = Image.new("L", (9, 8), 10)
    step.paste(200, (4, 0, 9, 8))  # each row rises once, from its fourth to its fifth cell
    assert fingerprint(step.convert("RGB")).slopes == int("00010000" * 8, 2)


def test_no_image_and_one_image() -> None:
    assert groups() == []
    assert groups(photograph(1)) == [0]


prints = st.lists(
    st.tuples(st.integers(0, 2**64 - 1) | st.sampled_from([0, 1, 3, 2**64 - 1]), st.integers(0, 12)), max_size=24
)


@given(drawn=prints, bits=st.integers(0, 64))
def test_groups_are_those_of_the_slow_twin(drawn: list[tuple[int, int]], bits: int) -> None:
    given_prints = [Fingerprint("", slopes, bytes([level]) * 768) for slopes, level in drawn]
    expected = slow_groups([(p.slopes, list(p.thumbnail)) for p in given_prints], bits, MAX_THUMBNAIL_DISTANCE)
    assert duplicate_groups(given_prints, bits).tolist() == expected
    with patch.multiple("relalign.data.near_duplicates", _BLOCK_CELLS=40, _PAIRS_AT_ONCE=3):
        assert duplicate_groups(given_prints, bits).tolist() == expected
