import math

import pytest

from relalign.objectives.annealing import annealed_weight


def test_exponential_annealing_starts_at_e_to_minus_five_and_ends_at_one():
    assert annealed_weight(0.0, "exp") == pytest.approx(math.exp(-5))
    assert annealed_weight(0.5, "exp") == pytest.approx(0.0821, abs=1e-4)
    assert annealed_weight(1.0, "exp") == 1.0


def test_linear_and_log_annealing_rise_from_zero_and_log_is_ahead():
    assert annealed_weight(0.0, "linear") == annealed_weight(0.0, "log") == 0.0
    assert annealed_weight(0.3, "linear") == 0.3
    assert annealed_weight(0.3, "log") == pytest.approx(1 - math.exp(-1.5))
    assert annealed_weight(0.3, "constant") == 1.0
