"""Delimited text: what reading one file leaves behind."""

import csv
from pathlib import Path

from relalign.data.readers.delimited import read_delimited


def test_a_small_table_does_not_lower_the_limit_for_the_next_reader(tmp_path: Path) -> None:
    before = csv.field_size_limit()
    (tmp_path / "captions.csv").write_text("image,caption\na.jpg,a dog\n")
    read_delimited(tmp_path / "captions.csv")
    assert csv.field_size_limit() >= before
    assert list(csv.reader([f"{'word ' * 1000},b"])) == [["word " * 1000, "b"]]
