"""README's pictures are standalone, deterministic and true to the comparison."""

import xml.etree.ElementTree as ET
from pathlib import Path

from relalign.layout import Layout
from relalign.report.pictures import write_pictures
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
