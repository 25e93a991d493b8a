"""The list of promises does not rot: its tests exist, its mutations fit the sources, its page is that of it."""

import ast
from pathlib import Path

import pytest

from tests.reliability.promises import PROMISES, Promise, page

REPOSITORY = Path(__file__).parents[2]
EACH = pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: f"{promise.number}-{promise.broken}")


def test_every_promise_is_in_the_list_in_order() -> None:
    numbers = [promise.number for promise in PROMISES]
    assert numbers == sorted(numbers)
    assert set(numbers) == set(range(1, numbers[-1] + 1))


@EACH
def test_the_test_of_a_promise_exists(promise: Promise) -> None:
    file, _, name = promise.test.partition("::")
    tree = ast.parse((REPOSITORY / file).read_text(encoding="utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@EACH
def test_what_a_mutation_replaces_stands_once_in_its_file_and_leaves_a_file_that_can_be_read(
    promise: Promise,
) -> None:
    content = (REPOSITORY / promise.file).read_text(encoding="utf-8")
    assert content.count(promise.text) == 1
    if promise.file.endswith(".py"):
        ast.parse(content.replace(promise.text, promise.replacement))


def test_the_committed_page_is_that_of_the_list() -> None:
    committed = (REPOSITORY / "docs/reliability.md").read_text(encoding="utf-8")
    assert committed == page(), "run: python -m tests.reliability.promises > docs/reliability.md"
