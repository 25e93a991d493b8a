"""The tables of docs/findings.md and of its appendix."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from relalign.comparison.paired import System
from relalign.metrics.correlation import Correlation, correlation
from relalign.metrics.crossed import interval
from relalign.report.comparison_table import ROUNDING, number, p_value
from relalign.settings import Params
from relalign.study.claims import I2I, ISD, KEPT_I, KEPT_T, RERANKED, RSUM, T2T, Claim, Row
from relalign.study.contrast import Contrast, difference
from relalign.study.judging import Finding, Part, checkpoint_points, variant_points
from relalign.study.pictures import sweep_points
from relalign.study.record import SearchRecord
from relalign.study.results import MEAN_NDCG, Results
from relalign.study.settings import CLEAN, SECTIONS, Study, changed
from relalign.study.verdicts import NOT_COMPARABLE, NOT_PLANNED, NOT_RUN, REPRODUCED

NOTHING = "–"
ANNOTATED = "isd/annotated"  # where phrases are annotated with regions
POOR = {"image": "images", "text": "captions"}
POORLY = {
    "poor": "poor {} at the worst",
    "slope": "growth from clean to poor {}",
    "mix": "poor {} against clean",
}
CORRELATED = ("variants", "checkpoints")
NAMES = {
    "i2t/recall@1": "R@1 image → text",
    "t2i/recall@1": "R@1 text → image",
    RSUM: "Rsum",
    I2I: "nDCG@10 image → image",
    T2T: "nDCG@10 text → text",
    MEAN_NDCG: "nDCG@10, mean of both",
    KEPT_I: "nearest ten kept, images (%)",
    KEPT_T: "nearest ten kept, texts (%)",
    RERANKED: "Rsum, re-ranked",
    ISD[0]: "ISD, singular",
    ISD[1]: "ISD, distributed",
    ANNOTATED: "ISD, annotated",
    "mix": "text teacher's share",
}
MAIN = ("i2t/recall@1", "t2i/recall@1", RSUM, I2I, T2T, RERANKED, *ISD)


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, or a line that says there is nothing to show."""
    if not rows:
        return "Not run."
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def headline_table(rows: Sequence[Row], findings: Mapping[str, Sequence[Finding]], why: Mapping[str, str]) -> str:
    """A row of the headline, a column a dataset or regime on it; `why` has a sentence by the number of the row."""
    lines = []
    for place, row in enumerate(rows):
        number_of = str(place + 1)
        cells = [_headline_cell(of_dataset[place]) for of_dataset in findings.values()]
        lines.append([number_of, row.sentence, *cells, why.get(number_of, NOTHING), row.theirs])
    return markdown(["", "claim", *findings, "why", "the paper's own number"], lines)


def _headline_cell(finding: Finding) -> str:
    """The verdict, and of each number its least favourable comparison, with interval, seeds and images."""
    lines = [verdict_of(finding)]
    worst: dict[tuple[str, ...], Part] = {}
    for part in finding.parts:
        about = (part.claim.variant, part.claim.test, part.metric, _poor(part.claim))
        if about not in worst or _favour(part) < _favour(worst[about]):
            worst[about] = part
    variants = {part.claim.variant for part in finding.parts if part.claim.test != "variants"}
    references = {part.reference for part in finding.parts}
    for part in worst.values():
        named = NAMES[part.metric] + (
            f" with {NAMES[part.claim.outcome]}" if part.claim.test in CORRELATED else ""
        )
        if part.claim.test in CORRELATED:
            named += f", over {'epochs' if part.claim.test == 'checkpoints' else 'variants'}"
        if len(variants) > 1:
            named = f"`{part.claim.variant}`: {named}"
        if len(references) > 1:
            named += f", less `{part.reference}`'s"
        if poor := _poor(part.claim):
            named += f", poor {poor}"
        effect, reach, _ = _contrast(part)
        lines.append(f"{named} {effect} ({reach})")
    return "<br>".join([*lines, *_counted(finding.parts)])


def _favour(part: Part) -> float:
    return -part.contrast.difference if part.claim.kind == "lower" else part.contrast.difference


def _poor(claim: Claim) -> str:
    return POOR[claim.corrupted] if claim.test in ("poor", "slope", "mix") else ""


def _counted(parts: Sequence[Part]) -> list[str]:
    """How many seeds and images, and whether an earlier study's rounded numbers were used."""
    if not parts:
        return []
    seeds = sorted({part.contrast.seeds for part in parts if part.contrast.seeds})
    images = sorted({part.contrast.images for part in parts if part.contrast.images})
    counts = [f"{_plain(seeds)} seed{'s' * (seeds != [1])}"] if seeds else []
    counts += [f"{_plain(images)} images"] if images else []
    counts += ["one seed: an indication"] if seeds[:1] == [1] else []
    counts += ["earlier numbers"] if any(part.contrast.earlier for part in parts) else []
    return [", ".join(counts)]


def variants_table(study: Study) -> str:
    """A row a variant: the method it is of, what it changes, where and with which seeds it is run."""
    rows = []
    for name, variant in study.variants.items():
        own = [
            _plain(variant.seeds or study.seeds),
            _plain(study.datasets if variant.datasets is None else variant.datasets),
        ]
        rows.append([f"`{name}`", f"`{variant.of}`", _change(variant.change), *own])
    return markdown(["variant", "method", "change", "seeds", "data"], rows)


def main_tables(results: Results) -> list[str]:
    """For each number of captions a step, a table of the variants on clean data: they compare only within it.

    A row has the mean over seeds, the standard deviation over seeds, and the interval.
    """
    rows: dict[int, list[list[str]]] = {}
    for name in results.study.runs_on(results.dataset, results.regime):
        seeds = results.seeds((name, CLEAN))
        system = results.systems((name, CLEAN))[0] if seeds else None
        cells = [_own(system, metric, results) if system else "not run" for metric in MAIN]
        rows.setdefault(results.captions(name), []).append([f"`{name}`", str(len(seeds)), *cells])
    head = ["variant", "seeds", *(NAMES[metric] for metric in MAIN)]
    return [
        part
        for captions in sorted(rows)
        for part in (f"With {captions} caption{'s' * (captions > 1)} a step:", markdown(head, rows[captions]))
    ]


def claims_table(findings: Sequence[Finding], results: Results) -> str:
    """A row a comparison; the parts of one claim follow each other, with the claim's own p-value and verdict."""
    rows = []
    for place, finding in enumerate(findings):
        (claim,) = finding.claims
        head = [str(place + 1), claim.paper, claim.sentence]
        if not finding.parts:
            metrics = ", ".join(NAMES[metric] for metric in claim.metrics)
            against = ", ".join(map(_code, claim.references))
            rows.append([*head, _code(claim.variant), metrics, against, *[NOTHING] * 5, verdict_of(finding)])
        for part in finding.parts:
            first = part is finding.parts[0]
            last = [p_text(finding.p), verdict_of(finding)] if first else ["", ""]
            metric = NAMES[part.metric]
            if claim.test in CORRELATED:
                metric = f"Spearman's correlation of {metric} with {NAMES[claim.outcome]}"
            against = _code(part.reference)
            if how := POORLY.get(claim.test):
                against = f"{against}; {how.format(POOR[claim.corrupted])}".removeprefix(f"{NOTHING}; ")
            effect, reach, spread = _contrast(part)
            counted = "; ".join(_counted([part])) or NOTHING
            shown = head if first else ["", "", ""]
            rows.append([*shown, _code(claim.variant), metric, against, counted, effect, reach, spread, *last])
    confidence = percent(results.params.evaluate.confidence)
    head = ["", "of", "claim", "variant", "number", "against", "over", "difference", f"{confidence} interval"]
    return markdown([*head, "sd over seeds", "p (Holm)", "verdict"], rows)


def sweep_table(results: Results) -> str:
    """A row a modality, rate and variant, over the sweep's seeds, with the gain over the baseline."""
    sweep = results.study.sweep
    baseline, rows = results.params.report.baseline, []
    for modality in sweep.kinds:
        shares = sweep_points("mix", modality, results)
        for rate in (0.0, *sweep.rates):
            for name in sweep.variants:
                where = name, results.study.condition(modality, rate)
                seeds = tuple(seed for seed in results.seeds(where) if seed in sweep.seeds)
                head = [modality, number(rate), f"`{name}`", str(len(seeds))]
                if not seeds:
                    rows.append([*head, *["not run"] * 2, *[NOTHING] * 3])
                    continue
                system = results.system(where, seeds)
                cells = [_own(system, metric, results) for metric in (RSUM, MEAN_NDCG)]
                rival = (baseline, where[1])
                gains = [NOTHING] * 2
                if name != baseline and baseline in sweep.variants and set(seeds) <= set(results.seeds(rival)):
                    against = results.system(rival, seeds)
                    gains = [
                        _difference(difference(system, against, metric, results.params.evaluate))
                        for metric in (RSUM, MEAN_NDCG)
                    ]
                rows.append([*head, *cells, *gains, _mean(shares.get(name, {}).get(rate, []))])
    head = ["poor", "rate", "variant", "seeds", NAMES[RSUM], NAMES[MEAN_NDCG]]
    gains = [f"gain over `{baseline}`, {NAMES[metric]}" for metric in (RSUM, MEAN_NDCG)]
    return markdown([*head, *gains, NAMES["mix"]], rows)


def correlation_table(results: Results) -> str:
    """How ISD goes with retrieval over variants."""
    confidence, rows = results.params.evaluate.confidence, []
    for metric in (*ISD, ANNOTATED):
        for outcome in (RSUM, RERANKED):
            points = list(variant_points(metric, outcome, results).values())
            if metric == ANNOTATED and not points:
                continue
            found = correlation(*np.array(points).reshape(-1, 2).T, confidence=confidence)
            rows.append([NAMES[metric], f"{NAMES[outcome]}, test", *_correlation(found)])
    kinds = [f"{kind} ({percent(confidence)} interval)" for kind in ("Pearson", "Spearman")]
    return markdown(["ISD", "retrieval", "variants", *kinds], rows)


def epochs_table(results: Results) -> str:
    """How ISD goes with Rsum on validation over the epochs of a training: a row a variant, over its seeds."""
    rows = []
    for name in results.variants():
        runs = {
            metric: [checkpoint_points(metric, name, seed, results) for seed in results.seeds((name, CLEAN))]
            for metric in ISD
        }
        found = {
            metric: [correlation(np.array(x), np.array(y)).spearman for x, y in points if x]
            for metric, points in runs.items()
        }
        if any(found.values()):
            epochs = {len(x) for points in runs.values() for x, _ in points if x}
            count = str(len(found[ISD[0]]))
            rows.append([f"`{name}`", count, _plain(sorted(epochs)), *map(_mean_and_range, found.values())])
    return markdown(["variant", "seeds", "epochs", *(NAMES[metric] for metric in ISD)], rows)


def _mean_and_range(values: Sequence[float]) -> str:
    known = [value for value in values if not np.isnan(value)]
    if not known:
        return NOTHING
    return f"{signed(float(np.mean(known)))} ({signed(min(known))} to {signed(max(known))})"


def search_table(results: Results) -> str:
    """A row a trial with all that it changes (not run: what it adds to an earlier one), the chosen one in bold."""
    rows = []
    for method, tuning in results.study.tunings(results.regime).items():
        if results.search is None:
            rows += [[f"`{method}`", _change(change), "not run", ""] for change in tuning.trials]
            continue
        for place, trial in enumerate(results.search.methods[method]):
            chosen = place == results.search.place(method)
            row = [_change(trial.change), f"{trial.score:.2f}"]
            rows.append([f"`{method}`", *_bold(row, chosen), "yes" if chosen else ""])
    return markdown(["method", "change", "score", "chosen"], rows)


def _bold(row: Sequence[str], chosen: bool) -> list[str]:
    return [f"**{cell}**" if chosen else cell for cell in row]


def tuned_table(params: Params, study: Study, searches: dict[str, SearchRecord | None]) -> str:
    """A row a tuned setting: its value in params.yaml, the others tried, and what each dataset's choice has."""
    rows = []
    for method, tuning in study.search.methods.items():
        made_with = changed(params, study, method, {}, where=method)
        own = made_with.method.model_dump(mode="json")
        for section in SECTIONS:
            own |= {f"{section}.{key}": value for key, value in getattr(made_with, section).model_dump().items()}
        for key in dict.fromkeys(key for change in tuning.trials for key in change):
            tried = dict.fromkeys(_plain(change[key]) for change in tuning.trials if key in change)
            chosen = [
                NOTHING if search is None else _plain(search.chosen(method).get(key, own[key]))
                for search in searches.values()
            ]
            rows.append([f"`{method}`", f"`{key}`", _plain(own[key]), "; ".join(tried), *chosen])
    return markdown(["method", "setting", "params.yaml", "tried", *(f"chosen: {name}" for name in searches)], rows)


def p_text(p: float | None) -> str:
    """A p-value in a cell: `< 0.001` or `0.031`."""
    return NOTHING if p is None else p_value(p).removeprefix("= ")


def percent(share: float) -> str:
    """`95 %` for .95."""
    return f"{100 * share:g} %"


def verdict_of(finding: Finding) -> str:
    """The verdict, and what there is none for."""
    if finding.verdict == NOT_COMPARABLE:
        return f"{finding.verdict} ({finding.missing})"
    if finding.verdict in (NOT_RUN, NOT_PLANNED):
        return f"{finding.verdict} (no {finding.missing})"
    if finding.missing:
        return f"**{finding.verdict}** (the rest was not run)"
    small = finding.verdict == REPRODUCED and any(part.small for part in finding.parts)
    return f"**{finding.verdict}**" + (", below the margin" if small else "")


def _own(system: System, metric: str, results: Results) -> str:
    if metric not in system.values:
        return NOTHING
    values, images = np.array(system.values[metric]), system.sizes[metric][1]
    low, high = interval(values, system.estimates[metric], images, results.params.evaluate.confidence)
    return f"{_mean(system.values[metric])}<br>{number(low)} to {number(high)}"


def _mean(values: Sequence[float]) -> str:
    if not values:
        return NOTHING
    spread = f" ± {_rounded(np.std(values, ddof=1))}" if len(values) > 1 else ""
    return number(float(np.mean(values))) + spread


def _rounded(deviation: float | np.floating[Any]) -> str:
    return number(float(deviation) if deviation > ROUNDING else 0.0)


def _contrast(part: Part) -> list[str]:
    found = part.contrast
    spread = NOTHING if found.seed_sd is None else _rounded(found.seed_sd)
    return [signed(found.difference), f"{signed(found.low)} to {signed(found.high)}", spread]


def _difference(found: Contrast) -> str:
    spread = "" if found.seed_sd is None else f" ± {_rounded(found.seed_sd)}"
    return f"{signed(found.difference)}{spread}<br>{signed(found.low)} to {signed(found.high)}"


def signed(value: float) -> str:
    """A difference with its sign: `+3.20`, `−0.41`."""
    return number(value) if np.isnan(value) or value < 0 else f"+{number(value)}"


def _correlation(found: Correlation) -> list[str]:
    pairs = ((found.pearson, found.pearson_interval), (found.spearman, found.spearman_interval))
    return [
        str(found.n),
        *(
            NOTHING if np.isnan(value) else f"{signed(value)} ({signed(low)} to {signed(high)})"
            for value, (low, high) in pairs
        ),
    ]


def _code(name: str) -> str:
    return f"`{name}`" if name else NOTHING


def _change(change: dict[str, Any]) -> str:
    return ", ".join(f"{key} {_plain(value)}" for key, value in change.items()) or "none"


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
