from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relalign.data.readers.files import find_captions_file, find_images, match_names
from relalign.errors import RelalignError


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_image_is_found_by_the_end_of_its_path() -> None:
    paths = ["wrapped/train/1.jpg", "wrapped/val/2.jpg"]
    found = match_names(["1.jpg", "train/1.jpg"], paths)
    assert found.paths == dict.fromkeys(["1.jpg", "train/1.jpg"], paths[0])
    assert found.rules == {"exactly": 2}
    assert match_names(["11.jpg", "", "."], paths).paths == {}


def test_ambiguous_image_is_an_error_unless_its_folder_is_named() -> None:
    paths = ["train/1.jpg", "val/1.jpg"]
    assert match_names(["val/1.jpg"], paths).paths == {"val/1.jpg": "val/1.jpg"}
    for name in ("1.jpg", "./1.jpg", "1.JPG"):
        with pytest.raises(RelalignError, match=f"'{name}' is ambiguous: train/1.jpg, val/1.jpg"):
            match_names([name], paths)


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("a b.jpg", "exactly"),
        ("./photos/a b.jpg", "exactly"),
        ("photos\\a b.jpg", "after cleaning the name"),
        ("/photos/a b.jpg", "after cleaning the name"),
        ("https://host.org/photos/a%20b.jpg?size=big", "after cleaning the name"),
        ("a b.jpg#3", "after cleaning the name"),
        (" a b.jpg ", "after cleaning the name"),
        ("A B.JPG", "with other upper and lower case"),
        ("a b", "with another ending or none"),
        ("a b.png", "with another ending or none"),
        ("/home/me/a b.jpg", "by the last part of the path"),
        ("https://host.org/1/2/A%20b", "by the last part of the path"),
    ],
)
def test_a_name_is_found_by_the_first_rule_that_fits(name: str, rule: str) -> None:
    found = match_names([name], ["photos/a b.jpg", "photos/c.jpg"])
    assert found.paths == {name: "photos/a b.jpg"}
    assert found.rules == {rule: 1}


def test_composed_and_decomposed_letters_are_the_same_name() -> None:
    assert match_names(["caf\u00e9.jpg"], ["cafe\u0301.jpg"]).paths == {"caf\u00e9.jpg": "cafe\u0301.jpg"}


def test_a_loose_rule_never_gives_an_image_to_two_names() -> None:
    assert match_names(["cat/1.jpg", "dog/1.jpg"], ["cat/1.jpg"]).paths == {"cat/1.jpg": "cat/1.jpg"}
    assert match_names(["dog/1.jpg", "cow/1.jpg"], ["cat/1.jpg"]).paths == {}
    assert match_names(["1.png", "1.jpg"], ["1.jpg"]).paths == {"1.jpg": "1.jpg"}
    both = match_names(["1.jpg#0", "1.jpg#1"], ["1.jpg"])
    assert both.paths == {"1.jpg#0": "1.jpg", "1.jpg#1": "1.jpg"}


@given(st.lists(st.sampled_from(["a/1.jpg", "b/1.jpg", "a/2.JPG", "3", "x/3.png"]), unique=True), st.data())
def test_matching_never_joins_other_stems_and_never_loses_an_exact_name(
    paths: list[str], data: st.DataObject
) -> None:
    names = data.draw(
        st.lists(st.sampled_from(["a/1.jpg", "2.jpg", "./b/1.jpg", "y/3", "3.jpg", "c/1"]), unique=True)
    )
    try:
        found = match_names(names, paths).paths
    except RelalignError:
        return
    for name, path in found.items():
        assert PurePosixPath(name.casefold()).stem == PurePosixPath(path.casefold()).stem
    exact = {n: p for n in names for p in paths if f"/{p}".endswith(f"/{n}")}
    assert exact.items() <= found.items()


def test_what_is_not_found_is_told_with_what_lies_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = touch(tmp_path, "images/a.jpg", "images/b.jpg", "images/readme.txt")
    find_images(["a.jpg", "gone.jpg"], folder, table="own.csv")
    assert "own.csv: of 2 names of images, 1 are not there, such as gone.jpg" in caplog.text
    assert "holds 2 images, such as images/a.jpg, images/b.jpg" in caplog.text
    with pytest.raises(
        RelalignError, match=r"of 1 names .* such as gone\.jpg\. The folder (.|\n)* \(image_column"
    ):
        find_images(["gone.jpg"], folder, table="own.csv")


def test_few_missing_images_are_not_told_twice(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = [f"{number}.jpg" for number in range(100)]
    find_images([*names, "gone.jpg"], touch(tmp_path, *names), table="own.csv")
    assert caplog.text == ""


def test_captions_file_is_the_only_one_or_the_named_one(tmp_path: Path) -> None:
    touch(tmp_path, "a.json", "readme.txt")
    assert find_captions_file(tmp_path, None, (".json",)).name == "a.json"
    touch(tmp_path, "deep/b.json")
    assert find_captions_file(tmp_path, "b.json", (".json",)).name == "b.json"
    with pytest.raises(RelalignError, match="found a.json, b.json. Name it in params.yaml"):
        find_captions_file(tmp_path, None, (".json",))
    with pytest.raises(RelalignError, match=r"looked for one caption file \*.csv, found a.json"):
        find_captions_file(tmp_path, None, (".csv",))
