from pathlib import Path

import pytest

from relalign.system.source_hash import source_hash

SOURCE = 'def f(x):\n    """Twice."""\n    return 2 * x\n'


def _hash(folder: Path, source: str) -> str:
    (folder / "m.py").write_text(source)
    return source_hash([folder / "m.py"])


@pytest.mark.parametrize(
    "same",
    [
        'def f(x):\n    """Two times."""\n    return 2 * x\n',
        "# a remark\ndef f(x):\n\n    return (2*x)  # twice\n",
        '"""A module."""\n\ndef f(x):\n    return 2 * x\n',
    ],
)
def test_comments_docstrings_and_layout_do_not_count(same: str, tmp_path: Path) -> None:
    assert _hash(tmp_path, same) == _hash(tmp_path, SOURCE)


@pytest.mark.parametrize("other", ["def f(x):\n    return 3 * x\n", "def g(x):\n    return 2 * x\n", ""])
def test_everything_else_counts(other: str, tmp_path: Path) -> None:
    assert _hash(tmp_path, other) != _hash(tmp_path, SOURCE)


def test_the_order_of_files_counts(tmp_path: Path) -> None:
    first, second = tmp_path / "a.py", tmp_path / "b.py"
    first.write_text("x = 1")
    second.write_text("x = 2")
    assert source_hash([first, second]) != source_hash([second, first])
