from pathlib import Path

import pandas as pd
import pytest

from relalign.data.readers import reader
from relalign.data.readers.row import Row
from relalign.errors import RelalignError
from relalign.settings.dataset import Dataset

DATASET = Dataset(reader="table", sources={})


def rows_of(folder: Path, name: str, content: str | bytes | pd.DataFrame) -> list[Row]:
    for place in ("captions", "images/deep"):
        (folder / place).mkdir(parents=True, exist_ok=True)
    (folder / "images/deep/1.png").touch()
    path = folder / "captions" / name
    if isinstance(content, pd.DataFrame):
        content.to_parquet(path)
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return list(reader(DATASET).rows(folder, DATASET))


def test_csv_with_all_columns(tmp_path: Path) -> None:
    text = '\ufeffimage,caption,split,label,language\ndeep/1.png,"Hund, braun",val,dog,de\n1.png,NA,,,\n'
    assert rows_of(tmp_path, "own.csv", text) == [
        Row("images/deep/1.png", "Hund, braun", "val", "own.csv: row 2", "dog", "de"),
        Row("images/deep/1.png", "NA", None, "own.csv: row 3"),
    ]


def test_tsv_and_parquet_mean_the_same(tmp_path: Path) -> None:
    table = pd.DataFrame({"image": ["1.png", "none.png"], "caption": ["a dog", None], "split": ["test", None]})
    from_parquet = rows_of(tmp_path / "p", "own.parquet", table)
    assert [(row.image, row.caption, row.split) for row in from_parquet[:1]] == [
        ("images/deep/1.png", "a dog", "test")
    ]
    assert (from_parquet[1].image, from_parquet[1].split) == ("images/none.png", None)
    assert from_parquet[1].caption == ""
    from_tsv = rows_of(tmp_path / "t", "own.tsv", "image\tcaption\tsplit\n1.png\ta dog\ttest\n")
    assert (from_tsv[0].image, from_tsv[0].caption) == ("images/deep/1.png", "a dog")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "own.csv",
            "photo_of,words\n1,a\n",
            r"no column is known to hold the images \(there are column 1, column 2\)",
        ),
        ("own.csv", "image,caption\n,a\n", "row 2: column 'image' is empty"),
        ("own.csv", "", "not a readable table"),
        ("own.csv", "image,caption\n1.png,a\0b\n", "row 2 holds a NUL byte"),
        ("own.csv", b"image,caption\n1.png,\x81\n", "neither UTF-8, UTF-16 nor Windows-1252"),
        ("own.csv", "image caption\n1.png a dog\n", "no comma, tab, semicolon or | divides"),
        ("own.csv", 'image,caption\n1.png,"a "big" dog"\n', r'in row 2 a quote \("\) is opened'),
        ("own.jsonl", '{"image": "1.png", "caption": "a"}\n{"image": \n', "row 2 is not JSON"),
        ("own.json", "{}", "no list of records. For COCO"),
        ("own.parquet", b"PAR1 broken", "not a readable table"),
    ],
)
def test_unusable_table_names_file_and_cure(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    with pytest.raises(RelalignError, match=message):
        rows_of(tmp_path, name, content)
