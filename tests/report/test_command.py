"""`relalign table` prints what was compared and where to read more."""

from pathlib import Path

import pytest
import yaml

from relalign.cli import main
from relalign.layout import Layout
from relalign.settings import Params


def test_the_comparison_is_printed_with_the_place_of_the_report(
    finished: tuple[Params, Layout], capsys: pytest.CaptureFixture[str]
) -> None:
    params, layout = finished
    path = layout.root / "params.yaml"
    path.write_text(yaml.safe_dump(params.model_dump(mode="json", by_alias=True)))
    assert main(["table", "--params", str(path)]) == 0
    printed = capsys.readouterr().out
    assert "good" in printed
    assert "i2t@1" in printed
    assert str(layout.results / "report.html") in printed


def test_without_a_comparison_it_says_how_to_make_one(
    finished: tuple[Params, Layout], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(finished[0].model_dump(mode="json", by_alias=True)))
    assert main(["table", "--params", str(path)]) == 2
    assert "comparison.csv is missing" in capsys.readouterr().err
