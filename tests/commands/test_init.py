"""`relalign init` on the shapes that people have their data in: found, told, and read by the pipeline's own
stages."""

import io
import json
import logging
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
import yaml

from relalign.cli import main
from relalign.data.caption_checks import check_captions
from relalign.data.download import download_dataset
from relalign.data.readers import reader
from relalign.errors import RelalignError
from relalign.settings import load_params
from tests.data.readers.own_data_cases import CASES, NAMES, PAIRS, Case, coco, draw, sentences, write_images

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    shutil.copy(ROOT / "params.yaml", folder)
    return folder


def init(project: Path, *arguments: object) -> int:
    return main(["init", *map(str, arguments), "--params", str(project / "params.yaml")])


def read_back(project: Path) -> list[Any]:
    """The rows that the pipeline reads after `init`: each caption with its own picture."""
    params = load_params(project / "params.yaml")
    dataset = params.datasets[params.dataset]
    raw = project / "data/raw" / params.dataset
    download_dataset(dataset, raw, root=project)
    good, _ = check_captions(row for row in reader(dataset).rows(raw, dataset) if (raw / row.image).is_file())
    for row in good:
        drawn = next(name for name in NAMES if draw(name) == (raw / row.image).read_bytes())
        colour, shape = drawn.removesuffix(".jpg").split("_")
        assert str(row.caption) in ("None",) or (colour in str(row.caption) and shape in str(row.caption))
    return good


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.file)
def test_every_shape_of_a_table_is_read_or_refused_by_name(
    case: Case, project: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "own data"
    write_images(own / "images")
    (own / case.file).write_bytes(case.content.encode() if isinstance(case.content, str) else case.content)
    before = (project / "params.yaml").read_text()
    with caplog.at_level(logging.INFO):
        status = init(project, own / case.file)
    if case.refused:
        assert status == 2
        assert case.refused in capsys.readouterr().err
        assert (project / "params.yaml").read_text() == before
        return
    assert status == 0
    assert case.told in caplog.text
    assert f"{case.images} images with " in capsys.readouterr().out
    rows = read_back(project)
    assert (len({row.image for row in rows}), len(rows)) == (case.images, case.captions)
    assert case.some in {row.caption for row in rows}
    assert yaml.safe_load((project / "params.yaml").read_text())["methods"] == yaml.safe_load(before)["methods"]


def test_imagefolder_gives_the_splits_that_its_folders_are_called(project: Path, tmp_path: Path) -> None:
    own = tmp_path / "birds"
    for split, names in (("train", NAMES[:8]), ("validation", NAMES[8:10]), ("test", NAMES[10:])):
        write_images(own / split, names)
        lines = [json.dumps({"file_name": name, "text": sentences(name)[0]}) for name in names]
        (own / split / "metadata.jsonl").write_text("\n".join(lines))
    (own / "README.md").write_text("a card")
    assert init(project, own) == 0
    rows = read_back(project)
    assert [row.split for row in rows] == ["test"] * 2 + ["train"] * 8 + ["val"] * 2
    assert load_params(project / "params.yaml").dataset == "birds"
    assert not load_params(project / "params.yaml").datasets["birds"].rotate_validation


def test_imagefolder_of_one_csv(project: Path, tmp_path: Path) -> None:
    write_images(tmp_path / "own/pictures")
    lines = [f"pictures/{name},{sentence.replace(',', '')}" for name, sentence in PAIRS]
    (tmp_path / "own/metadata.csv").write_text("\n".join(["file_name,text", *lines]))
    assert init(project, tmp_path / "own") == 0
    assert len(read_back(project)) == 36


def frame(names: list[str]) -> pd.DataFrame:
    """As `datasets` casts a column to Image() and uploads it."""
    pictures = [{"bytes": draw(name), "path": name} for name in names]
    return pd.DataFrame(
        {"image": pictures, "caption": [sentences(name) for name in names], "id": range(len(names))}
    )


def test_parquet_shards_with_pictures_in_them(project: Path, tmp_path: Path) -> None:
    own = tmp_path / "hub/data"
    own.mkdir(parents=True)
    frame(NAMES[:5]).to_parquet(own / "train-00000-of-00002.parquet")
    frame(NAMES[5:8]).to_parquet(own / "train-00001-of-00002.parquet")
    frame(NAMES[8:10]).to_parquet(own / "validation-00000-of-00001.parquet")
    frame(NAMES[10:]).to_parquet(own / "test-00000-of-00001.parquet")
    assert init(project, tmp_path / "hub") == 0
    rows = read_back(project)
    assert (len({row.image for row in rows}), len(rows)) == (12, 36)
    assert [row.split for row in rows] == ["test"] * 6 + ["train"] * 24 + ["val"] * 6
    assert not (project / "data/raw/hub/shards/data/test-00000-of-00001.parquet").exists()  # not on disk twice


def test_a_dataset_saved_to_disk(project: Path, tmp_path: Path) -> None:
    for split, names in (("train", NAMES[:8]), ("test", NAMES[8:])):
        own = tmp_path / "saved" / split
        own.mkdir(parents=True)
        table = pa.Table.from_pandas(frame(names), preserve_index=False)
        with (
            pa.OSFile(str(own / "data-00000-of-00001.arrow"), "wb") as sink,
            pa.ipc.new_stream(sink, table.schema) as out,
        ):
            out.write_table(table, max_chunksize=3)
        (own / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}))
        (own / "dataset_info.json").write_text("{}")
    (tmp_path / "saved/dataset_dict.json").write_text(json.dumps({"splits": ["train", "test"]}))
    assert init(project, tmp_path / "saved") == 0
    rows = read_back(project)
    assert [row.split for row in rows] == ["test"] * 12 + ["train"] * 24


def test_a_shard_that_only_names_its_pictures_is_refused(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = frame(NAMES)
    table["image"] = [
        {"bytes": None, "path": "/somewhere/else.jpg"} if n == 4 else p for n, p in enumerate(table["image"])
    ]
    table.to_parquet(tmp_path / "own.parquet")
    assert init(project, tmp_path / "own.parquet") == 0
    with pytest.raises(RelalignError, match="own.parquet: row 4 holds no picture, only the name of one"):
        read_back(project)


def tar(path: Path, names: list[str]) -> None:
    with tarfile.open(path, "w") as archive:
        for number, name in enumerate(names):
            note = json.dumps({"caption": sentences(name)[1]}) if number % 2 else "\n".join(sentences(name))
            beside = ".json" if number % 2 else ".txt"
            for ending, content in ((".jpg", draw(name)), (beside, note.encode())):
                entry = tarfile.TarInfo(f"{number:06}{ending}")
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))


def test_webdataset_shards(project: Path, tmp_path: Path) -> None:
    own = tmp_path / "shards"
    own.mkdir()
    tar(own / "train-000000.tar", NAMES[:6])
    tar(own / "train-000001.tar", NAMES[6:10])
    tar(own / "val-000000.tar", NAMES[10:])
    assert init(project, own) == 0
    rows = read_back(project)
    assert len({row.image for row in rows}) == 12
    assert [row.split for row in rows] == ["train"] * 20 + ["val"] * 4


def test_one_tar_of_images_and_texts(project: Path, tmp_path: Path) -> None:
    tar(tmp_path / "own.tar", NAMES)
    assert init(project, tmp_path / "own.tar", "--name", "one") == 0
    assert len(read_back(project)) == 24


def test_a_text_beside_each_image(project: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_images(tmp_path / "own/deep")
    for name in NAMES[:-1]:
        (tmp_path / "own/deep" / name).with_suffix(".txt").write_text("\n".join(sentences(name)) + "\n")
    assert init(project, tmp_path / "own") == 0
    assert "1 of 12 images have no captions beside them, such as" in caplog.text
    assert len(read_back(project)) == 33


def test_coco_files_give_the_splits_that_they_are_called(project: Path, tmp_path: Path) -> None:
    own = tmp_path / "coco"
    for year, names in (("train2017", NAMES[:8]), ("val2017", NAMES[8:])):
        write_images(own / year, names)
        (own / "annotations").mkdir(exist_ok=True)
        (own / f"annotations/captions_{year}.json").write_text(json.dumps(coco(names)))
    (own / "annotations/instances_val2017.json").write_text(json.dumps({"images": [], "categories": []}))
    assert init(project, own, "--name", "my-coco") == 0
    assert [row.split for row in read_back(project)] == ["train"] * 24 + ["val"] * 12


def test_vizwiz_captions_that_do_not_count_are_left_out_and_counted(
    project: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = tmp_path / "vizwiz"
    write_images(own / "train")
    content = coco()
    for place, annotation in enumerate(content["annotations"]):
        annotation |= {"is_precanned": place == 0, "is_rejected": place in (1, 5), "text_detected": False}
    (own / "annotations").mkdir()
    (own / "annotations/train.json").write_text(json.dumps(content))
    (own / "annotations/test.json").write_text(json.dumps({"images": [{"id": 1, "file_name": "kept_secret.jpg"}]}))
    assert init(project, own) == 0
    assert "train.json: captions left out: 1 precanned, 2 rejected" in caplog.text
    assert len(read_back(project)) == 33


def test_images_in_an_archive_beside_the_table(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "own"
    write_images(tmp_path / "loose")
    own.mkdir()
    shutil.make_archive(str(own / "pictures"), "zip", tmp_path / "loose")
    (own / "captions.csv").write_text("image;caption\n" + "".join(f"{n};{s}\n" for n, s in PAIRS))
    assert init(project, own) == 0
    assert "read by the pipeline" in capsys.readouterr().out
    assert len(read_back(project)) == 36


def test_columns_that_are_named_overrule_the_guess(project: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    write_images(own)
    lines = [
        f"{name}|{number}|{'dev' if number % 2 else 'training'}|{s}" for number, (name, s) in enumerate(PAIRS)
    ]
    (own / "own.csv").write_text("\n".join(["file|title|kind|wrong_caption", *lines]))
    assert init(project, own, "--caption-column", "Wrong caption", "--name", "birds-2") == 0
    assert {row.split for row in read_back(project)} == {None}
    assert init(project, own, "--caption-column", "none such") == 2


def test_a_name_that_is_taken_is_refused_and_equal_data_are_not(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        write_images(tmp_path / name)
        (tmp_path / name / "own.csv").write_text("image,caption\nred_circle.jpg,a red circle\n")
    assert init(project, tmp_path / "a", "--name", "mine") == init(project, tmp_path / "a", "--name", "mine") == 0
    assert init(project, tmp_path / "b", "--name", "mine") == 2
    assert "a dataset 'mine' already. Choose another name: --name" in capsys.readouterr().err
    assert init(project, tmp_path / "b", "--name", "no/name") == 2


def test_params_keep_their_comments_and_order(project: Path, tmp_path: Path) -> None:
    write_images(tmp_path / "own")
    (tmp_path / "own/own.csv").write_text("image,caption\nred_circle.jpg,a red circle\n")
    before = (project / "params.yaml").read_text().splitlines()
    assert init(project, tmp_path / "own") == 0
    after = (project / "params.yaml").read_text().splitlines()
    assert set(before) - set(after) == {"dataset: openmoji                # an entry of `datasets`"}
    assert "dataset: own                     # an entry of `datasets`" in after


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda own: None, "there is no such file or folder"),
        (lambda own: own.mkdir(), "holds 0 images and no captions that are known here, but nothing"),
        (lambda own: write_images(own), "holds 12 images and no captions that are known here"),
        (lambda own: own.write_bytes(b"\x89PNG"), "no file of captions that is known here"),
        (
            lambda own: (own.mkdir(), (own / "own.csv").write_text("image,caption\na.jpg,b\n")),
            "holds no images, nor",
        ),
        (
            lambda own: (
                write_images(own),
                *((own / n).write_text("image,caption\na.jpg,b\n") for n in ("a.csv", "b.csv")),
            ),
            "several files that may be the captions: a.csv, b.csv. Name the one",
        ),
    ],
)
def test_what_is_not_recognised_is_refused_with_what_lies_there(
    make: Any, message: str, project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path / "own")
    assert init(project, tmp_path / "own") == 2
    assert message in capsys.readouterr().err
