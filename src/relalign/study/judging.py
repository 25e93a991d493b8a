"""What the study's runs say of each claim."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from relalign.metrics.significance import holm
from relalign.study import earlier
from relalign.study.claims import RSUM, Claim
from relalign.study.contrast import (
    Contrast,
    contrast,
    correlations_over_seeds,
    over_points,
    over_seeds,
    slope_weights,
)
from relalign.study.kept import Where
from relalign.study.results import NotComparableError, NotPlannedError, NotRunError, Results
from relalign.study.settings import CLEAN, Study
from relalign.study.verdicts import (
    EQUAL,
    INCONCLUSIVE,
    NOT_COMPARABLE,
    NOT_PLANNED,
    NOT_RUN,
    REFUTED,
    Answers,
    all_of,
    ask,
    below,
    verdict,
)


@dataclass(frozen=True)
class Part:
    """One comparison of a claim and its own verdict; `small`: it is shown to be below the margin."""

    claim: Claim
    metric: str
    reference: str
    contrast: Contrast
    verdict: str = ""
    small: bool = False


@dataclass(frozen=True)
class Finding:
    """What several claims that have to hold together (mostly one) come to on one dataset.

    `p` is Holm's over all that is judged together, None where there is no verdict to be had; `missing` says what
    there is none for.
    """

    claims: tuple[Claim, ...]
    verdict: str
    parts: tuple[Part, ...] = ()
    p: float | None = None
    missing: str = ""


def judge_claims(groups: Sequence[tuple[Claim, ...]], results: Results, least_seeds: int) -> list[Finding]:
    """A finding for every group of claims; those given together are one family of tests.

    A group is reproduced only if all of its comparisons are (an intersection-union test): its p-value is the
    largest of theirs. p-values are Holm's over the groups; those of being equal and of falling short, each a
    question of its own, are Holm's over all comparisons. With fewer seeds than `least_seeds` a comparison is
    inconclusive and counts in no correction. Where a part of a group was not run, the others can refute it, not
    more.
    """
    measured = [_measure_all(claims, results) for claims in groups]
    study = results.study
    judged = [[part for part in parts if not 0 < part.contrast.seeds < least_seeds] for parts, _ in measured]
    asked = [[_ask(part, study) for part in parts] for parts in judged]
    whole = iter(_holm([max(one.holds for one in answers) for answers in asked if answers]))
    equal, short = (iter(_holm([getattr(one, name) for answers in asked for one in answers])) for name in OTHERS)
    findings = []
    for claims, (parts, error), answers in zip(groups, measured, asked, strict=True):
        p = next(whole) if answers else None
        found = [
            _judge(part, Answers(p, next(equal), next(short)), study)
            if p is not None and not 0 < part.contrast.seeds < least_seeds
            else replace(part, verdict=INCONCLUSIVE)
            for part in parts
        ]
        findings.append(_together(claims, found, p, error))
    return findings


OTHERS = ("equal", "short")


def _holm(p_values: list[float]) -> list[float]:
    found: list[float] = holm(np.array(p_values, dtype=np.float64)).tolist()
    return found


def _ask(part: Part, study: Study) -> Answers:
    return ask(part.contrast, part.claim.margin(part.metric, study.margin), part.claim.kind)


def _judge(part: Part, corrected: Answers, study: Study) -> Part:
    kind, margin = part.claim.kind, part.claim.margin(part.metric, study.margin)
    small = below(part.contrast, margin, kind)
    return replace(part, verdict=verdict(part.contrast.difference, corrected, kind), small=small)


def _together(claims: tuple[Claim, ...], parts: list[Part], p: float | None, error: NotRunError | None) -> Finding:
    verdicts = [part.verdict for part in parts]
    if error is None:
        return Finding(claims, all_of(verdicts), tuple(parts), p)
    if {REFUTED, EQUAL} & set(verdicts):
        return Finding(claims, REFUTED, tuple(parts), p, str(error))
    names = {NotPlannedError: NOT_PLANNED, NotComparableError: NOT_COMPARABLE}
    return Finding(claims, names.get(type(error), NOT_RUN), tuple(parts), None, str(error))


def _measure_all(claims: Sequence[Claim], results: Results) -> tuple[list[Part], NotRunError | None]:
    """The comparisons of all claims that could be made, and why the first of the others could not."""
    parts, first = [], None
    for claim in claims:
        for metric, reference in _comparisons(claim):
            try:
                parts.append(Part(claim, metric, reference, _measure(claim, metric, reference, results)))
            except NotRunError as error:
                found = earlier.contrast_of(claim, metric, reference, results)
                if found is not None and not isinstance(error, NotComparableError):
                    parts.append(Part(claim, metric, reference, found))
                else:
                    first = first or error
    return parts, first


def _comparisons(claim: Claim) -> Iterator[tuple[str, str]]:
    return ((metric, reference) for reference, metric in product(claim.references, claim.metrics))


def _measure(claim: Claim, metric: str, reference: str, results: Results) -> Contrast:
    if claim.test == "mix":
        return _mix(claim, results)
    if claim.test == "variants":
        return _over_variants(metric, claim.outcome, results)
    if claim.test == "checkpoints":
        return _over_checkpoints(claim, metric, results)
    return _difference(claim, metric, reference, results)


def _difference(claim: Claim, metric: str, reference: str, results: Results) -> Contrast:
    weights = {CLEAN: 1.0}
    if claim.test == "poor":
        weights = {_studied(claim, results): 1.0}
    if claim.test == "slope":
        _studied(claim, results)
        rates = (0.0, *results.study.sweep.rates)
        conditions = [results.study.condition(claim.corrupted, rate) for rate in rates]
        weights = dict(zip(conditions, slope_weights(rates), strict=True))
    wheres: list[Where] = [(name, at) for at in weights for name in (claim.variant, reference)]
    signed = [sign * weight for weight in weights.values() for sign in (1, -1)]
    results.check_planned(*wheres)
    _same_captions(claim, reference, results)
    systems = results.systems(*wheres)
    for where, system in zip(wheres, systems, strict=True):
        if metric not in system.contributions:
            raise NotRunError(f"{metric} of {where[0]}")
    return contrast(list(zip(signed, systems, strict=True)), metric, results.judged_by)


def _same_captions(claim: Claim, reference: str, results: Results) -> None:
    seen = {name: results.captions(name) for name in (claim.variant, reference)}
    if len(set(seen.values())) > 1 and not claim.unlike_captions:
        raise NotComparableError(", ".join(f"{name} sees {count}" for name, count in seen.items()) + " a step")


def _studied(claim: Claim, results: Results) -> str:
    sweep = results.study.sweep
    swept = results.dataset in sweep.datasets and results.regime == CLEAN
    if not swept or claim.corrupted not in sweep.kinds or not sweep.rates:
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
    """A point a variant that has both: means over seeds on clean data.

    Of those with one model, one budget and the baseline's captions a step: between others, these differ too.
    """
    points, baseline = {}, results.params.report.baseline
    for name in results.comparable():
        values = results.systems((name, CLEAN))[0].values
        if baseline in results.study.variants and results.captions(name) != results.captions(baseline):
            continue
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
