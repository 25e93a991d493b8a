"""Runs are trained once for all tests that only read them."""

from collections.abc import Callable
from functools import cache

import pytest

from relalign.layout import Layout
from relalign.settings import Params
from tests.raw_runs import trained_run

RunOf = Callable[[str], tuple[Params, Layout, str]]


@pytest.fixture(scope="session")
def run_of(tmp_path_factory: pytest.TempPathFactory) -> RunOf:
    """The project and the method of a kind of run in `RUNS`; not to be changed."""
    return cache(lambda kind: trained_run(tmp_path_factory.mktemp("project"), kind))
