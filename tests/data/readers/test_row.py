from collections import Counter

from relalign.data.readers.row import split_of


def test_split_depends_on_the_key_alone_and_has_the_stated_shares() -> None:
    shares = Counter(split_of(str(number)) for number in range(20_000))
    assert {split: round(count / 20_000, 2) for split, count in shares.items()} == {
        "train": 0.7,
        "val": 0.1,
        "test": 0.2,
    }
    assert [split_of(key) for key in ("cat", "cow", "dog")] == ["train", "val", "test"]
