"""Bootstrap intervals that resample images, because the captions of one image are not independent."""

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray


def draw_weights(images: int, samples: int, seed: int) -> Float[NDArray[np.float64], "sample image"]:
    """How often each image is drawn in each bootstrap sample of as many images; every row sums to `images`."""
    generator = np.random.default_rng(seed)
    return generator.multinomial(images, np.full(images, 1 / images), size=samples).astype(np.float64)


def sums_by_image(
    values: Float[NDArray[np.float64], " query"], image: Int[NDArray[np.int64], " query"], images: int
) -> tuple[Float[NDArray[np.float64], " image"], Float[NDArray[np.float64], " image"]]:
    """The sum of the values of each image's queries, and their number; `image` holds positions."""
    counts = np.bincount(image, minlength=images)
    return np.bincount(image, values, images).astype(np.float64), counts.astype(np.float64)


def resampled_means(
    weights: Float[NDArray[np.float64], "sample image"],
    values: Float[NDArray[np.float64], " query"],
    image: Int[NDArray[np.int64], " query"],
) -> Float[NDArray[np.float64], " sample"]:
    """The mean over queries in each sample: a ratio of sums, as the number of queries differs between images."""
    sums, counts = sums_by_image(values, image, weights.shape[1])
    with np.errstate(invalid="ignore"):  # a sample that drew no image with a query has no mean
        estimates: NDArray[np.float64] = (weights @ sums) / (weights @ counts)
    return estimates


def resampled_medians(
    weights: Float[NDArray[np.float64], "sample image"],
    values: Float[NDArray[np.float64], " query"],
    image: Int[NDArray[np.int64], " query"],
) -> Float[NDArray[np.float64], " sample"]:
    """The median over queries in each sample; for an even number the mean of the middle two, as in numpy."""
    order = np.argsort(values, kind="stable")
    ascending = values[order]
    medians = np.empty(len(weights))
    for sample, row in enumerate(weights):
        reached = np.cumsum(row[image[order]])
        if reached[-1] == 0:
            medians[sample] = np.nan
            continue
        middle = np.array([(reached[-1] + 1) // 2, reached[-1] // 2 + 1])
        medians[sample] = ascending[np.searchsorted(reached, middle)].mean()
    return medians


def percentile_interval(
    estimates: Float[NDArray[np.float64], " sample"], confidence: float
) -> tuple[float, float]:
    """The central `confidence` of the bootstrap estimates (the percentile method)."""
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(estimates, [tail, 1 - tail])
    return float(low), float(high)
