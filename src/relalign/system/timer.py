"""Doing something every so many seconds of a long work."""

import time


class Every:
    """A call is true when `seconds` have passed since it was made or last true."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.last = time.monotonic()

    def __call__(self) -> bool:
        """Is it time?"""
        now = time.monotonic()
        due = now - self.last >= self.seconds
        if due:
            self.last = now
        return due
