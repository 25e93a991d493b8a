"""The presets for the papers' benchmarks: valid, and read from miniatures in the benchmarks' own layout."""

import json
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from relalign.data.download import download_dataset
from relalign.data.validation import validate_dataset
from relalign.settings import load_params
from tests.small_datasets import encoded, picture

PRESETS = Path(__file__).parents[2] / "params"
SPLITS = ["train"] * 12 + ["val"] * 3 + ["test"] * 3


def archive(path: Path, files: dict[str, bytes]) -> None:
    if path.name.endswith(".zip"):
        with zipfile.ZipFile(path, "w") as packed:
            for name, content in files.items():
                packed.writestr(name, content)
        return
    import io
    import tarfile

    with tarfile.open(path, "w:gz") as packed_tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            packed_tar.addfile(entry, io.BytesIO(content))


def karpathy(path: Path, name: str, folders: list[str]) -> None:
    splits = ["restval" if number == 0 else split for number, split in enumerate(SPLITS)]
    images = [
        {
            "filename": f"{number}.jpg",
            "split": split,
            "sentences": [
                {"raw": f"a picture {number}", "sentid": number},
                {"raw": f"this is {number}", "sentid": 99},
            ],
            **({"filepath": folder, "cocoid": number} if folder else {}),
        }
        for number, (split, folder) in enumerate(zip(splits, folders, strict=True))
    ]
    others = {f"dataset_{other}.json": b"{}" for other in ("flickr8k", "flickr30k", "coco") if other != name}
    archive(path, {f"dataset_{name}.json": json.dumps({"images": images}).encode(), **others})


def photo(number: int) -> bytes:
    return encoded(picture(number), "JPEG")


def flickr30k(mirror: Path) -> None:
    images = {f"flickr30k-images/{number}.jpg": photo(number) for number in range(18)}
    archive(mirror / "flickr30k-images.tar.gz", images)
    karpathy(mirror / "caption_datasets.zip", "flickr30k", [""] * 18)


def coco(mirror: Path) -> None:
    folders = ["train2014" if split == "train" and number else "val2014" for number, split in enumerate(SPLITS)]
    for folder in ("train2014", "val2014"):
        archive(
            mirror / f"{folder}.zip", {f"{folder}/{n}.jpg": photo(n) for n in range(18) if folders[n] == folder}
        )
    karpathy(mirror / "caption_datasets.zip", "coco", folders)


def vizwiz(mirror: Path) -> None:
    whole = {}
    for split, numbers in (("train", range(100)), ("val", range(100, 105))):
        archive(mirror / f"{split}.zip", {f"{split}/VizWiz_{split}_{n:08}.jpg": photo(n) for n in numbers})
        annotations = [
            {"image_id": n, "id": n, "caption": f"a picture {n}", "is_precanned": n == 1, "is_rejected": False}
            for n in numbers
        ]
        images = [{"id": n, "file_name": f"VizWiz_{split}_{n:08}.jpg"} for n in numbers]
        whole[f"annotations/{split}.json"] = json.dumps({"images": images, "annotations": annotations}).encode()
    secret = {"images": [{"id": 999, "file_name": "VizWiz_test_00000999.jpg"}]}
    archive(mirror / "annotations.zip", whole | {"annotations/test.json": json.dumps(secret).encode()})


@pytest.mark.parametrize("preset", sorted(PRESETS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_preset_reads_its_benchmark(preset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params = load_params(preset)
    assert params.dataset == preset.stem
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    {"flickr30k": flickr30k, "coco": coco, "vizwiz": vizwiz}[preset.stem](mirror)
    monkeypatch.setenv("RELALIGN_MIRROR", str(mirror))
    raw, pairs = tmp_path / "data/raw" / preset.stem, tmp_path / "data/pairs" / preset.stem
    dataset = params.datasets[params.dataset]
    download_dataset(dataset, raw, root=tmp_path)
    validate_dataset(dataset, raw, pairs, params.validate_, root=tmp_path)
    images = pd.read_parquet(pairs / "pairs.parquet").groupby("split")["image_id"].nunique().to_dict()
    if preset.stem == "vizwiz":
        assert images["test"] == 5
        assert images["train"] + images["val"] == 99
        assert images["val"] >= 5
    else:
        assert images == {"train": 12, "val": 3, "test": 3}


def test_each_preset_has_the_released_settings_and_what_the_papers_report() -> None:
    presets = {path.stem: load_params(path) for path in PRESETS.glob("*.yaml")}
    assert set(presets) == {"flickr30k", "coco", "vizwiz"}
    assert {name: params.evaluate.fold_size for name, params in presets.items() if params.evaluate.fold_size} == {
        "coco": 1000
    }
    for params in presets.values():
        assert {"covlr-released", "rebalanced-released", "iais-released"} <= set(params.method)
