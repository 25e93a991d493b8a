"""Sources of images with captions: one file a source, each yielding the same rows."""

from importlib import import_module
from typing import cast

from relalign.data.readers.row import Reader
from relalign.settings.dataset import Dataset


def reader(dataset: Dataset) -> Reader:
    """The module of this package that understands the dataset's files."""
    return cast(Reader, import_module(f"relalign.data.readers.{dataset.reader}"))
