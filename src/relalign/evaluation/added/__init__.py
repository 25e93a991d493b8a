"""Metrics that someone adds: a file here with `measure(embeddings, known)` is found by itself (docs/extend.md)."""

from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from relalign.metrics.measurement import Measurement
from relalign.retrieval.embeddings import Embeddings


def measure_added(embeddings: Embeddings, known: Any) -> list[Measurement]:
    """The measurements of every file here, in the order of their names; `known` is
    `relalign.evaluation.suite.Knowledge`."""
    names = sorted(module.name for module in iter_modules(__path__))
    return [item for name in names for item in import_module(f"{__name__}.{name}").measure(embeddings, known)]
