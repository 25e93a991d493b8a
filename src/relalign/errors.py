"""The one exception a user is meant to read."""


class RelalignError(Exception):
    """Bad input: the message names the file, row or key and says how to mend it."""
