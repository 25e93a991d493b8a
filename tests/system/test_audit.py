"""`make audit` fails for a known hole, and only warns where nobody can be asked."""

import subprocess
from pathlib import Path

import pytest

AUDIT = Path(__file__).parents[2] / "requirements/audit.sh"


@pytest.mark.parametrize(
    ("said", "ends_with", "status", "warns"),
    [
        ("No known vulnerabilities found", 0, 0, False),
        ("Found 1 known vulnerability in 1 package\npillow 1.0 PYSEC-1 2.0", 1, 1, False),
        ("ERROR:pip_audit._cli:invalid requirement: base.lock", 1, 1, False),
        ("Traceback\nrequests.exceptions.ProxyError: HTTPSConnectionPool(...)", 1, 0, True),
        ("ERROR:pip_audit._cli:Could not connect to PyPI's vulnerability feed", 1, 0, True),
    ],
)
def test_a_known_hole_fails_and_a_database_out_of_reach_only_warns(
    tmp_path: Path, said: str, ends_with: int, status: int, warns: bool
) -> None:
    (tmp_path / "said.txt").write_text(said)
    program = tmp_path / "pip-audit"
    program.write_text(f'#!/bin/sh\ncat "{tmp_path}/said.txt" >&2\nexit {ends_with}\n')
    program.chmod(0o755)
    done = subprocess.run([AUDIT, program], capture_output=True, text=True, check=False)
    assert done.returncode == status
    assert said in done.stdout
    assert ("cannot be reached" in done.stderr) == warns
