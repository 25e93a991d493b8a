"""One line that says how far Snakemake is, in place of a block of text a job; found by Snakemake by its name.

    23 of 70 jobs, 02:10 left | train covlr 1, evaluate cca 0

What a job warns of is shown when it ends. Errors and dry runs look as Snakemake writes them, and so does
everything with RELALIGN_VERBOSE set (`make VERBOSE=1`). The full log is always in `.snakemake/log/`. (The
catalogue's `rich` shows a panel without the time left, and nothing where there is no terminal.)
"""

import io
import logging
import os
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Never

from snakemake.logging import ColorizingTextHandler, DefaultFilter, DefaultFormatter
from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent
from tqdm import tqdm

VERBOSE = "RELALIGN_VERBOSE"
SECONDS_BETWEEN_LINES = 20.0  # where there is no terminal, on which one line can be written anew
TOLD = ("Nothing to be done", "Complete log", "Congratulations", "Lints for")
WARNING = " WARNING "  # between time and text in the logs of this project's stages
SHOWN = {LogEvent.ERROR, LogEvent.JOB_ERROR, LogEvent.GROUP_ERROR}


class LogHandler(LogHandlerBase):
    """Draws the line; what it does not draw itself it leaves to Snakemake's own handler."""

    def __post_init__(self) -> None:
        """Start with no jobs known."""
        given = self.common_settings
        self.stream = sys.stdout if given.stdout else sys.stderr
        self.usual = ColorizingTextHandler(
            given.nocolor,
            self.stream,
            DefaultFormatter(given.quiet, given.show_failed_logs),
            DefaultFilter(given.quiet, given.debug_dag, given.verbose, given.dryrun, given.printshellcmds),
        )
        self.everything = given.dryrun or given.verbose or VERBOSE in os.environ
        self.names: dict[int, str] = {}
        self.running: dict[int, str] = {}
        self.logs: dict[int, list[str]] = {}
        self.bar: tqdm[Never] | None = None
        self.told = 0.0

    @property
    def writes_to_stream(self) -> bool:
        """Yes."""
        return True

    @property
    def writes_to_file(self) -> bool:
        """No: Snakemake's own log is in a file already."""
        return False

    @property
    def has_filter(self) -> bool:
        """Yes, by what `emit` shows."""
        return True

    @property
    def has_formatter(self) -> bool:
        """Yes."""
        return True

    @property
    def needs_rulegraph(self) -> bool:
        """No."""
        return False

    def emit(self, record: logging.LogRecord) -> None:
        """Take note of jobs that start and end; show what a person must know."""
        try:
            self._emit(record)
        except Exception:  # as logging does: a fault in showing is no fault in working
            self.handleError(record)

    def close(self) -> None:
        """Leave the last state of the line standing."""
        if self.bar is not None:
            self._draw(force=True)
            self.bar.close()
            self.bar = None
        super().close()

    def _emit(self, record: logging.LogRecord) -> None:
        event = getattr(record, "event", None)
        if self.everything:
            self.usual.handle(record)
        elif event == LogEvent.RUN_INFO:
            terminal = self.stream.isatty()
            self.bar = tqdm(
                total=vars(record)["stats"]["total"],
                file=self.stream if terminal else io.StringIO(),  # which then only counts
                bar_format="{n} of {total} jobs, {remaining} left{postfix}",
                dynamic_ncols=True,
            )
        elif event == LogEvent.JOB_INFO:
            wildcards = vars(record).get("wildcards") or {}
            shown = [str(value) for key, value in wildcards.items() if key != "dataset"]
            self.names[vars(record)["jobid"]] = " ".join([vars(record)["rule_name"], *shown])
            self.logs[vars(record)["jobid"]] = [str(path) for path in vars(record).get("log") or ()]
        elif event == LogEvent.JOB_STARTED:
            for job in vars(record)["jobs"]:
                self.running[job] = self.names.get(job, "")
            self._draw()
        elif event == LogEvent.JOB_FINISHED:
            self.running.pop(vars(record)["job_id"], None)
            if self.bar is not None:
                self.bar.update()
                self._tell_warnings(self.logs.pop(vars(record)["job_id"], []))
            self._draw()
        elif event in SHOWN or record.levelno >= logging.WARNING:
            if self.bar is not None:
                self.bar.clear()
            self.usual.handle(record)
        elif event is None and record.getMessage().startswith(TOLD):
            self.close()
            self.stream.write(f"{record.getMessage()}\n")

    def _tell_warnings(self, logs: Iterable[str]) -> None:
        """What a job warned of, such as images that it left out, would else be known to its log file alone."""
        for path in logs:
            with suppress(OSError), open(path, encoding="utf-8", errors="replace") as lines:
                told = [line.partition(WARNING)[2].strip() for line in lines if WARNING in line]
                for text in dict.fromkeys(told):
                    if self.bar is not None:
                        self.bar.clear()
                    self.stream.write(f"{path}: {text}\n")

    def _draw(self, *, force: bool = False) -> None:
        if self.bar is None:
            return
        names = ", ".join(name for name in self.running.values() if name)
        self.bar.set_postfix_str(f" | {names}" if names else "", refresh=False)
        if self.stream.isatty():
            self.bar.refresh()
        elif force or time.monotonic() - self.told > SECONDS_BETWEEN_LINES:
            self.told = time.monotonic()
            self.stream.write(f"{self.bar}\n")
            self.stream.flush()
