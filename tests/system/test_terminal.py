"""What others have written cannot steer the terminal of whoever reads it."""

import logging

import pytest

from relalign import cli
from relalign.errors import RelalignError

HOSTILE = "a\x1b]0;taken\x07\x9b2J\u202egpj.exe\r.jpg"
SEEN = "a\ufffd]0;taken\ufffd\ufffd2J\ufffdgpj.exe\ufffd.jpg"


def test_a_hostile_name_in_an_error_or_a_warning_steers_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging, "root", logging.RootLogger(logging.INFO))  # without pytest's own handlers

    def fails(options: object) -> None:
        logging.root.warning("skipped %s", HOSTILE)
        raise RelalignError(f"{HOSTILE}: is no image.\nMend it.")

    monkeypatch.setattr(cli, "_print_schema", fails)
    assert cli.main(["schema"]) == 2
    said = capsys.readouterr().err
    assert f"WARNING skipped {SEEN}\n" in said
    assert f"error: {SEEN}: is no image.\nMend it.\n" in said
