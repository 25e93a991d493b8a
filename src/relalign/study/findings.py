"""docs/findings.md and its pictures: every number in them comes from the study's results or its settings."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

from relalign.report.comparison_table import LEVEL, number
from relalign.settings import Params
from relalign.study import tables
from relalign.study.judging import Finding, judge_claims
from relalign.study.pictures import dataset_pictures
from relalign.study.results import Results
from relalign.study.settings import Study, Tuning, budget_of, evaluate_of
from relalign.system.artifacts import write_atomic

NOTES = "docs/findings-notes.md"


def write_findings(params: Params, study: Study, root: Path) -> None:
    """Write docs/findings.md and `docs/study/<dataset>-*.svg`; equal results give equal bytes.

    Claims and variants without results are said not to have been run. docs/findings-notes.md, written by hand, is
    taken in as it is.
    """
    found = {dataset: Results(params, study, root, dataset) for dataset in study.datasets}
    findings = {dataset: judge_claims(results) for dataset, results in found.items()}
    pictures = {name: svg for results in found.values() for name, svg in dataset_pictures(results).items()}
    parts = [
        "# Findings",
        _introduction(),
        _glance(params, found, set(pictures)),
        _summary(findings, len(study.seeds)),
        _notes(root),
        _method(params, study, found),
    ]
    for dataset, results in found.items():
        parts.append(_dataset(results, findings[dataset], set(pictures)))
    for name, svg in pictures.items():
        write_atomic(root / f"docs/study/{name}.svg", svg)
    parts.append(_tuning(params, study, found))
    parts.append("## Variants\n\n" + tables.variants_table(study))
    write_atomic(root / "docs/findings.md", "\n\n".join(part for part in parts if part) + "\n")


def _introduction() -> str:
    return _text(f"""
        `relalign study findings` writes this page from the results of the study (study.yaml); edit {NOTES}
        instead. What is measured, and how, is in [evaluation.md](evaluation.md). The claims are the papers', in
        our words; a claim's verdict is about the methods as implemented here, on frozen encoders' features, at
        this scale.
    """)


def _glance(params: Params, found: Mapping[str, Results], pictures: set[str]) -> str:
    """The pictures of what the methods and main ablations add to the baseline."""
    shown = [picture for dataset in found if (picture := _picture(f"{dataset}-gains", pictures))]
    if not shown:
        return ""
    legend = _text(f"""
        What methods and main ablations add to `{params.report.baseline}` on the test split
        ({_list(tuple(found))}), mean over seeds; lines are {tables.percent(params.evaluate.confidence)} intervals
        over test images.
    """)
    return "\n\n".join(["## At a glance", *shown, legend])


def _summary(findings: Mapping[str, list[Finding]], seeds: int) -> str:
    counts = []
    for dataset, of_dataset in findings.items():
        number_of = Counter(finding.verdict for finding in of_dataset)
        counts.append(f"- {dataset}: " + ", ".join(f"{count} {name}" for name, count in sorted(number_of.items())))
    legend = _text(f"""
        Below a verdict: the differences in what it is measured by, in that order (intervals and p-values are with
        the results of each dataset), and how many seeds where there are fewer than {seeds}.
    """)
    table = tables.summary_table(dict(findings), seeds)
    return "\n\n".join(["## Which claims hold", "\n".join(counts), legend, table])


def _notes(root: Path) -> str:
    path = root / NOTES
    if not path.is_file():
        return ""
    return "## What was tried, and what we make of it\n\n" + path.read_text(encoding="utf-8").strip()


def _method(params: Params, study: Study, found: Mapping[str, Results]) -> str:
    settings, search = params.evaluate, study.search
    sizes = ", ".join(
        f"{dataset} ({len(results.images)} test images)" if results.variants() else dataset
        for dataset, results in found.items()
    )
    trials = len(next(iter(search.methods.values()), Tuning()).trials)
    margins = ", ".join(f"{number(value)} for {name}" for name, value in study.margin.items())
    training, evaluate = budget_of(params, study), evaluate_of(params, study)
    budget = f"{training.epochs} epochs in batches of {training.batch_size}, {training.precision}"
    sweep = study.sweep
    rates = ", ".join(number(rate) for rate in sweep.rates)
    kinds = ", ".join(f"{modality}s by '{kind}'" for modality, kind in sweep.kinds.items())
    return _text(f"""
        ## How it was done

        - **Data**: {sizes}.
        - **Tuning**: {trials} trials for each method (seed {search.seed}), measured on the validation split by
          mean recall plus mean single-modal nDCG@10, which sees neither re-ranking nor ISD. A coordinate search:
          the first trial has the weights of the paper or its code, as far as they are known (CoVLR's relation
          weight, next to nothing as released, starts where it acts), ours weights of 1; each later one changes
          the best of those before its axis. What methods share, the learning rate for one, comes last and is tuned
          for each of them, too: the best is not the same for all. All trials are [below](#tuning), and kept in
          docs/search, which the runs go by. Ablations have the settings of their method but for
          [what they change](#variants).
        - **Runs**: {len(study.variants)} variants, seeds {_list(study.seeds)}, on the test split; a budget for all
          alike ({budget}), but for those with [a budget of their own or fewer seeds](#variants); the first
          {evaluate.rerank_depth} candidates are re-ranked by fusion (only "re-ranked" numbers use it). Fusion, and
          with it ISD, is computed in {evaluate.precision}. All methods are selected from the same epochs, those
          after {tables.percent(training.select_from)} of the training.
        - **Poor data** ({_list(sweep.datasets)}): {kinds}, at rates {rates}, in all splits; seeds
          {_list(sweep.seeds)}, variants {_list(sweep.variants)}. Relevance is that of the clean captions.
        - **Intervals**: {tables.percent(settings.confidence)}, percentile bootstrap over test images
          ({settings.bootstrap_samples} samples), the same images for all. They say how much a number, averaged
          over seeds, would change with other test images.
        - **sd over seeds** (after ±) answers another question: how much it changes from training to training. For
          a difference it is that of the differences seed by seed.
        - **Tests**: paired permutation tests that flip the signs of images' differences ({study.permutations}
          patterns); for the growth of a gain, of differences of differences. They do not see how trainings
          differ: read the sd over seeds beside p, and what has one seed only as a hint. Learned mixes and
          correlations over epochs have no share of an image: there seeds are the sample (mixes: Student's t;
          correlations: flips of their signs, with which five seeds cannot be significant, and the range over seeds
          in place of an interval). Correlations over variants: permutations of the points. p-values are Holm's
          over all claims tested on a dataset; intervals are not corrected, and neither is a verdict that rests on
          one.
        - **Verdicts**: *reproduced* if in the claimed direction with p < {LEVEL}. *Not reproduced* if significant
          in the other direction, or if the interval excludes an improvement of the margin. Otherwise
          *inconclusive*. "Without loss" is *reproduced* if the interval excludes a loss of the margin, be a
          smaller one significant or not (p is that of any difference). Margins, the smallest difference worth
          having: {margins}; none for mixes and correlations. "Below the margin" marks what is reproduced but
          shown to be smaller than that. A claim of several comparisons needs all of them (intersection-union);
          its p is the largest of theirs, and one that is not reproduced is enough for the claim not to be.
          Comparisons without a claimed direction end as *higher*, *lower*, *equal* (the interval lies within the
          margin) or *inconclusive*.
    """)


def _dataset(results: Results, findings: list[Finding], pictures: set[str]) -> str:
    confidence, dataset = results.params.evaluate.confidence, results.dataset
    parts = [
        f"## Results: {dataset}",
        f"### {dataset}: all variants",
        "Mean over seeds ± sd over seeds; below it, the interval over test images.",
        tables.main_table(results),
        f"### {dataset}: the claims, tested",
        tables.claims_table(findings, confidence),
    ]
    if results.study.conditions(dataset):
        parts += [f"### {dataset}: poor images, poor captions", tables.sweep_table(results)]
        parts += [_picture(f"{dataset}-{side}", pictures) for side in results.study.sweep.kinds]
    parts += [
        f"### {dataset}: attention distance and retrieval",
        _text("""
            Variants with a model or budget of their own are left out, as retrieval and distance both change with
            those. Points are not independent, as variants are ablations of each other: these intervals are too
            narrow.
        """),
        tables.correlation_table(results),
        _text("""
            Over the epochs of a training (Spearman's correlation with Rsum on validation; mean over seeds, and the
            lowest and highest), both numbers change anyway: it does not say that one brings about the other, and
            means little unless it is stronger with the alignment than without it.
        """),
        tables.epochs_table(results),
        _picture(f"{dataset}-isd", pictures),
        _picture(f"{dataset}-epochs", pictures),
    ]
    return "\n\n".join(part for part in parts if part)


def _tuning(params: Params, study: Study, found: Mapping[str, Results]) -> str:
    searches = {dataset: results.search for dataset, results in found.items()}
    parts = ["## Tuning", "The settings that were varied:", tables.tuned_table(params, study, searches)]
    for dataset, results in found.items():
        parts += [f"### {dataset}: all trials, on validation", tables.search_table(results)]
    return "\n\n".join(parts)


def _picture(name: str, pictures: set[str]) -> str:
    return f"![{name}](study/{name}.svg)" if name in pictures else ""


def _list(items: tuple[str | int, ...]) -> str:
    return ", ".join(map(str, items)) or "none"


def _text(block: str) -> str:
    return dedent(block).strip()
