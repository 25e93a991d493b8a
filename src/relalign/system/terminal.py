"""Text on its way to a terminal."""

import logging
import sys


def printable(text: str) -> str:
    """A text without what would steer a terminal or turn its letters around; lines and tabs stay.

    >>> printable("a\x1b[2Jb\n")
    'a�[2Jb\n'
    """
    return "".join(
        letter if letter.isprintable() or letter in "\n\t" else "\N{REPLACEMENT CHARACTER}" for letter in text
    )


class _Printable(logging.Formatter):
    """Names and captions in messages may come from anybody."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def log_to_terminal(level: int) -> None:
    """Write what is logged from a level on to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Printable("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=level, handlers=[handler])
