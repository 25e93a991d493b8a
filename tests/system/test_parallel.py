import pytest

from relalign.system.parallel import map_on_all_cores


def double(number: int) -> int:
    return 2 * number


def fail_on_ninety(number: int) -> int:
    if number == 90:
        raise ValueError("ninety")
    return number


@pytest.mark.parametrize("count", [0, 1, 200])
def test_results_come_in_the_order_of_the_items(count: int) -> None:
    numbers = list(range(count))
    assert list(map_on_all_cores(double, numbers, description="double")) == [2 * number for number in numbers]


def test_error_in_a_worker_reaches_the_caller() -> None:
    with pytest.raises(ValueError, match="ninety"):
        list(map_on_all_cores(fail_on_ninety, list(range(200)), description="fail"))
