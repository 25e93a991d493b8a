"""What a job cost, as the last line of its log; `python -m benchmarks.pipeline` gathers these lines."""

import logging
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

_LINE = re.compile(r"took ([\d.]+) s, ([\d.]+) s of CPU, at most (\d+) MB")
_A_MEGABYTE = 1024**2 if sys.platform == "darwin" else 1024  # in the units of `ru_maxrss`


@contextmanager
def cost_logged() -> Iterator[None]:
    """Log the seconds, the CPU seconds and the peak memory of this process (its children's CPU time, too).

    Of what fails nothing is logged: its error is the last line.
    """
    import resource  # not there on Windows, where no job runs

    start = time.perf_counter()
    yield
    own, children = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    cpu = own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
    peak = own.ru_maxrss / _A_MEGABYTE
    seconds = time.perf_counter() - start
    logging.getLogger(__name__).info("took %.2f s, %.2f s of CPU, at most %.0f MB", seconds, cpu, peak)


def cost_in(log: str) -> tuple[float, float, float] | None:
    """Seconds, CPU seconds and MB, of the last such line of a log; None without one."""
    found = _LINE.findall(log)
    if not found:
        return None
    seconds, cpu, peak = map(float, found[-1])
    return seconds, cpu, peak
