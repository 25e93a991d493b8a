"""Differences between systems with their uncertainty: over test images, over seeds, over points."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata, t

from relalign.comparison.paired import System
from relalign.metrics.correlation import correlation
from relalign.metrics.resampling import percentile_interval
from relalign.metrics.significance import sign_flip_test
from relalign.settings.evaluate import Evaluate


@dataclass(frozen=True)
class Contrast:
    """A difference (or a correlation) with its interval and two-sided p-value.

    `seeds` is how many seeds it is the mean over (0: it is not over seeds), `seed_sd` the standard deviation over
    them; None for one seed.
    """

    difference: float
    low: float
    high: float
    p: float
    seed_sd: float | None = None
    seeds: int = 0


def contrast(plus: Sequence[System], minus: Sequence[System], metric: str, settings: Evaluate) -> Contrast:
    """The sum of one metric over `plus` less that over `minus`: interval and test over images.

    One and one is a paired comparison. Two and two is a difference of differences, paired by image all the same,
    provided that the `estimates` are of the same bootstrap samples. All have the same seeds in one order.
    """
    signed = [(1, system) for system in plus] + [(-1, system) for system in minus]
    seeds = sum(sign * np.array(system.values[metric]) for sign, system in signed)
    estimates = sum(sign * system.estimates[metric] for sign, system in signed)
    images = sum(sign * system.contributions[metric] for sign, system in signed)
    p = sign_flip_test(
        np.stack([images], axis=1), permutations=settings.permutations, seed=settings.resampling_seed
    )
    low, high = percentile_interval(np.asarray(estimates), settings.confidence)
    each = np.asarray(seeds)
    return Contrast(float(np.mean(each)), low, high, float(p[0]), _deviation(each), len(each))


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
