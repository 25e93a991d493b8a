"""Side work that may never fail or hold up the main work: one thread, one warning, one bounded wait."""

import logging
import queue
import threading
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)

LONGEST = 5  # times the patience, for all that is left together


class BestEffort:
    """Runs side work in order on a daemon thread.

    The first failure is one warning and everything after it is dropped. `close` waits for what is left, but for
    no piece of work longer than `patience` seconds, counted from its start, so that a server which has been silent
    all along costs nothing more at the end. One that answers, if slowly, as many ask it at once, is waited for up
    to `LONGEST` times as long. `advice` ends the warning.

    >>> side = BestEffort("counting", patience=1.0)
    >>> done = []
    >>> side.submit(lambda: done.append(1)); side.submit(lambda: done.append(2)); side.close()
    True
    >>> done
    [1, 2]
    """

    def __init__(self, what: str, *, patience: float, advice: str = ""):
        self._what = what
        self._advice = advice
        self._patience = patience
        self._work: queue.SimpleQueue[tuple[Callable[[], None], bool] | None] = queue.SimpleQueue()
        self._busy_since: float | None = None
        self._failed = False
        self._thread = threading.Thread(target=self._loop, name=f"{what} (best effort)", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[], None], *, asks: bool = True) -> None:
        """Queue a piece of work; returns at once. What asks nobody (an import) may take all the time there is."""
        if not self._failed:
            self._work.put((work, asks))

    def close(self) -> bool:
        """Wait for the queued work as said above; True if all of it was done."""
        self._work.put(None)
        end = time.monotonic() + LONGEST * self._patience
        while self._thread.is_alive() and not self._failed:
            deadline = min(end, (self._busy_since or time.monotonic()) + self._patience)
            if deadline <= time.monotonic():
                self._give_up(f"no answer within {self._patience:g} s")
            self._thread.join(max(0.0, deadline - time.monotonic()))
        return not self._failed

    def _loop(self) -> None:
        while (item := self._work.get()) is not None:
            work, asks = item
            self._busy_since = time.monotonic() if asks else None
            try:
                work()
            except BaseException as error:  # side work may raise anything, SystemExit included
                if not self._failed:
                    self._give_up(f"{type(error).__name__}: {error}")
                return
            self._busy_since = None

    def _give_up(self, reason: str) -> None:
        self._failed = True
        first_line = (reason.splitlines() or [""])[0]
        logger.warning("%s stopped, the work itself goes on: %s%s", self._what, first_line, self._advice)
