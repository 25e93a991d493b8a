from hypothesis import given
from hypothesis import strategies as st

from relalign.data.caption_checks import MOST_LETTERS, BadCaption, check_captions
from relalign.data.readers.row import Row


def rows(*captions: object, image: str = "a") -> list[Row]:
    return [Row(image, caption, "train", f"row {number}") for number, caption in enumerate(captions)]


def test_each_kind_of_bad_caption_has_its_reason() -> None:
    good, bad = check_captions(rows("a dog", " a \n dog ", "", " \t", None, 3, float("nan"), "\ud800"))
    assert [row.caption for row in good] == ["a dog"]
    assert bad == [
        BadCaption(f"row {number}", "a", reason)
        for number, reason in enumerate(["duplicate", "empty", "empty", *["not text"] * 4], start=1)
    ]


def test_same_caption_of_another_image_is_no_duplicate() -> None:
    good, bad = check_captions([*rows("a dog"), *rows("a dog", image="b")])
    assert (len(good), bad) == (2, [])


def test_any_language_and_sign_is_text() -> None:
    texts = ["कुत्ता", "犬", "🐕", "!", "A dog."]
    assert [row.caption for row in check_captions(rows(*texts))[0]] == texts


@given(captions=st.lists(st.one_of(st.text(alphabet="ab \n\0", max_size=4), st.none(), st.integers())))
def test_every_row_is_either_good_or_bad_and_good_ones_are_distinct(captions: list[object]) -> None:
    good, bad = check_captions(rows(*captions))
    texts = [str(row.caption) for row in good]
    assert sorted(int(item.origin.split()[1]) for item in [*good, *bad]) == list(range(len(captions)))
    assert len(set(texts)) == len(texts)
    assert all(text and text == " ".join(text.split()) and "\0" not in text for text in texts)


def test_a_benchmark_keeps_its_duplicates() -> None:
    good, bad = check_captions(rows("a dog", "a dog", ""), keep_duplicates=True)
    assert [row.caption for row in good] == ["a dog", "a dog"]
    assert [caption.reason for caption in bad] == ["empty"]


def test_a_caption_of_a_megabyte_is_left_out_with_its_reason() -> None:
    good, bad = check_captions(rows("a" * MOST_LETTERS, "a " * 500_000))
    assert ([len(row.caption) for row in good], [item.reason for item in bad]) == ([MOST_LETTERS], ["too long"])


def test_control_characters_are_white_space_and_all_other_signs_stay() -> None:
    hostile = "\x1b[2J<b>\u202edog\x9b\uffff\x07 cat"
    assert [row.caption for row in check_captions(rows(hostile))[0]] == ["[2J<b>\u202edog cat"]
