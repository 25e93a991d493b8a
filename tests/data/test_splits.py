import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relalign.data.near_duplicates import Fingerprint
from relalign.data.readers.row import SPLITS, Row
from relalign.data.splits import assign_missing, fill_empty_splits, given_splits, resolve_leaks
from relalign.errors import RelalignError


def row(image: str, split: str | None) -> Row:
    return Row(image, "caption", split, f"row of {image}")


def test_image_in_two_splits_is_an_error_naming_it() -> None:
    assert given_splits([row("a", "train"), row("a", "train"), row("b", None)]) == {"a": "train", "b": None}
    for other in ("val", None):
        with pytest.raises(RelalignError, match="row of a: image a is in split .* here and in train before"):
            given_splits([row("a", "train"), row("a", other)])


def test_unknown_split_is_an_error_naming_the_row() -> None:
    with pytest.raises(RelalignError, match="row of a: split 'fold 1' is none of train, training, "):
        given_splits([row("a", "fold 1")])


def test_usual_words_for_splits_are_understood_and_said(caplog: pytest.LogCaptureFixture) -> None:
    words = {
        "Training": "train",
        "restval": "train",
        "dev": "val",
        "validation": "val",
        " TEST ": "test",
        "val": "val",
    }
    with caplog.at_level(logging.INFO):
        assert list(given_splits([row(word, word) for word in words]).values()) == list(words.values())
    assert "Training is train, restval is train, dev is val, validation is val,  TEST  is test" in caplog.text


@given(st.lists(st.sampled_from(SPLITS), max_size=40), st.integers(1, 5))
def test_val_stands_in_for_test_and_only_train_gives_images_away(drawn: list[str], size: int) -> None:
    splits = {f"{number}": split for number, split in enumerate(drawn)}
    groups = {name: int(name) // size for name in splits}
    prints = {name: Fingerprint(f"{int(name) * 7919 % 300:064x}", 0, b"") for name in splits}
    filled = fill_empty_splits(splits, groups, prints)
    if {"val", "test"} <= set(drawn):
        assert filled == splits
    for group in groups.values():
        members = [name for name in splits if groups[name] == group]
        assert len({filled[name] for name in members}) <= len({splits[name] for name in members})
    test = "test" if "test" in drawn else "val"
    assert {n for n, split in filled.items() if split == "test"} == {n for n, s in splits.items() if s == test}


def test_without_test_val_becomes_it_and_an_eighth_of_train_is_val(caplog: pytest.LogCaptureFixture) -> None:
    splits = {f"{number}": "val" if number < 10 else "train" for number in range(410)}
    prints = {name: Fingerprint(f"{int(name):064x}", 0, b"") for name in splits}
    filled = fill_empty_splits(splits, {name: int(name) for name in splits}, prints)
    assert 35 <= sum(split == "val" for split in filled.values()) <= 65
    assert caplog.messages == [
        "no image is in split test: those in val are the test split",
        "no image is in split val: an eighth of those in train are",
    ]


def test_missing_split_is_drawn_from_pixels_and_shared_by_a_group() -> None:
    names = [f"{number}" for number in range(300)]
    groups = {name: int(name) // 3 for name in names}
    prints = {name: Fingerprint(f"{int(name) * 7919 % 300:064x}", 0, b"") for name in names}
    splits = assign_missing(dict.fromkeys(names), groups, prints)
    assert len({(groups[name], split) for name, split in splits.items()}) == 100
    assert set(splits.values()) == set(SPLITS)
    renamed = assign_missing(
        {f"x{name}": None for name in names},
        {f"x{name}": 99 - groups[name] for name in reversed(names)},
        {f"x{name}": item for name, item in prints.items()},
    )
    assert {name.removeprefix("x"): split for name, split in renamed.items()} == splits


def test_given_split_is_kept() -> None:
    prints = {"a": Fingerprint("0" * 64, 0, b"")}
    assert [assign_missing({"a": split}, {"a": 0}, prints)["a"] for split in SPLITS] == list(SPLITS)


SPLIT_OF = {"a": "train", "b": "test", "c": "train", "d": "val", "e": "val", "f": "test", "g": "val", "h": "train"}
GROUPS = {"a": 0, "b": 0, "c": 1, "d": 1, "e": 2, "f": 2, "g": 3, "h": 4}


def test_train_gives_way_and_val_against_test_is_left_but_named() -> None:
    leaks = resolve_leaks(SPLIT_OF, GROUPS, "drop_from_train")
    assert leaks.dropped == ["a", "c"]
    assert leaks.left == [{"e": "val", "f": "test"}]
    assert leaks.found == [{"a": "train", "b": "test"}, {"c": "train", "d": "val"}, {"e": "val", "f": "test"}]


def test_val_gives_way_to_test_when_asked() -> None:
    leaks = resolve_leaks(SPLIT_OF, GROUPS, "drop_from_train_and_val")
    assert (leaks.dropped, leaks.left) == (["a", "c", "e"], [])


def test_fail_names_a_group_and_accepts_clean_splits() -> None:
    with pytest.raises(RelalignError, match=r"3 near-duplicate groups .* a \(train\), b \(test\)"):
        resolve_leaks(SPLIT_OF, GROUPS, "fail")
    assert resolve_leaks({"a": "train", "b": "train"}, {"a": 0, "b": 0}, "fail").found == []


@given(
    drawn=st.lists(st.tuples(st.sampled_from(SPLITS), st.integers(0, 5)), max_size=20),
    policy=st.sampled_from(["drop_from_train", "drop_from_train_and_val"]),
)
def test_what_remains_is_disjoint_and_test_is_whole(drawn: list[tuple[str, int]], policy: str) -> None:
    splits = {f"{number:02}": split for number, (split, _) in enumerate(drawn)}
    groups = {f"{number:02}": group for number, (_, group) in enumerate(drawn)}
    leaks = resolve_leaks(splits, groups, policy)
    kept = {name: split for name, split in splits.items() if name not in leaks.dropped}
    places = {group: {kept[name] for name in kept if groups[name] == group} for group in groups.values()}
    apart = {"train", "val"} if policy == "drop_from_train" else {"train", "val", "test"}
    assert all("train" not in found or found == {"train"} for found in places.values())
    assert len(leaks.left) == sum(len(found) > 1 for found in places.values())
    assert not leaks.left or "test" not in apart
    assert {splits[name] for name in leaks.dropped} <= apart - {"test"}
    assert all(groups[name] in {g for g, found in places.items() if found} for name in leaks.dropped)
