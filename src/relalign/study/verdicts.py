"""Verdicts: what contrasts with corrected p-values say of a claim."""

from dataclasses import dataclass

from relalign.metrics.crossed import equivalence_p, one_sided_p
from relalign.report.comparison_table import LEVEL
from relalign.study.claims import Kind
from relalign.study.contrast import Contrast

REPRODUCED, REFUTED, EQUAL = "reproduced", "not reproduced", "equal"
INCONCLUSIVE, NOT_RUN, NOT_PLANNED = "inconclusive", "not run", "not planned"
NOT_COMPARABLE = "not comparable"


@dataclass(frozen=True)
class Answers:
    """p-values of the three questions to a contrast.

    `holds`: that there is no difference; of a claim of `kept`, that a margin or more is lost. `equal`: that the
    difference is a margin or more in size. `short`: that an improvement by the margin is there; of `kept`, that
    less than a margin is lost. What cannot be asked, as there is no margin or no standard error, has p = 1.
    """

    holds: float
    equal: float = 1.0
    short: float = 1.0


def ask(found: Contrast, margin: float | None, kind: Kind) -> Answers:
    """The uncorrected answers of one contrast; of `either`, a difference in any direction is one."""
    if found.errors is None:
        return Answers(found.p)
    effect, errors, least = -found.difference if kind == "lower" else found.difference, found.errors, margin or 0.0
    if kind == "kept":
        return Answers(one_sided_p(effect + least, errors), short=one_sided_p(-least - effect, errors))
    if margin is None:
        return Answers(found.p)
    return Answers(found.p, equivalence_p(effect, errors, margin), one_sided_p(margin - effect, errors))


def verdict(difference: float, corrected: Answers, kind: Kind) -> str:
    """What a difference with corrected p-values says of a claim of this kind.

    `higher`, `lower`: reproduced if significant in that direction, not reproduced if in the other; otherwise
    `equal` if it is shown to be within the margin, not reproduced if an improvement by the margin is excluded.
    `kept`: reproduced if a loss of the margin is excluded, be a smaller one significant or not; not reproduced if
    such a loss is shown. `either`: the significant direction, or `equal`. Otherwise inconclusive.
    """
    holds, equal, short = (p < LEVEL for p in (corrected.holds, corrected.equal, corrected.short))
    effect = -difference if kind == "lower" else difference
    if kind == "kept":
        return REPRODUCED if holds else REFUTED if short else INCONCLUSIVE
    if holds and effect != 0:
        if kind == "either":
            return "higher" if effect > 0 else "lower"
        return REPRODUCED if effect > 0 else REFUTED
    if equal:
        return EQUAL
    return REFUTED if short and kind != "either" else INCONCLUSIVE


def all_of(verdicts: list[str]) -> str:
    """The verdict on a claim that needs every one of its comparisons: one that fails, or is equal, fails it."""
    if len(set(verdicts)) == 1:
        return verdicts[0]
    return REFUTED if {REFUTED, EQUAL} & set(verdicts) else INCONCLUSIVE


def below(found: Contrast, margin: float | None, kind: Kind) -> bool:
    """Whether the interval shows an improvement to be smaller than one worth having."""
    if margin is None:
        return False
    return kind in ("higher", "lower") and (found.high if kind == "higher" else -found.low) < margin
