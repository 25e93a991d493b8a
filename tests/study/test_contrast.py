"""Contrasts agree with loops over seeds, bootstrap samples and images, also for a difference of differences."""

import math

import numpy as np
import pytest
from scipy.stats import spearmanr, ttest_1samp

from relalign.comparison.paired import read_run, summarise
from relalign.metrics.crossed import crossed_errors, reach, two_sided_p
from relalign.metrics.resampling import draw_weights
from relalign.metrics.significance import sign_flip_test
from relalign.study.contrast import (
    contrast,
    correlations_over_seeds,
    difference,
    over_points,
    over_seeds,
    slope_weights,
)
from tests.runs_on_disk import QUICK, random_embeddings, write_evaluated_run

SEEDS = 3


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Runs of four systems with three seeds, and the systems themselves."""
    root = tmp_path_factory.mktemp("runs")
    runs = {
        noise: [
            read_run(write_evaluated_run(root / f"{noise}-{seed}", random_embeddings(noise=noise, seed=seed)))
            for seed in range(SEEDS)
        ]
        for noise in (0.3, 0.8, 1.1, 1.5)
    }
    images = np.unique(runs[0.3][0].queries["image_id"])
    weights = draw_weights(len(images), QUICK.bootstrap_samples, QUICK.resampling_seed)
    systems = {noise: summarise(members, images, weights) for noise, members in runs.items()}
    return runs, systems, images, weights


def _slow_means(run, weights_of_image, metric):
    """The metric of one run in one bootstrap sample, by the definition; a sum of recalls if it is Rsum."""
    total = 0.0
    names = (
        [metric] if metric != "rsum" else [name for name in run.queries["metric"].unique() if "recall@" in name]
    )
    for name in names:
        rows = run.queries[run.queries["metric"] == name]
        share = [weights_of_image[image] for image in rows["image_id"]]
        total += sum(s * v for s, v in zip(share, rows["value"], strict=True)) / sum(share)
    return total


@pytest.mark.parametrize("metric", ["rsum", "t2i/recall@1"])
@pytest.mark.parametrize(("plus", "minus"), [((0.8,), (1.1,)), ((0.3, 1.5), (0.8, 1.1))])
def test_contrast_is_what_loops_give(measured, plus, minus, metric):
    runs, systems, images, weights = measured
    sides = [(1.0, one) for one in plus] + [(-1.0, one) for one in minus]
    found = contrast([(sign, systems[one]) for sign, one in sides], metric, QUICK)

    by_seed = [sum(sign * runs[one][seed].metrics[metric] for sign, one in sides) for seed in range(SEEDS)]
    assert found.difference == pytest.approx(sum(by_seed) / SEEDS)
    assert found.seed_sd == pytest.approx(np.std(by_seed, ddof=1))

    estimates = np.empty((SEEDS, len(weights)))
    for place, row in enumerate(weights):
        weight = dict(zip(images.tolist(), row, strict=True))
        for seed in range(SEEDS):
            estimates[seed, place] = sum(
                sign * _slow_means(runs[one][seed], weight, metric) for sign, one in sides
            )
    errors = crossed_errors(np.array(by_seed), estimates, len(images))
    half = reach(errors, 0.95)
    assert (found.low, found.high) == pytest.approx((found.difference - half, found.difference + half))
    assert found.p == pytest.approx(two_sided_p(np.array([found.difference]), [errors])[0])
    assert (found.seeds, found.images) == (SEEDS, len(images))


def test_a_contrast_with_itself_is_nothing(measured):
    system = measured[1][0.8]
    found = difference(system, system, "rsum", QUICK)
    assert (found.difference, found.low, found.high, found.p, found.seed_sd) == (0, 0, 0, 1, 0)


def test_slope_weights_are_those_of_the_least_squares_line():
    rates, values = [0.0, 0.2, 0.4, 0.6], [1.0, 3.0, 2.0, 7.0]
    assert np.dot(slope_weights(rates), values) == pytest.approx(0.6 * np.polyfit(rates, values, 1)[0])


def test_one_seed_has_no_deviation(measured):
    runs, _, images, weights = measured
    first, second = (summarise(runs[noise][:1], images, weights) for noise in (0.3, 0.8))
    found = difference(first, second, "rsum", QUICK)
    assert (found.seed_sd, found.errors, found.seeds) == (None, None, 1)
    images_of = first.contributions["rsum"] - second.contributions["rsum"]
    tested = sign_flip_test(images_of[:, None], permutations=QUICK.permutations, seed=QUICK.resampling_seed)
    assert found.p == pytest.approx(tested[0]), "over images alone"


def test_over_seeds_is_a_t_test():
    values = [0.1, 0.25, 0.18]
    found, expected = over_seeds(values, 0.95), ttest_1samp(values, 0.0)
    interval = expected.confidence_interval(0.95)
    assert (found.low, found.high, found.p) == pytest.approx((interval.low, interval.high, expected.pvalue))
    assert (found.difference, found.seed_sd) == pytest.approx((np.mean(values), np.std(values, ddof=1)))


def test_seeds_without_spread_fall_back_to_the_sign_test():
    assert over_seeds([-1.0] * 3, 0.95).p == 0.25
    assert over_seeds([0.0] * 3, 0.95).p == 1.0


@pytest.mark.parametrize("last", [-1.0, -0.9999999999999998, -0.8])
def test_five_correlations_that_agree_are_one_in_sixteen_however_alike_they_are(last):
    settings = QUICK.model_copy(update={"permutations": 9999})
    found = correlations_over_seeds([-1.0] * 4 + [last], settings)
    assert found.p == pytest.approx(1 / 16, abs=0.01)
    assert (found.low, found.high) == (-1.0, last)
    assert (found.difference, found.seeds) == (pytest.approx((-4 + last) / 5), 5)


def test_over_points_is_spearman_with_the_exact_chance_of_few_points():
    settings = QUICK.model_copy(update={"permutations": 9999})
    first, second = [1.0, 2.0, 3.0, 4.0], [9.0, 8.0, 7.0, 1.0]
    found = over_points(first, second, settings)
    assert found.difference == pytest.approx(spearmanr(first, second).statistic)
    assert found.p == pytest.approx(2 / math.factorial(4), abs=0.01)  # all in order or all in reverse
    assert found.low <= found.difference <= found.high


def test_a_constant_side_has_no_correlation():
    found = over_points([1.0, 1.0, 1.0, 1.0], [1.0, 2.0, 3.0, 4.0], QUICK)
    assert math.isnan(found.difference)
    assert found.p == 1
