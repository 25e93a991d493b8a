"""Side work keeps its order, warns once, and is waited for no longer than agreed."""

import logging
import threading
import time

import pytest

from relalign.system.best_effort import BestEffort


def test_work_is_done_in_order() -> None:
    side, done = BestEffort("counting", patience=10.0), []
    for number in range(100):
        side.submit(lambda number=number: done.append(number))
    assert side.close()
    assert done == list(range(100))


def test_the_first_failure_is_one_warning_and_ends_the_side_work(caplog: pytest.LogCaptureFixture) -> None:
    side, done = BestEffort("counting", patience=10.0), []
    side.submit(lambda: done.append(1 // 0))
    for _ in range(5):
        side.submit(lambda: done.append(1 // 0))
    assert not side.close()
    assert done == []
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "ZeroDivisionError" in caplog.text


def test_even_an_exit_stays_on_its_thread() -> None:
    side = BestEffort("leaving", patience=10.0)
    side.submit(lambda: exit(3))
    assert not side.close()


def test_work_that_has_been_stuck_all_along_is_not_waited_for_again(caplog: pytest.LogCaptureFixture) -> None:
    released = threading.Event()
    side = BestEffort("waiting", patience=0.3)
    side.submit(lambda: released.wait(30) and None)
    time.sleep(0.5)
    started = time.monotonic()
    assert not side.close()
    assert time.monotonic() - started < 0.2
    released.set()
    assert len(caplog.records) == 1


def test_work_that_goes_on_slowly_is_waited_for_as_long_as_it_goes_on() -> None:
    side, done = BestEffort("answering", patience=0.4), []
    for _ in range(6):
        side.submit(lambda: time.sleep(0.2))
    side.submit(lambda: done.append("all"))
    assert side.close()
    assert done == ["all"]


def test_work_that_asks_nobody_may_take_longer() -> None:
    side = BestEffort("importing", patience=0.2)
    side.submit(lambda: time.sleep(0.4), asks=False)
    assert side.close()


def test_work_that_goes_on_without_end_is_given_up() -> None:
    side, started = BestEffort("answering", patience=0.1), time.monotonic()
    for _ in range(100):
        side.submit(lambda: time.sleep(0.05))
    assert not side.close()
    assert time.monotonic() - started < 2.5
