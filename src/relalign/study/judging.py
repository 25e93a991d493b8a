"""What the study's runs say of each claim."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from relalign.metrics.significance import holm
from relalign.study.claims import (
    INCONCLUSIVE,
    NOT_PLANNED,
    NOT_RUN,
    REFUTED,
    RSUM,
    Claim,
    all_claims,
    below,
    verdict,
)
from relalign.study.contrast import Contrast, contrast, correlations_over_seeds, over_points, over_seeds
from relalign.study.results import NotPlannedError, NotRunError, Results, Where
from relalign.study.settings import CLEAN, Study


@dataclass(frozen=True)
class Part:
    """One comparison of a claim and its own verdict; `small`: it is shown to be below the margin."""

    metric: str
    reference: str
    contrast: Contrast
    verdict: str = ""
    small: bool = False


@dataclass(frozen=True)
class Finding:
    """A claim on one dataset. `p` is Holm's over the dataset's claims; `missing` says what it was not run for."""

    claim: Claim
    verdict: str
    parts: tuple[Part, ...] = ()
    p: float | None = None
    missing: str = ""


def judge_claims(results: Results) -> list[Finding]:
    """A finding for every claim; what lacks its runs is `not run`, or `not planned` if study.yaml asks for none.

    A claim of several comparisons is reproduced only if all of them are (an intersection-union test): its p-value
    is the largest of theirs.
    """
    measured: list[list[Part] | NotRunError] = []
    for claim in all_claims():
        try:
            measured.append(_measure(claim, results))
        except NotRunError as error:
            measured.append(error)
    p_values = [max(part.contrast.p for part in parts) for parts in measured if isinstance(parts, list)]
    corrected = iter(holm(np.array(p_values)).tolist())
    return [
        Finding(claim, NOT_PLANNED if isinstance(parts, NotPlannedError) else NOT_RUN, missing=str(parts))
        if isinstance(parts, NotRunError)
        else judge(claim, parts, next(corrected), results.study)
        for claim, parts in zip(all_claims(), measured, strict=True)
    ]


def judge(claim: Claim, parts: Sequence[Part], p: float, study: Study) -> Finding:
    """The verdict on a claim with corrected p-value `p`; of parts that differ, one refuted refutes it."""
    judged = []
    for part in parts:
        margin = claim.margin(part.metric, study.margin)
        small = below(part.contrast, margin, claim.kind)
        judged.append(replace(part, verdict=verdict(part.contrast, p, margin, claim.kind), small=small))
    verdicts = {part.verdict for part in judged}
    if len(verdicts) == 1:
        return Finding(claim, verdicts.pop(), tuple(judged), p)
    return Finding(claim, REFUTED if REFUTED in verdicts else INCONCLUSIVE, tuple(judged), p)


def _measure(claim: Claim, results: Results) -> list[Part]:
    if claim.test == "mix":
        return [Part("mix", "", _mix(claim, results))]
    if claim.test == "variants":
        return [Part(metric, "", _over_variants(metric, claim.outcome, results)) for metric in claim.metrics]
    if claim.test == "checkpoints":
        return [Part(metric, "", _over_checkpoints(claim, metric, results)) for metric in claim.metrics]
    return [
        Part(metric, reference, _difference(claim, metric, reference, results))
        for reference, metric in product(claim.references, claim.metrics)
    ]


def _difference(claim: Claim, metric: str, reference: str, results: Results) -> Contrast:
    wheres: list[Where] = [(claim.variant, CLEAN), (reference, CLEAN)]
    if claim.test == "growth":
        poor = _studied(claim, results)
        wheres = [(claim.variant, poor), (reference, poor), (reference, CLEAN), (claim.variant, CLEAN)]
    systems = results.systems(*wheres)
    for where, system in zip(wheres, systems, strict=True):
        if metric not in system.contributions:
            raise NotRunError(f"{metric} of {where[0]}")
    return contrast(systems[::2], systems[1::2], metric, results.judged_by)


def _studied(claim: Claim, results: Results) -> str:
    sweep = results.study.sweep
    if results.dataset not in sweep.datasets or claim.corrupted not in sweep.kinds or not sweep.rates:
        raise NotPlannedError("corrupted data")
    return results.study.condition(claim.corrupted, max(sweep.rates))


def _mix(claim: Claim, results: Results) -> Contrast:
    wheres = [(claim.variant, _studied(claim, results)), (claim.variant, CLEAN)]
    results.systems(*wheres)
    shares = [[results.text_share(where, seed) for where in wheres] for seed in results.seeds(*wheres)]
    changes = [poor - clean for poor, clean in shares if poor is not None and clean is not None]
    if len(changes) < 2:
        raise NotRunError("a second seed")
    return over_seeds(changes, results.judged_by.confidence)


def variant_points(metric: str, outcome: str, results: Results) -> dict[str, tuple[float, float]]:
    """A point a variant that has both, of those with one model and budget: means over seeds on clean data."""
    points = {}
    for name in results.comparable():
        values = results.systems((name, CLEAN))[0].values
        if metric in values and outcome in values:
            points[name] = float(np.mean(values[metric])), float(np.mean(values[outcome]))
    return points


def _over_variants(metric: str, outcome: str, results: Results) -> Contrast:
    points = list(variant_points(metric, outcome, results).values())
    if len(points) < 4:
        raise NotRunError("four variants with both")
    first, second = ([point[side] for point in points] for side in (0, 1))
    return over_points(first, second, results.judged_by)


def checkpoint_points(metric: str, variant: str, seed: int, results: Results) -> tuple[list[float], list[float]]:
    """The metric and Rsum on validation after each epoch of one training; not of its start."""
    history = results.history((variant, CLEAN), seed)
    columns = [f"val/{metric}", f"val/{RSUM}"]
    if not set(columns) <= set(history):
        return [], []
    rows = history.loc[history["epoch"] > 0, columns].dropna()
    return rows[columns[0]].tolist(), rows[columns[1]].tolist()


def _over_checkpoints(claim: Claim, metric: str, results: Results) -> Contrast:
    where = (claim.variant, CLEAN)
    results.systems(where)
    found = [
        over_points(*checkpoint_points(metric, claim.variant, seed, results), results.judged_by).difference
        for seed in results.seeds(where)
    ]
    known = [value for value in found if not np.isnan(value)]
    if len(known) < 2:
        raise NotRunError("a second seed")
    return correlations_over_seeds(known, results.judged_by)
