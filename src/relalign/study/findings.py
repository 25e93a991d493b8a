"""docs/findings.md, its appendix and its pictures: every number is from what is kept of the study's runs."""

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

from relalign.errors import RelalignError
from relalign.report.comparison_table import LEVEL, number
from relalign.settings import Params
from relalign.study import tables
from relalign.study.claims import claims_by_page, headline
from relalign.study.judging import Finding, judge_claims
from relalign.study.kept import keep_runs, kept_settings, wanted_runs
from relalign.study.pictures import dataset_pictures
from relalign.study.results import Results
from relalign.study.settings import CLEAN, PAGES, Regime, Study, Tuning, budget_of, evaluate_of
from relalign.system.artifacts import write_atomic

NOTES = "docs/findings-notes.md"
HEADLINE = "docs/findings.md"
EARLIER = "docs/findings/earlier.md"
TITLES = {
    "variants": "All variants",
    "premise": "The premise",
    "covlr": "CoVLR",
    "rebalanced": "Rebalanced",
    "iais": "IAIS",
    "consensus": "Ours (consensus)",
    "how": "How it was done",
    "tuning": "Tuning",
}
SECTIONS = ("why", "surprised", "limits", *PAGES)


def write_findings(params: Params, study: Study, root: Path) -> None:
    """Keep what the runs have left (`relalign.study.kept`), and write docs/findings.md, docs/findings and
    docs/study.

    Equal results give equal bytes. Claims and variants without results are said not to have been run. The sections
    of docs/findings-notes.md, written by hand, are taken into the pages that they are named after.
    """
    for dataset in study.datasets:
        keep_runs(params, study, root, dataset)
    for path, content in _written(_judge(params, study, root)).items():
        write_atomic(root / path, content)


def recount(params: Params, study: Study, root: Path) -> None:
    """Judge all claims anew by what is kept; print the headline, write the pages, say which changed."""
    judged = _judge(params, study, root)
    for place, row in enumerate(headline()):
        for dataset, findings in judged.headline.items():
            sys.stdout.write(
                f"{place + 1:>2}  {dataset:<10} {tables.verdict_of(findings[place]):<40} {row.sentence}\n"
            )
    changed = []
    for path, content in _written(judged).items():
        before = (root / path).read_text(encoding="utf-8") if (root / path).is_file() else ""
        if before != content:
            write_atomic(root / path, content)
            changed.append(path)
    for dataset in study.datasets:
        wanted = wanted_runs(params, study, root, dataset)
        stale = [key for key, made in kept_settings(root, dataset).items() if wanted.get(key) != made]
        if stale:
            sys.stdout.write(
                f"{dataset}: {len(stale)} kept runs were made with other settings than those of study.yaml and "
                "count for nothing; `make study` makes those that it asks for.\n"
            )
    sys.stdout.write(f"Written anew: {', '.join(changed)}\n" if changed else "All pages were as they are.\n")


@dataclass(frozen=True)
class Judged:
    """All results of the study and what they say, by dataset and regime (`Results.name`); of the appendix by page,
    too."""

    params: Params
    study: Study
    root: Path
    results: Mapping[str, Results]
    headline: Mapping[str, list[Finding]]
    pages: Mapping[str, Mapping[str, list[Finding]]]
    notes: Mapping[str, str]

    def note(self, section: str) -> str:
        """A section of the notes written by hand; empty without."""
        return self.notes.get(section, "")


def _judge(params: Params, study: Study, root: Path) -> Judged:
    each = [
        Results(params, study, root, dataset, regime=regime)
        for dataset in study.datasets
        for regime in study.regimes_of(dataset)
    ]
    results = {found.name: found for found in each}
    rows, least = [row.claims for row in headline()], study.least_seeds
    return Judged(
        params,
        study,
        root,
        results,
        {name: judge_claims(rows, found, least.headline) for name, found in results.items()},
        {
            page: {
                name: judge_claims([(claim,) for claim in claims], found, least.others)
                for name, found in results.items()
            }
            for page, claims in claims_by_page().items()
        },
        read_notes(root / NOTES),
    )


def read_notes(path: Path) -> dict[str, str]:
    """The sections of the notes, by their headings. Raises `RelalignError` for a heading that no page takes."""
    if not path.is_file():
        return {}
    found = {}
    for section in re.split(r"^## ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        name, _, text = section.partition("\n")
        if name.strip() not in SECTIONS:
            raise RelalignError(f"{path}: '{name.strip()}' is no section. Use one of {', '.join(SECTIONS)}.")
        found[name.strip()] = text.strip()
    return found


def _written(judged: Judged) -> dict[str, str]:
    """Every file, by its path from the project's folder."""
    drawn = {name: svg for results in judged.results.values() for name, svg in dataset_pictures(results).items()}
    files = {f"docs/study/{name}.svg": svg for name, svg in drawn.items()}
    pages = {HEADLINE: _front(judged)}
    for page in PAGES:
        body = [_page(page, judged, set(drawn)), judged.note(page)]
        parts = [f"# Findings: {TITLES[page]}", "[All findings](../findings.md)", *body]
        pages[f"docs/findings/{page}.md"] = "\n\n".join(part for part in parts if part)
    return files | {path: text + "\n" for path, text in pages.items()}


def _front(judged: Judged) -> str:
    why = dict(re.findall(r"^(\d+)\. (.*(?:\n +.*)*)", judged.note("why"), flags=re.MULTILINE))
    why = {place: " ".join(text.split()) for place, text in why.items()}
    premise = [
        f"![Relations within each modality as matching is trained, {dataset}](study/premise-{dataset}.svg)"
        for dataset in judged.study.datasets
        if (judged.root / f"docs/study/premise-{dataset}.svg").is_file()
    ]
    if premise:
        premise.append("The premise of all three papers, measured ([what is shown](premise.md)).")
    confidence = tables.percent(judged.params.evaluate.confidence)
    introduction = _text(f"""
        Do the three papers' claims hold, as implemented here and at this scale? One row a claim: the verdict, the
        effect with its {confidence} interval over trainings *and* test images, and why. `relalign study recount`
        judges anew by what is kept of the runs, in a minute and without training; edit {NOTES}, not this page.
    """)
    legend = _text(f"""
        A claim of several comparisons needs all of them; of several rivals the least favourable is shown. *Equal*:
        shown to be within the margin; *inconclusive*: neither. A verdict needs {judged.study.least_seeds.headline}
        seeds; p-values are corrected over the rows of a dataset, intervals are not ([how](findings/how.md)).
        *Earlier numbers* are the rounded ones of a study whose runs are not kept ([its
        page](findings/earlier.md)), judged by the rule of now.
    """)
    links = ", ".join(f"[{TITLES[page]}](findings/{page}.md)" for page in PAGES)
    parts = [
        "# Findings",
        introduction,
        *premise,
        "## Which claims hold",
        tables.headline_table(headline(), judged.headline, why),
        legend,
        _titled("What surprised", judged.note("surprised")),
        _titled("Limits", judged.note("limits")),
        f"## More\n\nEvery comparison and ablation: {links}, [the earlier study](findings/earlier.md).",
    ]
    return "\n\n".join(part for part in parts if part)


def _page(page: str, judged: Judged, drawn: set[str]) -> str:
    if page == "how":
        return _method(judged.params, judged.study, judged.results)
    if page == "tuning":
        return _tuning(judged.params, judged.study, judged.results)
    parts = []
    for dataset, results in judged.results.items():
        if page == "variants":
            parts += _variants(results, drawn)
            continue
        parts += [f"## {dataset}", tables.claims_table(judged.pages[page][dataset], results)]
        if page == "rebalanced" and results.regime == CLEAN and results.study.conditions(dataset):
            parts += [f"### {dataset}: poor images, poor captions", tables.sweep_table(results)]
            parts += [_picture(f"{dataset}-{side}", drawn) for side in results.study.sweep.kinds]
        if page == "iais":
            parts += _attention(results, drawn)
    if page == "variants":
        parts += ["## What they are", tables.variants_table(judged.study)]
    return "\n\n".join(part for part in parts if part)


def _titled(title: str, text: str) -> str:
    return f"## {title}\n\n{text}" if text else ""


def _variants(results: Results, drawn: set[str]) -> list[str]:
    return [
        f"## {results.name}",
        _picture(f"{results.stem}-gains", drawn),
        "Mean over seeds ± sd over seeds; below it the interval, over trainings and test images.",
        *tables.main_tables(results),
    ]


def _method(params: Params, study: Study, found: Mapping[str, Results]) -> str:
    settings, search = params.evaluate, study.search
    sizes = ", ".join(
        f"{dataset} ({len(results.images)} test images)" if results.variants() else dataset
        for dataset, results in found.items()
        if results.regime == CLEAN
    )
    regimes = "\n".join(_regime(name, regime) for name, regime in study.regimes.items())
    trials = len(next(iter(search.methods.values()), Tuning()).trials)
    margins = ", ".join(f"{number(value)} for {name}" for name, value in study.margin.items())
    training, evaluate = budget_of(params, study), evaluate_of(params, study)
    budget = f"{training.epochs} epochs in batches of {training.batch_size}, {training.precision}"
    sweep = study.sweep
    rates = ", ".join(number(rate) for rate in sweep.rates)
    kinds = ", ".join(f"{modality}s by '{kind}'" for modality, kind in sweep.kinds.items())
    return _text(f"""
        - **Data**: {sizes}.
        - **Tuning**: {trials} trials for each method (seed {search.seed}), measured on the validation split by
          mean recall plus mean single-modal nDCG@10, which sees neither re-ranking nor ISD. A coordinate search:
          the first trial has the weights of the paper or its code, as far as they are known (CoVLR's relation
          weight, next to nothing as released, starts where it acts), ours weights of 1; each later one changes
          the best of those before its axis. What methods share, the learning rate for one, comes last and is tuned
          for each of them, too: the best is not the same for all. [All trials](tuning.md) are kept in
          docs/search, which the runs go by. Ablations have the settings of their method but for
          [what they change](variants.md#what-they-are).
        - **Runs**: {len(study.variants)} variants, seeds {_list(study.seeds)}, on the test split; a budget for all
          alike ({budget}), but for those with a budget of their own or fewer seeds; the first
          {evaluate.rerank_depth} candidates are re-ranked by fusion (only "re-ranked" numbers use it). Fusion, and
          with it ISD, is computed in {evaluate.precision}. All methods are selected from the same epochs, those
          after {tables.percent(training.select_from)} of the training. Runs that see unequally many captions of an
          image in a step are in tables of their own, and no claim compares them unless that is what it is about.
        - **Poor data** ({_list(sweep.datasets)}): {kinds}, at rates {rates}, in all splits; seeds
          {_list(sweep.seeds)}, variants {_list(sweep.variants)}. Relevance is that of the clean captions. How a
          gain grows is the slope of its line over all rates, times their range.
        REGIMES
        - **Intervals**: {tables.percent(settings.confidence)}, for another training and other test images: seeds
          and images are crossed, their variances are taken apart, and each keeps the quantile of its own degrees
          of freedom ([evaluation.md](../evaluation.md#how-sure), `relalign.metrics.crossed`). Differences are
          paired by seed and image. Images are bootstrapped ({settings.bootstrap_samples} samples). With one seed
          they are over images alone, and there is no verdict: *one seed: an indication*.
        - **Tests** are by the same rule: p is where the interval would end at nothing. Learned mixes have no share
          of an image: Student's t over seeds. Correlations over epochs: flips of their signs over seeds, with
          which five seeds cannot be significant, and the range over seeds in place of an interval. Correlations
          over variants: permutations of the points ({study.permutations} patterns).
        - **Correction**: p-values are Holm's over all claims of one page (the headline is one) and dataset. The
          p-values of being equal and of falling short of the margin, questions of their own, are corrected
          likewise. Intervals are not.
        - **Verdicts**: *reproduced* if in the claimed direction with p < {LEVEL}, *not reproduced* if in the
          other. Otherwise *equal* if the difference is shown to be smaller than the margin (two one-sided tests),
          and *not reproduced* if an improvement by the margin is excluded (one one-sided test); else
          *inconclusive*. "Without loss" is *reproduced* if a loss of the margin is excluded, be a smaller one
          significant or not. Margins, stated in study.yaml before the runs: {margins}; none for mixes and
          correlations. "Below the margin" marks what is reproduced but shown to be smaller than that. A claim of
          several comparisons needs all of them (intersection-union); its p is the largest of theirs, and one that
          is not reproduced, or equal, is enough for the claim not to be. Comparisons without a claimed direction
          end as *higher*, *lower*, *equal* or *inconclusive*. A verdict needs {study.least_seeds.headline} seeds
          in the headline and {study.least_seeds.others} elsewhere.
    """).replace("REGIMES\n", f"{regimes}\n" if regimes else "")


def _regime(name: str, regime: Regime) -> str:
    change = ", ".join(f"{key} {value}" for key, value in regime.change.items())
    trials = len(next(iter(regime.search.values()), Tuning()).trials) - 1
    return _text(f"""
        - **Regime `{name}`** ({_list(regime.datasets)}): encoders train from layer {regime.image} (images) and
          {regime.text} (texts) on, which is where relations can be lost ([premise](../premise.md)); methods as
          tuned above but for {change}, from where {trials} trials tune each further; seeds {_list(regime.seeds)},
          variants {_list(regime.variants)}. Its claims and tests are the same, and a family of their own.
    """)


def _attention(results: Results, drawn: set[str]) -> list[str]:
    return [
        f"### {results.name}: attention distance and retrieval",
        _text("""
            Variants with a model, budget or captions a step of their own are left out, as retrieval and distance
            both change with those. Points are not independent, as variants are ablations of each other: these
            intervals are too narrow.
        """),
        tables.correlation_table(results),
        _text("""
            Over the epochs of a training (Spearman's correlation with Rsum on validation; mean over seeds, and the
            lowest and highest), both numbers change anyway: it does not say that one brings about the other, and
            means little unless it is stronger with the alignment than without it.
        """),
        tables.epochs_table(results),
        _picture(f"{results.stem}-isd", drawn),
        _picture(f"{results.stem}-epochs", drawn),
    ]


def _tuning(params: Params, study: Study, found: Mapping[str, Results]) -> str:
    found = {name: one for name, one in found.items() if one.regime in one.study.searched(one.dataset)}
    searches = {name: results.search for name, results in found.items() if results.regime == CLEAN}
    parts = ["The settings that were varied:", tables.tuned_table(params, study, searches)]
    for dataset, results in found.items():
        parts += [f"## {dataset}: all trials, on validation", tables.search_table(results)]
    return "\n\n".join(parts)


def _picture(name: str, pictures: set[str]) -> str:
    return f"![{name}](../study/{name}.svg)" if name in pictures else ""


def _list(items: tuple[str | int, ...]) -> str:
    return ", ".join(map(str, items)) or "none"


def _text(block: str) -> str:
    return dedent(block).strip()
