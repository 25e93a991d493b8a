import subprocess
import sys

import pytest

PROBE = """
import resource, sys
from relalign.system.memory import keep_freed_memory
if "keep" in sys.argv and not keep_freed_memory():
    sys.exit(77)
import numpy as np
for _ in range(5):
    np.ones(8_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


def page_faults(*arguments: str) -> int:
    ran = subprocess.run([sys.executable, "-c", PROBE, *arguments], capture_output=True, text=True, check=False)
    if ran.returncode == 77:
        pytest.skip("no glibc")
    return int(ran.stdout)


def test_large_arrays_are_reused_instead_of_mapped_afresh() -> None:
    assert page_faults("keep") < page_faults() - 3 * (64_000_000 // 2**21)
