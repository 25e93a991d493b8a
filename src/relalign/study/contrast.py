"""Differences between systems with their uncertainty: over test images, over seeds, over points."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata, t

from relalign.comparison.paired import System
from relalign.metrics.correlation import correlation
from relalign.metrics.crossed import Errors, crossed_errors, interval, two_sided_p
from relalign.metrics.significance import sign_flip_test
from relalign.settings.evaluate import Evaluate


@dataclass(frozen=True)
class Contrast:
    """A difference (or a correlation) with its interval and two-sided p-value.

    `seeds` is how many seeds it is the mean over (0: it is not over seeds), `seed_sd` the standard deviation over
    them; None for one seed. `images` is over how many images (0: not over images). With `errors` it can be asked
    other questions than whether it is zero. `earlier`: it was made from what an earlier study printed.
    """

    difference: float
    low: float
    high: float
    p: float
    seed_sd: float | None = None
    seeds: int = 0
    images: int = 0
    errors: Errors | None = None
    earlier: bool = False


def contrast(systems: Sequence[tuple[float, System]], metric: str, settings: Evaluate) -> Contrast:
    """The weighted sum of one metric over systems, such as (1.0, a), (-1.0, b) for a less b.

    Interval and test are over seeds and images; over images alone where there is one seed. They are paired by seed
    and image: all systems have the same seeds in one order, and `estimates` of the same bootstrap samples.
    """
    each = np.asarray(sum(weight * np.array(system.values[metric]) for weight, system in systems))
    estimates = np.asarray(sum(weight * system.estimates[metric] for weight, system in systems))
    images = min(system.sizes[metric][1] for _, system in systems)
    low, high = interval(each, estimates, images, settings.confidence)
    mean = float(np.mean(each))
    if len(each) > 1:
        errors = crossed_errors(each, estimates, images)
        p = float(two_sided_p(np.array([mean]), [errors])[0])
        return Contrast(mean, low, high, p, _deviation(each), len(each), images, errors)
    of_images = np.asarray(sum(weight * system.contributions[metric] for weight, system in systems))
    tested = sign_flip_test(of_images[:, None], permutations=settings.permutations, seed=settings.resampling_seed)
    return Contrast(mean, low, high, float(tested[0]), None, 1, images)


def difference(plus: System, minus: System, metric: str, settings: Evaluate) -> Contrast:
    """One system less another."""
    return contrast([(1.0, plus), (-1.0, minus)], metric, settings)


def slope_weights(rates: Sequence[float]) -> list[float]:
    """By what to weight values at these rates for how much they grow over the range of rates, by least squares.

    >>> slope_weights([0.0, 0.5, 1.0])
    [-1.0, 0.0, 1.0]
    """
    centred = np.array(rates) - np.mean(rates)
    return [float(weight) for weight in centred * np.ptp(rates) / (centred @ centred)]


def over_seeds(values: Sequence[float], confidence: float) -> Contrast:
    """The mean of one number a seed, from two seeds on, by Student's t: for what no image has a share in.

    Where all are equal, which leaves t without a scale, p is that of the sign test.
    """
    mean, deviation, freedom = float(np.mean(values)), float(np.std(values, ddof=1)), len(values) - 1
    error = deviation / len(values) ** 0.5
    reach = float(t.ppf((1 + confidence) / 2, freedom)) * error
    p = 2 * float(t.sf(abs(mean) / error, freedom)) if error > 0 else 2.0**-freedom if mean else 1.0
    return Contrast(mean, mean - reach, mean + reach, p, deviation, len(values))


def correlations_over_seeds(values: Sequence[float], settings: Evaluate) -> Contrast:
    """The mean of one correlation a seed, from two seeds on, with the sign-flip test over seeds.

    Correlations of few points pile up at 1, where Student's t would take their lack of spread for certainty; five
    seeds that all agree have p = 1/16. For the same reason there is no interval but the range over seeds.
    """
    p = sign_flip_test(
        np.array(values)[:, None], permutations=settings.permutations, seed=settings.resampling_seed
    )
    each = np.array(values)
    return Contrast(float(each.mean()), min(values), max(values), float(p[0]), _deviation(each), len(each))


def over_points(first: Sequence[float], second: Sequence[float], settings: Evaluate) -> Contrast:
    """Spearman's correlation with Fisher's interval (see `correlation`), and a permutation test of no relation.

    A constant side has no correlation: NaN, p = 1.
    """
    found = correlation(np.array(first), np.array(second), confidence=settings.confidence)
    ranks = [rankdata(side) - (len(side) + 1) / 2 for side in (first, second)]
    shuffles = np.random.default_rng(settings.resampling_seed).permuted(
        np.tile(ranks[0], (settings.permutations, 1)), axis=1
    )
    extreme = (np.abs(shuffles @ ranks[1]) >= abs(ranks[0] @ ranks[1]) - 1e-9).sum()
    p = float((1 + extreme) / (1 + settings.permutations))
    return Contrast(found.spearman, *found.spearman_interval, p)


def _deviation(values: NDArray[np.float64]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None
