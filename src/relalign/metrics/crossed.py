"""Intervals and tests that hold for another training and other test images: seeds and images are crossed.

All trainings are measured on the same images, so that a number has an effect of its seed, one of its images, and
one of both together: a two-way table with random rows and columns. Its mean over `n` seeds varies by

    variance over seeds / n  +  variance over images, as far as seeds share it (the rest is in the first).

Bootstrapping seeds and then images is too narrow here: samples of 3 seeds have 2/3 of their variance, and
percentiles know no Student's t. (The pigeonhole bootstrap, Owen 2007, counts what seeds and images do together
three times over.) The two variances are those of the analysis of variance instead, as in multi-reader, multi-case
studies (Dorfman, Berbaum & Metz 1992; Obuchowski & Rockette 1995), where readers are our seeds; the one over
images is bootstrapped, which also serves ratios of sums and medians. They are joined by Banerjee's rule (Sankhya
22, 1960): each keeps the quantile of its own degrees of freedom,

    reach^2 = t(n - 1)^2 * variance of seeds + t(images - 1)^2 * variance of images,

whose coverage is never below the level that it is for, however small. Satterthwaite's rule is closer to 95 %
between the extremes, but at 3 seeds it falls below 93 %, and where p-values are small enough to outlast a
correction it finds differences that are not there several times too often.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.special import stdtrit

from relalign.metrics.resampling import percentile_interval

STEPS = 40  # halvings of the range of log p
SMALLEST = -100.0  # of log10 p


@dataclass(frozen=True)
class Errors:
    """Squared standard errors of a mean over seeds: what another training and what other images would change.

    `trainings` has `seeds` - 1 degrees of freedom, `pictures` has `images` - 1.
    """

    trainings: float
    pictures: float
    seeds: int
    images: int


def crossed_errors(
    values: Float[NDArray[np.float64], " seed"], estimates: Float[NDArray[np.float64], "seed sample"], images: int
) -> Errors:
    """The errors of the mean of `values`, of which `estimates` are bootstrap estimates over `images` images.

    All rows are of the same bootstrap samples; one that drew no query (NaN) is left out. Raises `ValueError` for
    fewer than two seeds or images, from which there is no telling.
    """
    seeds = len(values)
    if seeds < 2 or images < 2:
        raise ValueError(f"{seeds} seed(s) and {images} image(s): two are needed of each")
    unbiased = images / (images - 1)
    mean = estimates.mean(0)
    estimates = estimates[:, ~np.isnan(mean)]
    shared = float(mean[~np.isnan(mean)].var()) * unbiased
    own = float(estimates.var(1).mean()) * unbiased
    both = (own - shared) / (seeds - 1)  # also in the variance over seeds, and not to be counted twice
    return Errors(float(np.var(values, ddof=1)) / seeds, max(shared - both, 0.0), seeds, images)


def reach(errors: Errors, confidence: float) -> float:
    """Half the width of the two-sided interval around the mean."""
    tail = (1 - confidence) / 2
    return float(_reach(np.array(tail), *_columns([errors]))[0])


def interval(
    values: Float[NDArray[np.float64], " seed"],
    estimates: Float[NDArray[np.float64], "seed sample"],
    images: int,
    confidence: float,
) -> tuple[float, float]:
    """The interval of a mean over seeds; of one seed the bootstrap's, which says nothing about another
    training."""
    if len(values) < 2 or images < 2:
        return percentile_interval(estimates.mean(0), confidence)
    middle, half = float(values.mean()), reach(crossed_errors(values, estimates, images), confidence)
    return middle - half, middle + half


def two_sided_p(
    effects: Float[NDArray[np.float64], " test"], errors: list[Errors]
) -> Float[NDArray[np.float64], " test"]:
    """p-values that effects are zero: an interval at confidence 1 - p ends there.

    No effect gives 1. The smallest is 1e-100, which is also that of an effect without any error.
    """
    low, high = np.full(len(effects), SMALLEST), np.zeros(len(effects))
    columns = _columns(errors)
    for _ in range(STEPS):
        middle = (low + high) / 2
        beyond = _reach(10.0**middle / 2, *columns) < np.abs(effects)
        low, high = np.where(beyond, low, middle), np.where(beyond, middle, high)
    return np.asarray(np.where(effects == 0, 1.0, 10.0**high))


def one_sided_p(effect: float, errors: Errors) -> float:
    """The p-value that an effect is zero or less."""
    p = float(two_sided_p(np.array([effect]), [errors])[0]) / 2
    return p if effect > 0 else 1 - p


def equivalence_p(effect: float, errors: Errors, margin: float) -> float:
    """p-value that an effect is `margin` or more in size: two one-sided tests, the larger (Schuirmann 1987)."""
    return max(one_sided_p(margin - effect, errors), one_sided_p(margin + effect, errors))


def _columns(errors: list[Errors]) -> tuple[NDArray[np.float64], ...]:
    rows = [(one.trainings, one.pictures, one.seeds - 1, one.images - 1) for one in errors]
    return tuple(np.array(rows, dtype=np.float64).reshape(-1, 4).T)


def _reach(
    tail: Float[NDArray[np.float64], "*test"],
    trainings: Float[NDArray[np.float64], " test"],
    pictures: Float[NDArray[np.float64], " test"],
    seeds: Float[NDArray[np.float64], " test"],
    images: Float[NDArray[np.float64], " test"],
) -> Float[NDArray[np.float64], " test"]:
    found: NDArray[np.float64] = np.sqrt(
        stdtrit(seeds, tail) ** 2 * trainings + stdtrit(images, tail) ** 2 * pictures
    )
    return found
