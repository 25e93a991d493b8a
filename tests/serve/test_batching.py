"""What waits together is computed together; what fails, gives up or is too much harms nobody else."""

import asyncio
import threading
from collections.abc import Sequence

import pytest

from relalign.serve.batching import Batched, BusyError


class Work:
    """Doubles numbers, once it may; an odd batch size of 13 is its bad luck."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.may = threading.Event()

    def __call__(self, items: Sequence[int]) -> list[int]:
        assert self.may.wait(5)
        self.batches.append(list(items))
        if 13 in items:
            raise ValueError("bad luck")
        return [2 * item for item in items]


async def waiting(batched: Batched, items: Sequence[int]) -> list[asyncio.Task]:
    tasks = []
    for item in items:
        tasks.append(asyncio.create_task(batched(item)))
        await asyncio.sleep(0.01)
    return tasks


def test_what_waits_is_one_batch_of_bounded_size_and_each_gets_its_own() -> None:
    async def run() -> None:
        work = Work()
        tasks = await waiting(Batched(work, at_once=3), range(6))
        work.may.set()
        assert await asyncio.gather(*tasks) == [0, 2, 4, 6, 8, 10]
        assert work.batches == [[0], [1, 2, 3], [4, 5]]

    asyncio.run(run())


def test_an_error_is_that_of_its_batch_alone() -> None:
    async def run() -> None:
        work = Work()
        batched = Batched(work)
        tasks = await waiting(batched, [1, 13, 2])
        work.may.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert results[0] == 2
        assert {type(result) for result in results[1:]} == {ValueError}
        assert await batched(4) == 8

    asyncio.run(run())


def test_who_gives_up_leaves_the_line() -> None:
    async def run() -> None:
        work = Work()
        tasks = await waiting(Batched(work), [1, 2, 3])
        tasks[0].cancel()
        tasks[1].cancel()
        await asyncio.sleep(0.01)
        work.may.set()
        assert await tasks[2] == 6
        assert work.batches == [[1], [3]]

    asyncio.run(run())


def test_too_long_a_line_is_refused_at_once() -> None:
    async def run() -> None:
        work = Work()
        batched = Batched(work, waiting_at_most=2)
        tasks = await waiting(batched, [1, 2, 3])
        with pytest.raises(BusyError):
            await batched(4)
        work.may.set()
        assert await asyncio.gather(*tasks) == [2, 4, 6]

    asyncio.run(run())
