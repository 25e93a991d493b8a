import numpy as np
import pytest

from relalign.metrics.resampling import (
    draw_weights,
    percentile_interval,
    resampled_means,
    resampled_medians,
)


def written_out(weights, values, image):
    """The queries of each bootstrap sample, written out with their repeats."""
    return [np.repeat(values, row[image].astype(int)) for row in weights]


@pytest.fixture
def queries():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 12, 40)
    image[:12] = np.arange(12)
    return rng.integers(0, 9, 40).astype(float), image, draw_weights(12, 50, seed=1)


def test_means_and_medians_equal_the_samples_written_out(queries):
    values, image, weights = queries
    samples = written_out(weights, values, image)
    np.testing.assert_allclose(resampled_means(weights, values, image), [s.mean() for s in samples])
    np.testing.assert_array_equal(resampled_medians(weights, values, image), [np.median(s) for s in samples])


def test_a_sample_without_queries_has_no_estimate_and_the_interval_leaves_it_out():
    weights = np.array([[2.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
    values, image = np.array([3.0, 5.0]), np.array([0, 0])
    assert np.isnan(resampled_means(weights, values, image)[1])
    medians = resampled_medians(weights, values, image)
    assert np.isnan(medians[1])
    assert percentile_interval(medians, 0.95) == (4.0, 4.0)


def test_each_sample_draws_as_many_images_as_there_are():
    weights = draw_weights(7, 20, seed=0)
    assert (weights.sum(1) == 7).all()
    assert len(np.unique(weights, axis=0)) > 15


def test_intervals_cover_the_truth_as_often_as_promised_when_captions_of_an_image_agree():
    rng = np.random.default_rng(3)
    weights, image = draw_weights(60, 300, seed=0), np.repeat(np.arange(60), 5)
    covered = []
    for _ in range(200):
        low, high = percentile_interval(
            resampled_means(weights, np.repeat(rng.random(60) < 0.3, 5) * 100.0, image), 0.95
        )
        covered.append(low <= 30 <= high)
    assert np.mean(covered) == pytest.approx(0.95, abs=0.05)
