"""Captions come from anybody: in the report they are text, in a real browser too."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

pytest.importorskip("selenium", reason="selenium is not installed (requirements/dev.in)")

from relalign.data.caption_checks import check_captions
from relalign.data.readers.row import Row
from relalign.layout import Layout
from relalign.report import write_report
from relalign.settings import Params
from relalign.system.artifacts import publish
from tests.serve.browser import CHROMIUM, chromium

ACTIVE = "return document.querySelectorAll('script, [onerror], [onload], parsererror').length"
SHOWN = "return [...document.querySelectorAll('.captions li')].map((item) => item.textContent)"
TAKEN = "document.title = 'taken'"
HOSTILE = (
    f"<script>{TAKEN}</script>",
    f'"><img src=x onerror="{TAKEN}">',
    f'</title></style><svg onload="{TAKEN}">',
    "{{ 7 * 7 }}{% raw %}",
    "\u202eesrever\u202c \uffff &lt;b&gt;",
)


@pytest.fixture
def hostile(finished: tuple[Params, Layout], tmp_path: Path) -> tuple[Params, Layout]:
    params, layout = finished
    copy = Layout(tmp_path / "copy", layout.dataset)
    shutil.copytree(layout.root, copy.root)
    pairs = pd.read_parquet(copy.pairs / "pairs.parquet")
    rows = [Row("", f"{HOSTILE[row % len(HOSTILE)]} \x1b[2J {row}", None, "") for row in range(len(pairs))]
    pairs["caption"] = [row.caption for row in check_captions(rows)[0]]
    kept = (copy.pairs / "validation.json").read_text()
    with publish(copy.pairs, made_by="tests") as draft:
        pairs.to_parquet(draft / "pairs.parquet")
        (draft / "validation.json").write_text(kept)
    return params, copy


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium and chromedriver")
def test_a_caption_that_is_a_script_stays_text_in_the_report_and_its_pictures(
    hostile: tuple[Params, Layout],
) -> None:
    params, layout = hostile
    write_report(params, layout)
    page = layout.results / "report.html"
    with chromium() as browser:
        browser.get(page.as_uri())
        assert browser.title != "taken"
        assert browser.execute_script(ACTIVE) == 0
        shown = browser.execute_script(SHOWN)
        for text in HOSTILE[:4]:
            assert any(text in caption for caption in shown), text
        browser.get((layout.results / "examples.svg").as_uri())
        assert browser.execute_script(ACTIVE) == 0
