"""Paired permutation tests by image, and Holm's correction for testing several hypotheses."""

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

AT_ONCE = 512


def sign_flip_test(
    differences: Float[NDArray[np.float64], "image test"], *, permutations: int, seed: int
) -> Float[NDArray[np.float64], " test"]:
    """Two-sided p-values that the sum over images of paired differences is zero; a column is a test.

    Under the hypothesis that two systems are exchangeable image by image, each image's difference is as likely
    to have the other sign. p = (1 + number of random sign patterns with a sum at least as extreme) /
    (1 + permutations), which is never 0 and valid for any number of permutations. All columns share the sign
    patterns. No difference at all gives p = 1.
    """
    generator = np.random.default_rng(seed)
    observed = np.abs(differences.sum(0))
    slack = 1e-9 * np.abs(differences).sum(0)  # sums of the same numbers in another order are equal
    extreme = np.zeros(differences.shape[1])
    for start in range(0, permutations, AT_ONCE):
        count = min(AT_ONCE, permutations - start)
        signs = 2.0 * generator.integers(0, 2, (count, len(differences)), dtype=np.int8) - 1.0
        extreme += (np.abs(signs @ differences) >= observed - slack).sum(0)
    p_values: NDArray[np.float64] = (1 + extreme) / (1 + permutations)
    return p_values


def holm(p_values: Float[NDArray[np.float64], " test"]) -> Float[NDArray[np.float64], " test"]:
    """Holm's step-down adjusted p-values: rejecting those below a level bounds the chance of any false rejection.

    The i-th smallest of m is multiplied by m - i + 1; the result is made monotone and at most 1 (Holm 1979).

    >>> holm(np.array([0.01, 0.04, 0.03])).tolist()
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values, kind="stable")
    stepped = p_values[order] * np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return adjusted
