"""The page holds what was measured, needs nothing else, and is the same whenever the results are."""

import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from relalign.errors import RelalignError
from relalign.layout import Layout
from relalign.report import write_report
from relalign.settings import Params
from tests.report.conftest import make_project

Project = tuple[Params, Layout]


@pytest.fixture(scope="module")
def page(finished: Project) -> str:
    params, layout = finished
    write_report(params, layout)
    return (layout.results / "report.html").read_text(encoding="utf-8")


class Structure(HTMLParser):
    """Ids, addresses and whether every element is closed in turn."""

    VOID = {"meta", "img", "path", "use", "rect", "br"}

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        named = dict(attributes)
        self.ids += [value for value in [named.get("id")] if value]
        self.addresses += [value for key in ("src", "href", "xlink:href") if (value := named.get(key))]

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_equal_results_give_equal_bytes_in_another_process_and_folder(
    finished: Project, page: str, tmp_path: Path
) -> None:
    params, layout = finished
    shutil.copytree(layout.root, tmp_path / "copy")
    code = (
        "import sys; from pathlib import Path; from relalign.layout import Layout;"
        "from relalign.settings import Params; from relalign.report.page import render;"
        "params = Params.model_validate_json(sys.argv[1]);"
        "sys.stdout.buffer.write(render(params, Layout(Path(sys.argv[2]), 'squares')).encode())"
    )
    command = [sys.executable, "-c", code, params.model_dump_json(by_alias=True), str(tmp_path / "copy")]
    again = subprocess.run(command, check=True, capture_output=True, timeout=120).stdout.decode()
    assert again == page


def test_it_names_no_path_of_this_machine_and_no_time(finished: Project, page: str) -> None:
    assert str(finished[1].root) not in page
    assert not re.search(r"\b20\d\d-\d\d-\d\d", page)


def test_nothing_is_fetched_from_elsewhere(page: str) -> None:
    structure = Structure()
    structure.feed(page)
    assert structure.open == []
    assert [
        a for a in structure.addresses if not a.startswith(("data:image/jpeg;base64,", "#", "comparison.csv"))
    ] == []
    assert "@import" not in page
    assert "<script" not in page


def test_ids_are_unique_and_references_resolve(page: str) -> None:
    structure = Structure()
    structure.feed(page)
    assert len(structure.ids) == len(set(structure.ids))
    assert {a[1:] for a in structure.addresses if a.startswith("#")} <= set(structure.ids)
    assert set(re.findall(r"url\(#([^)]+)\)", page)) <= set(structure.ids)


def test_text_from_the_data_is_escaped(page: str) -> None:
    assert "disc 34 &lt;b&gt;" in page
    assert "<b>" not in page
    assert "CC0 &lt;1.0&gt;" in page
    assert "nobody &amp; sons" in page


def test_numbers_of_the_table_are_those_of_the_comparison(finished: Project, page: str) -> None:
    from relalign.comparison.stage import read_comparison

    comparison = read_comparison(finished[1].results / "comparison.csv")
    row = re.search(r'<th class="name" scope="row">good.*?</tr>', page, re.DOTALL)
    assert row
    shown = re.findall(r'<span class="(?:best)?">([\d.]+)</span>', row[0])
    entries = comparison.entries["good"]
    assert shown[6] == f"{entries['rsum'].value:.1f}"
    assert shown[7] == f"{entries['i2i/ndcg@10'].value:.1f}"
    assert len(shown) == 9


def test_what_validation_left_out_is_said(page: str) -> None:
    text = " ".join(page.split())
    assert "Images left out: 2 truncated." in text
    assert "Captions left out: 1 empty." in text
    assert "4 groups of near-duplicate images. 1 of their images" in text


def test_it_shows_what_training_does_to_relations_within_each_modality(page: str) -> None:
    for what in ("image to image", "text to text"):
        assert f"Relations from the start on, {what}" in page


def test_missing_optional_numbers_leave_blanks_and_no_figure(tmp_path: Path) -> None:
    params, layout = make_project(tmp_path)
    table = (layout.results / "comparison.csv").read_text().splitlines()
    head = table[0].split(",")
    kept = [place for place, name in enumerate(head) if not name.startswith(("t2t/", "i2t/recall@10"))]
    lines = [",".join(line.split(",")[place] for place in kept) for line in table]
    (layout.results / "comparison.csv").write_text("\n".join(lines) + "\n")
    (layout.pairs / "validation.json").unlink()
    for file in layout.results.glob("*/seed*/metrics.json"):
        metrics = json.loads(file.read_text())
        file.write_text(json.dumps({name: value for name, value in metrics.items() if "t2t" not in name}))
    write_report(params, layout)
    page = (layout.results / "report.html").read_text()
    assert "text → text" not in page.split('id="all"')[0].split("<figure>")[0]
    assert "Validation decoded" not in page
    assert "nDCG@10, text → text" not in page
    assert ">nan<" not in page


def test_a_missing_run_is_a_readable_error(tmp_path: Path) -> None:
    params, layout = make_project(tmp_path)
    (layout.run("good", 1) / "metrics.json").unlink()
    with pytest.raises(RelalignError, match=r"good/seed1/metrics\.json is missing"):
        write_report(params, layout)
