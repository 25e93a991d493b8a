import json
from pathlib import Path

import pytest

from relalign.data.download import download_dataset
from relalign.data.readers import reader
from relalign.data.readers.row import Row
from relalign.data.splits import given_splits
from relalign.errors import RelalignError
from relalign.settings.dataset import Dataset
from tests.small_datasets import karpathy_entry, write_karpathy


def rows_of(root: Path, entries: list[dict[str, object]], images: dict[str, bytes]) -> list[Row]:
    dataset = write_karpathy(root / "own", entries, images)
    download_dataset(dataset, root / "data/raw/tiny", root=root)
    return list(reader(dataset).rows(root / "data/raw/tiny", dataset))


def test_flickr_layout_gives_a_row_a_sentence(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, [karpathy_entry("1.jpg", "val", ["A dog .", "Dogs ."])], {"1.jpg": b"x"})
    where = "dataset_tiny.json: images[0].sentences"
    assert rows == [
        Row("images/wrapped/1.jpg", "A dog .", "val", f"{where}[0]"),
        Row("images/wrapped/1.jpg", "Dogs .", "val", f"{where}[1]"),
    ]


def test_coco_layout_uses_the_folder(tmp_path: Path) -> None:
    entries = [
        karpathy_entry("1.jpg", "restval", ["A cat"], filepath="val2014"),
        karpathy_entry("1.jpg", "test", ["A car"], filepath="train2014"),
    ]
    rows = rows_of(tmp_path, entries, {"train2014/1.jpg": b"x", "val2014/1.jpg": b"y"})
    assert [(row.image, row.split) for row in rows] == [
        ("images/wrapped/val2014/1.jpg", "restval"),
        ("images/wrapped/train2014/1.jpg", "test"),
    ]


def test_image_that_is_not_there_keeps_its_name_for_the_message(tmp_path: Path) -> None:
    entries = [karpathy_entry(name, "val", ["A dog"]) for name in ("gone.jpg", "1.jpg")]
    assert [row.image for row in rows_of(tmp_path, entries, {"1.jpg": b"x"})] == [
        "gone.jpg",
        "images/wrapped/1.jpg",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not a readable json file"),
        ("[]", "no list 'images'"),
        (json.dumps({"images": [{"split": "val", "sentences": []}]}), r"images\[0\] is not as in .*'filename'"),
        (json.dumps({"images": ["x"]}), r"images\[0\] is not as in"),
    ],
)
def test_file_of_another_shape_is_a_readable_error(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "captions").mkdir()
    (tmp_path / "captions/dataset.json").write_text(content)
    dataset = Dataset(reader="karpathy", sources={})
    with pytest.raises(RelalignError, match=message):
        list(reader(dataset).rows(tmp_path, dataset))


def test_coco_ids_and_the_place_in_the_file_come_along(tmp_path: Path) -> None:
    entry = karpathy_entry("1.jpg", "test", ["A cat", "Cats"], cocoid=391895)
    for sentence, sentid in zip(entry["sentences"], (770337, 771687), strict=True):  # type: ignore[call-overload]
        sentence["sentid"] = sentid
    plain = karpathy_entry("0.jpg", "test", ["No id"])
    rows = rows_of(tmp_path, [plain, entry], {"0.jpg": b"x", "1.jpg": b"y"})
    assert [row.coco for row in rows] == [None, (391895, 770337, 1), (391895, 771687, 1)]


@pytest.mark.parametrize("split", [0, None, ["train"], {}])
def test_a_split_that_is_no_text_is_a_word_that_is_refused_with_its_place(split: object, tmp_path: Path) -> None:
    entry = {"filename": "a.jpg", "split": split, "sentences": [{"raw": "a dog"}]}
    for file, content in (("captions/a.json", json.dumps({"images": [entry]})), ("images/a.jpg", "")):
        (tmp_path / file).parent.mkdir()
        (tmp_path / file).write_text(content)
    url = {"url": "file:given"}
    dataset = Dataset.model_validate({"reader": "karpathy", "sources": {"images": url, "captions": url}})
    with pytest.raises(RelalignError, match=r"images\[0\].*: split .* is none of"):
        given_splits(reader(dataset).rows(tmp_path, dataset))
