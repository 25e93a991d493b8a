"""Text on its way to a terminal."""


def printable(text: str) -> str:
    """A text without what would steer a terminal or turn its letters around; lines and tabs stay.

    >>> printable("a\x1b[2Jb\n")
    'a�[2Jb\n'
    """
    return "".join(
        letter if letter.isprintable() or letter in "\n\t" else "\N{REPLACEMENT CHARACTER}" for letter in text
    )
