"""What an earlier study printed, whose runs are not kept: differences with an interval over images and sd over
seeds.

docs/study/earlier.csv has a row a comparison. Its two columns of spread are enough for the verdicts of now: half
the interval over images, divided by the normal quantile, is the standard error over images; the standard deviation
over seeds, divided by their number, the one over trainings. Both contain what seeds and images do together, so
that it counts twice and intervals are, if anything, too wide. Numbers are as rounded as they were printed.
"""

from collections.abc import Hashable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.special import ndtri

from relalign.metrics.crossed import Errors, reach, two_sided_p
from relalign.study.claims import Claim
from relalign.study.contrast import Contrast
from relalign.study.settings import CLEAN

if TYPE_CHECKING:
    from relalign.study.results import Results

PATH = "docs/study/earlier.csv"
KEY = ["dataset", "test", "variant", "metric", "reference", "corrupted", "outcome"]


def contrast_of(claim: Claim, metric: str, reference: str, results: "Results") -> Contrast | None:
    """The contrast of one comparison, by the rule of now; None if it was not printed."""
    path = results.root / PATH
    if not path.is_file() or results.regime != CLEAN:
        return None
    corrupted = claim.corrupted if claim.test in ("poor", "slope", "mix") else ""
    outcome = claim.outcome if claim.test in ("variants", "checkpoints") else ""
    asked = (results.dataset, claim.test, claim.variant, metric, reference, corrupted, outcome)
    row = _rows(path).get(asked)
    return None if row is None else _contrast(row, results.params.evaluate.confidence)


@cache
def _rows(path: Path) -> dict[tuple[str, ...], dict[Hashable, Any]]:
    table = pd.read_csv(path, dtype=dict.fromkeys(KEY, str)).fillna(dict.fromkeys(KEY, ""))
    return {tuple(row[name] for name in KEY): row for row in table.to_dict("records")}


def _contrast(row: dict[Hashable, Any], confidence: float) -> Contrast:
    difference, low, high, seeds, images = (row[name] for name in ("difference", "low", "high", "seeds", "images"))
    spread = None if np.isnan(row["seed_sd"]) else float(row["seed_sd"])
    if spread is None or row["test"] in ("variants", "checkpoints"):
        return Contrast(difference, low, high, row["p_holm"], spread, int(seeds), int(images), earlier=True)
    # Learned mixes are over seeds alone: no image has a share in them.
    error = 0.0 if row["test"] == "mix" else (high - low) / 2 / float(ndtri((1 + confidence) / 2))
    errors = Errors(spread**2 / seeds, error**2, int(seeds), max(int(images), 2))
    half, p = reach(errors, confidence), float(two_sided_p(np.array([difference]), [errors])[0])
    return Contrast(
        difference, difference - half, difference + half, p, spread, int(seeds), int(images), errors, True
    )
