"""How the weight of an auxiliary loss grows over training (IAIS; the schedules of UDA's signal annealing)."""

from collections.abc import Callable
from math import exp
from typing import Literal

Schedule = Literal["exp", "linear", "log", "constant"]

_SCHEDULES: dict[Schedule, Callable[[float], float]] = {
    "exp": lambda progress: exp(5 * (progress - 1)),
    "linear": lambda progress: progress,
    "log": lambda progress: 1 - exp(-5 * progress),
    "constant": lambda progress: 1.0,
}


def annealed_weight(progress: float, schedule: Schedule) -> float:
    """The weight in [0, 1] at `progress` in [0, 1]; "exp" is IAIS's: 0.0067 at 0, 0.082 at 0.5, 1 at 1."""
    return _SCHEDULES[schedule](progress)
