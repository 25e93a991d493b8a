"""What waits while others are computed is computed together next: under load, batches form by themselves."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class BusyError(Exception):
    """More waits already than is worth waiting behind."""


class Batched(Generic[Item, Result]):
    """Calls `work` on one batch after the other, always in the same thread; a call returns its own item's result.

    An error in `work` is raised for all items of its batch. With `waiting_at_most` items in line, a call raises
    `BusyError` at once. Whoever gives up leaves the line.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Item]], Sequence[Result]],
        *,
        at_once: int = 32,
        waiting_at_most: int = 128,
    ) -> None:
        self._work, self._at_once, self._waiting_at_most = work, at_once, waiting_at_most
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._running: asyncio.Task[None] | None = None
        # One thread, because OpenMP keeps a team of workers for each that it is called from.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="search")

    async def __call__(self, item: Item) -> Result:
        """The result of one item."""
        if len(self._waiting) >= self._waiting_at_most:
            raise BusyError
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run())
        return await future

    async def _run(self) -> None:
        while self._waiting:
            taken, self._waiting = self._waiting[: self._at_once], self._waiting[self._at_once :]
            batch = [(item, future) for item, future in taken if not future.done()]
            if not batch:
                continue
            try:
                items = [item for item, _ in batch]
                results = await asyncio.get_running_loop().run_in_executor(self._thread, self._work, items)
            except Exception as error:  # whatever it is, somebody waits for it
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
            else:
                for (_, future), result in zip(batch, results, strict=True):
                    if not future.done():
                        future.set_result(result)
