"""README's pictures are standalone, deterministic and true to the comparison."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from relalign.errors import RelalignError
from relalign.layout import Layout
from relalign.report.pictures import BEGIN, END, write_pictures, write_readme_table
from relalign.settings import Params


def test_pictures_are_well_formed_and_equal_on_rerun(finished: tuple[Params, Layout], tmp_path: Path) -> None:
    first, second = (
        [path.read_bytes() for path in write_pictures(*finished, tmp_path / folder)] for folder in ("a", "b")
    )
    assert first == second
    for content in first:
        root = ET.fromstring(content)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert b"http" not in content.replace(b"http://www.w3.org", b"")


def test_examples_show_each_query_with_its_first_answers(finished: tuple[Params, Layout], tmp_path: Path) -> None:
    path = write_pictures(*finished, tmp_path)[1]
    root = ET.fromstring(path.read_text())
    texts = [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert len(texts) == 4
    assert all("<b>" in text for text in texts)
    assert len(list(root.iter("{http://www.w3.org/2000/svg}image"))) == 20


def test_readmes_table_is_that_of_the_comparison_and_the_rest_stays(
    finished: tuple[Params, Layout], tmp_path: Path
) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    for _ in range(2):
        write_readme_table(finished[1], readme)
    lines = readme.read_text().splitlines()
    assert (lines[0], lines[-1]) == ("before", "after")
    rows = [line for line in lines if line.startswith("| ")]
    assert [row.split()[1] for row in rows[2:]] == list(finished[0].methods)
    assert "old" not in lines
    assert "▲" in rows[-1]
    readme.write_text("no marks")
    with pytest.raises(RelalignError, match="to write the table between"):
        write_readme_table(finished[1], readme)
