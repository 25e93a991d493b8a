"""The same function over many items on all cores, in order, with a progress bar."""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from tqdm import tqdm

from relalign.errors import RelalignError

Item = TypeVar("Item")
Result = TypeVar("Result")

_SMALL = 64  # below this, starting processes costs more than it saves


def usable_cores() -> int:
    """How many cores this process may use (fewer than the machine has, under a scheduler or in a container)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_on_all_cores(
    function: Callable[[Item], Result], items: Sequence[Item], *, description: str
) -> Iterator[Result]:
    """Yield `function(item)` for each item, in the items' order.

    `function` must be importable by name (it travels to other processes). An error in it ends the iteration.
    """
    workers = min(usable_cores(), -(-len(items) // _SMALL))
    with tqdm(total=len(items), desc=description, leave=False, disable=None) as bar:
        for result in map(function, items) if workers <= 1 else _on_processes(function, items, workers):
            bar.update()
            yield result


def _on_processes(function: Callable[[Item], Result], items: Sequence[Item], workers: int) -> Iterator[Result]:
    # Not fork: the parent may hold threads (torch, tqdm), whose locks a forked child would inherit locked.
    context = multiprocessing.get_context("spawn")
    chunk = max(1, min(64, len(items) // (4 * workers)))
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        try:
            yield from pool.map(function, items, chunksize=chunk)
        except BrokenProcessPool as error:
            raise RelalignError(
                "A worker process was killed, most likely for want of memory. Lower validate.max_pixels or run "
                "on fewer cores (taskset -c 0)."
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)
