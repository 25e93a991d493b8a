import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from relalign.data.download import download_dataset
from relalign.data.validation import validate_dataset
from relalign.errors import RelalignError
from relalign.settings.dataset import Dataset, Source, Validate
from relalign.system.artifacts import digest, read_manifest
from tests.small_datasets import encoded, karpathy_entry, ordinary, picture, write_karpathy


def validated(root: Path, dataset: Dataset, **settings: Any) -> tuple[pd.DataFrame, dict[str, Any]]:
    raw, pairs = root / "data/raw/tiny", root / "data/pairs/tiny"
    download_dataset(dataset, raw, root=root)
    validate_dataset(dataset, raw, pairs, Validate(**settings), root=root)
    return pd.read_parquet(pairs / "pairs.parquet"), json.loads((pairs / "validation.json").read_text())


def with_bad_images(root: Path) -> Dataset:
    """Eight ordinary images and four bad ones."""
    entries, images = ordinary()
    bad = {"cut.jpg": encoded(picture(20), "JPEG")[:400], "empty.jpg": b"", "text.jpg": b"no image"}
    bad["big.png"] = encoded(picture(21, size=128))
    entries += [karpathy_entry(name, "train", [f"bad {name}"]) for name in [*bad, "gone.jpg"]]
    return write_karpathy(root / "own", entries, images | bad)


def test_table_keeps_the_contract(tmp_path: Path) -> None:
    entries, images = ordinary()
    entries.reverse()
    table, report = validated(tmp_path, write_karpathy(tmp_path / "own", entries, images))
    assert list(table.columns) == ["caption_id", "image_id", "caption", "image_path", "split"]
    assert [str(kind) for kind in table.dtypes[:2]] == ["int64", "int64"]
    assert table["caption_id"].tolist() == list(range(16))
    assert table["image_id"].tolist() == [number // 2 for number in range(16)]
    assert table["caption"].tolist()[:3] == ["picture 0", "this is 0", "picture 1"]
    assert table["image_path"][0] == "data/raw/tiny/images/wrapped/0.png"
    assert table["split"].tolist() == ["train"] * 8 + ["val"] * 4 + ["test"] * 4
    with Image.open(tmp_path / table["image_path"][0]) as image:
        assert image.size == (32, 32)
    assert report["splits"]["train"] == {"images": 4, "captions": 8}
    assert report["near_duplicates"]["splits_are_disjoint"]


def test_result_is_published_with_its_input_and_equal_work_gives_equal_bytes(tmp_path: Path) -> None:
    pairs = tmp_path / "data/pairs/tiny"
    dataset = write_karpathy(tmp_path / "own", *ordinary())
    validated(tmp_path, dataset)
    manifest = read_manifest(pairs, verify=True)
    assert manifest["inputs"] == {"raw": digest(tmp_path / "data/raw/tiny")}
    validated(tmp_path, dataset)
    assert read_manifest(pairs, verify=True) == manifest


def test_bad_images_are_skipped_counted_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        table, report = validated(tmp_path, with_bad_images(tmp_path), max_pixels=64 * 64)
    assert table["image_id"].nunique() == 8
    assert report["images"]["seen"] == 13
    assert {
        reason: [Path(name).name for name in names] for reason, names in report["images"]["skipped"].items()
    } == {
        "empty": ["empty.jpg"],
        "missing": ["gone.jpg"],
        "too large": ["big.png"],
        "unreadable": ["cut.jpg", "text.jpg"],
    }
    assert "5 of 13 images are unusable (1 empty, 1 missing, 1 too large, 2 unreadable)" in caplog.text
    assert report["captions"] == {"seen": 21, "kept": 16, "of_skipped_images": 5, "skipped": {}}


def test_bad_images_stop_the_stage_when_asked(tmp_path: Path) -> None:
    with pytest.raises(RelalignError, match="(?s)4 of 13 images are unusable.*empty.jpg.*on_bad_image"):
        validated(tmp_path, with_bad_images(tmp_path), on_bad_image="fail")
    assert not (tmp_path / "data/pairs/tiny").exists()


def bad_captions(root: Path) -> Dataset:
    entries, images = ordinary()
    entries[0]["sentences"] = [{"raw": raw} for raw in ("a dog", "", 7, "a  dog", "a cat")]
    entries.append(karpathy_entry("silent.png", "train", ["  "]))
    return write_karpathy(root / "own", entries, images | {"silent.png": encoded(picture(9))})


def test_bad_captions_are_skipped_counted_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        table, report = validated(tmp_path, bad_captions(tmp_path))
    assert table["caption"].tolist()[:2] == ["a dog", "a cat"]
    assert {
        reason: [item["origin"] for item in items] for reason, items in report["captions"]["skipped"].items()
    } == {
        "duplicate": ["dataset_tiny.json: images[0].sentences[3]"],
        "empty": ["dataset_tiny.json: images[0].sentences[1]", "dataset_tiny.json: images[8].sentences[0]"],
        "not text": ["dataset_tiny.json: images[0].sentences[2]"],
    }
    assert report["images"]["skipped"] == {"no caption left": ["images/wrapped/silent.png"]}
    assert "4 of 20 captions are unusable (1 duplicate, 2 empty, 1 not text)" in caplog.text


def test_bad_captions_stop_the_stage_when_asked(tmp_path: Path) -> None:
    with pytest.raises(RelalignError, match="(?s)4 of 20 captions are unusable.*on_bad_caption"):
        validated(tmp_path, bad_captions(tmp_path), on_bad_caption="fail")


def test_unusual_but_good_images_are_kept_and_their_conversion_counted(tmp_path: Path) -> None:
    entries, images = ordinary()
    images["0.png"] = encoded(picture(0).convert("CMYK"), "JPEG")
    table, report = validated(tmp_path, write_karpathy(tmp_path / "own", entries, images))
    assert table["image_id"].nunique() == 8
    assert report["images"]["converted"] == {"cmyk": ["images/wrapped/0.png"]}


def leaking(root: Path) -> Dataset:
    entries, images = ordinary("train train train val val val test test")
    images["0.png"] = encoded(picture(7, size=64), "JPEG")  # a train image that is a test image, saved anew
    images["3.png"] = encoded(picture(6, size=48))  # and a val image that is one
    return write_karpathy(root / "own", entries, images)


def test_near_duplicate_of_a_test_image_leaves_train_and_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        table, report = validated(tmp_path, leaking(tmp_path))
    assert table.groupby("split")["image_id"].nunique().to_dict() == {"train": 2, "val": 3, "test": 2}
    assert report["near_duplicates"]["dropped"] == ["images/wrapped/0.png"]
    assert not report["near_duplicates"]["splits_are_disjoint"]
    assert report["near_duplicates"]["over_val_and_test_left"] == [
        {"images/wrapped/3.png": "val", "images/wrapped/6.png": "test"}
    ]
    assert "dropped 1 images: images/wrapped/0.png" in caplog.text
    assert "1 near-duplicate groups still join val and test" in caplog.text


def test_leak_between_val_and_test_is_dropped_or_fails_when_asked(tmp_path: Path) -> None:
    table, report = validated(tmp_path, leaking(tmp_path), on_split_leak="drop_from_train_and_val")
    assert table.groupby("split")["image_id"].nunique().to_dict() == {"train": 2, "val": 2, "test": 2}
    assert report["near_duplicates"]["splits_are_disjoint"]
    with pytest.raises(RelalignError, match="2 near-duplicate groups reach over splits"):
        validated(tmp_path, leaking(tmp_path), on_split_leak="fail")


def test_download_that_lost_a_file_is_not_validated(tmp_path: Path) -> None:
    dataset = write_karpathy(tmp_path / "own", *ordinary())
    validated(tmp_path, dataset)
    (tmp_path / "data/raw/tiny/images/wrapped/0.png").unlink()
    with pytest.raises(RelalignError, match="0.png is missing or truncated"):
        validate_dataset(
            dataset, tmp_path / "data/raw/tiny", tmp_path / "data/pairs/tiny", Validate(), root=tmp_path
        )


@pytest.mark.parametrize(
    "splits", ["train train val val test", "train train test test", "val val test test train"]
)
def test_split_with_fewer_than_two_images_is_an_error(tmp_path: Path, splits: str) -> None:
    with pytest.raises(RelalignError, match="is left with [01] images; at least 2"):
        validated(tmp_path, write_karpathy(tmp_path / "own", *ordinary(splits)))


def test_own_table_gets_splits_from_pixels_that_survive_renaming(tmp_path: Path) -> None:
    outcomes = []
    for prefix in ("a", "b"):
        root = tmp_path / prefix
        (root / "own/images").mkdir(parents=True)
        lines = ["image,caption,label"]
        for number in range(60):
            name = f"{prefix}{number if prefix == 'a' else 99 - number}.png"
            picture(number).save(root / "own/images" / name)
            lines.append(f"{name},picture {number},kind {number % 3}")
        (root / "own/table.csv").write_text("\n".join(lines))
        urls = {"captions": "file:own/table.csv", "images": "file:own/images"}
        dataset = Dataset(reader="table", sources={key: Source(url=url) for key, url in urls.items()})
        outcomes.append(validated(root, dataset)[0].set_index("caption")[["split", "label"]].sort_index())
    assert outcomes[0].equals(outcomes[1])
    assert set(outcomes[0]["split"]) == {"train", "val", "test"}


def test_image_path_that_leads_out_of_the_dataset_counts_as_missing(tmp_path: Path) -> None:
    entries, images = ordinary()
    picture(30).save(tmp_path / "secret.png")
    entries.append(karpathy_entry("secret.png", "train", ["a secret"], filepath="../../.."))
    _, report = validated(tmp_path, write_karpathy(tmp_path / "own", entries, images))
    assert report["images"]["skipped"] == {"missing": ["../../../secret.png"]}


def test_many_images_are_checked_by_several_processes_with_the_same_result(tmp_path: Path) -> None:
    entries, images = ordinary(" ".join(["train"] * 150 + ["val"] * 10 + ["test"] * 10))
    images["3.png"] = b""
    table, report = validated(tmp_path, write_karpathy(tmp_path / "own", entries, images))
    assert table["image_id"].nunique() == 169
    assert report["images"]["skipped"] == {"empty": ["images/wrapped/3.png"]}


def test_disk_that_fills_up_is_one_sentence_and_leaves_no_pairs(tmp_path: Path) -> None:
    entries, images = ordinary()
    entries[0]["sentences"] = [{"raw": "word " * 40_000 + str(number)} for number in range(3)]
    dataset = write_karpathy(tmp_path / "own", entries, images)
    download_dataset(dataset, tmp_path / "data/raw/tiny", root=tmp_path)
    program = (
        "import resource, sys; from pathlib import Path\n"
        "sys.dont_write_bytecode = True  # which the limit below would cut off\n"
        "from relalign.data.validation import validate_dataset\n"
        "from relalign.settings.dataset import Dataset, Validate\n"
        f"dataset = Dataset.model_validate_json({dataset.model_dump_json()!r})\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, 2_000))\n"
        "root = Path().resolve()\n"
        "validate_dataset(dataset, root / 'data/raw/tiny', root / 'data/pairs/tiny', Validate(), root=root)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, env=os.environ
    )
    assert "RelalignError: The disk is full" in done.stderr
    assert list((tmp_path / "data/pairs").iterdir()) == []


def test_coco_ids_become_columns_where_the_source_has_them(tmp_path: Path) -> None:
    entries, images = ordinary()
    plain, _ = validated(tmp_path / "plain", write_karpathy(tmp_path / "a", entries, images))
    for number, entry in enumerate(entries):
        entry["cocoid"] = 100 - number
    table, _ = validated(tmp_path / "coco", write_karpathy(tmp_path / "b", entries, images))
    assert list(table.columns) == [*plain.columns, "coco_image_id", "coco_caption_id", "coco_place"]
    assert table["coco_image_id"].tolist() == (100 - table["coco_place"]).tolist()
    assert table.drop_duplicates("image_id")["coco_place"].tolist() == list(range(len(entries)))
