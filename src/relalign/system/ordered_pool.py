"""Many batches on many cores, one core each."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_on_cores(work: Callable[[Item], Result], items: Iterable[Item], *, cores: int) -> Iterator[Result]:
    """`work` of each item, in order, on `cores` threads in which torch itself uses one thread.

    Splitting each operation over threads, as torch does by default, waits for the slowest thread hundreds of
    times a batch: on cores shared with other processes that is several times slower, and results depend on the
    number of threads. Here they do not. At most `2 * cores` items are under way. An error in `work` is raised
    when its turn comes.
    """
    threads = torch.get_num_threads()
    under_way: deque[Future[Result]] = deque()
    try:
        with ThreadPoolExecutor(cores, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            try:
                for item in items:
                    under_way.append(pool.submit(work, item))
                    if len(under_way) >= 2 * cores:
                        yield under_way.popleft().result()
                while under_way:
                    yield under_way.popleft().result()
            finally:
                pool.shutdown(cancel_futures=True)
    finally:
        torch.set_num_threads(threads)
