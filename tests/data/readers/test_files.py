from pathlib import Path

import pytest

from relalign.data.readers.files import ImageIndex, find_captions_file
from relalign.errors import RelalignError


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_image_is_found_by_the_end_of_its_path(tmp_path: Path) -> None:
    index = ImageIndex(touch(tmp_path, "wrapped/train/1.jpg", "wrapped/val/2.jpg"))
    assert index.find("1.jpg") == index.find("train/1.jpg") == "wrapped/train/1.jpg"
    assert [index.find(name) for name in ("val/1.jpg", "11.jpg", "ain/1.jpg", "../2.jpg", "")] == [None] * 5


def test_ambiguous_image_is_an_error_unless_its_folder_is_named(tmp_path: Path) -> None:
    index = ImageIndex(touch(tmp_path, "train/1.jpg", "val/1.jpg"))
    assert index.find("val/1.jpg") == "val/1.jpg"
    with pytest.raises(RelalignError, match="'1.jpg' is ambiguous: train/1.jpg, val/1.jpg"):
        index.find("1.jpg")


def test_captions_file_is_the_only_one_or_the_named_one(tmp_path: Path) -> None:
    touch(tmp_path, "a.json", "readme.txt")
    assert find_captions_file(tmp_path, None, (".json",)).name == "a.json"
    touch(tmp_path, "deep/b.json")
    assert find_captions_file(tmp_path, "b.json", (".json",)).name == "b.json"
    with pytest.raises(RelalignError, match="found a.json, b.json. Name it in params.yaml"):
        find_captions_file(tmp_path, None, (".json",))
    with pytest.raises(RelalignError, match=r"looked for one caption file \*.csv, found a.json"):
        find_captions_file(tmp_path, None, (".csv",))
