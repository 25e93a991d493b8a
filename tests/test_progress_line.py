"""What a person sees of a Snakemake run: one line of progress, and every error in full."""

import io
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from snakemake_interface_logger_plugins.common import LogEvent

import snakemake_logger_plugin_relalign as plugin


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def handler(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, **changes: Any) -> plugin.LogHandler:
    monkeypatch.delenv(plugin.VERBOSE, raising=False)
    monkeypatch.setattr("sys.stderr", stream)
    settings = {"printshellcmds": True, "nocolor": True, "quiet": None, "debug_dag": False, "verbose": False}
    settings |= {"show_failed_logs": False, "stdout": False, "dryrun": False, **changes}
    return plugin.LogHandler(SimpleNamespace(**settings), None)


def record(message: str = "", level: int = logging.INFO, **fields: Any) -> logging.LogRecord:
    made = logging.LogRecord("snakemake", level, "", 0, message, None, None)
    vars(made).update(fields)
    return made


def run(shown: plugin.LogHandler) -> None:
    shown.emit(record("Building DAG of jobs..."))
    shown.emit(record("job stats", event=LogEvent.RUN_INFO, stats={"total": 3}))
    for number, name in enumerate(("train", "evaluate")):
        wildcards = {"dataset": "toy", "method": "covlr", "seed": "1"}
        shown.emit(record(event=LogEvent.JOB_INFO, jobid=number, rule_name=name, wildcards=wildcards))
        shown.emit(record(event=LogEvent.JOB_STARTED, jobs=[number]))
    shown.emit(record(event=LogEvent.JOB_FINISHED, job_id=0))


def test_a_terminal_shows_jobs_done_of_all_and_what_is_running(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    shown = handler(monkeypatch, stream)
    run(shown)
    last = stream.getvalue().split("\r")[-1].strip()
    assert last.startswith("1 of 3 jobs, ")
    assert last.endswith("left, | evaluate covlr 1") or last.endswith("| evaluate covlr 1")
    assert "Building" not in stream.getvalue()
    shown.close()


def test_without_a_terminal_there_are_few_whole_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    shown = handler(monkeypatch, stream)
    run(shown)
    shown.emit(record("Complete log(s): here"))
    lines = stream.getvalue().splitlines()
    assert len(lines) == 3
    assert lines[-2].startswith("1 of 3 jobs, ")
    assert lines[-1] == "Complete log(s): here"


def test_errors_and_warnings_are_shown_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    shown = handler(monkeypatch, stream)
    run(shown)
    shown.emit(record("the disk is full", logging.ERROR))
    shown.emit(record("an old file", logging.WARNING))
    assert "the disk is full" in stream.getvalue()
    assert "an old file" in stream.getvalue()


@pytest.mark.parametrize("how", ["dryrun", "verbose", "environment"])
def test_dry_runs_and_verbose_runs_show_snakemakes_own_log(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    stream = io.StringIO()
    shown = handler(monkeypatch, stream, **({} if how == "environment" else {how: True}))
    if how == "environment":
        monkeypatch.setenv(plugin.VERBOSE, "1")
        shown.__post_init__()
    shown.emit(record("Building DAG of jobs..."))
    assert "Building DAG of jobs..." in stream.getvalue()


def test_what_a_job_warned_of_is_shown_once_when_it_ends(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stream = io.StringIO()
    shown = handler(monkeypatch, stream)
    log = tmp_path / "validate.log"
    log.write_text("10:00:00,1 INFO fine\n" + "10:00:00,2 WARNING skipped: 5 images\n" * 2)
    shown.emit(record("job stats", event=LogEvent.RUN_INFO, stats={"total": 1}))
    shown.emit(record(event=LogEvent.JOB_INFO, jobid=0, rule_name="validate", wildcards={}, log=[str(log)]))
    shown.emit(record(event=LogEvent.JOB_STARTED, jobs=[0]))
    assert "5 images" not in stream.getvalue()
    shown.emit(record(event=LogEvent.JOB_FINISHED, job_id=0))
    assert stream.getvalue().count(f"{log}: skipped: 5 images") == 1
    assert "fine" not in stream.getvalue()
