"""A hash of what source files do: it ignores comments, docstrings and layout, and changes with everything else."""

import ast
import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path


def source_hash(files: Iterable[Path]) -> str:
    """sha256 over the syntax trees of Python files, docstrings removed, in the order given.

    `x=1  # one` and `x = 1` have equal hashes; `x = 2` another.
    """
    return hashlib.sha256(
        "\n".join(_meaning(path.read_text(encoding="utf-8")) for path in files).encode()
    ).hexdigest()


@cache
def _meaning(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [statement for statement in node.body if not _is_text(statement)]
    return ast.dump(tree)


def _is_text(statement: ast.stmt) -> bool:
    """A bare string, which does nothing: a docstring."""
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )
