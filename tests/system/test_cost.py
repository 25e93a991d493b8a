"""What a job cost, as its log says."""

import logging

import pytest

from relalign.system.cost import cost_in, cost_logged


def test_cost_can_be_read_from_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with cost_logged():
        pass
    cost = cost_in(caplog.text)
    assert cost is not None
    seconds, cpu, peak = cost
    assert 0 <= seconds < 60
    assert cpu > 0
    assert 10 < peak < 100_000


def test_an_error_is_the_last_that_a_failed_job_says(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with pytest.raises(ValueError, match="planted"), cost_logged():
        raise ValueError("planted")
    assert caplog.text == ""


def test_last_cost_of_a_log_counts_and_a_log_may_have_none() -> None:
    line = "took {} s, 2.00 s of CPU, at most 3 MB\n"
    assert cost_in(line.format("1.00") + line.format("9.50")) == (9.5, 2.0, 3.0)
    assert cost_in("waiting") is None
