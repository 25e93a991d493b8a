import time

import pytest
import torch

from relalign.system.ordered_pool import map_on_cores


@pytest.mark.parametrize("cores", [1, 3])
def test_results_come_in_order_however_long_each_takes(cores: int) -> None:
    def work(item: int) -> int:
        time.sleep(0.005 * (item % 3 == 0))
        return item * item

    assert list(map_on_cores(work, range(20), cores=cores)) == [item * item for item in range(20)]


def test_each_worker_uses_one_thread_and_the_callers_number_is_restored() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert set(map_on_cores(lambda _: torch.get_num_threads(), range(8), cores=2)) == {1}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_an_error_is_raised_in_its_turn_and_stops_the_rest() -> None:
    started = []

    def work(item: int) -> int:
        started.append(item)
        if item == 3:
            raise ValueError("three")
        return item

    results = map_on_cores(work, range(1000), cores=2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)
    assert len(started) < 20


def test_items_are_taken_only_as_they_are_needed() -> None:
    taken = []
    items = (taken.append(item) or item for item in range(1000))
    results = map_on_cores(lambda item: item, items, cores=2)
    next(results)
    assert len(taken) <= 4
    results.close()
