"""`relalign study ...`: what the rules of workflow/rules/study.smk call."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

ACTIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "trial": (
        "train one trial of the search and measure it on validation",
        ("dataset", "regime", "method", "trial"),
    ),
    "gather": ("write the record of all trials", ("dataset", "regime")),
    "keep": ("keep the records of all searches in docs/search", ()),
    "features": ("make an encoder's features under a condition", ("dataset", "condition", "encoder")),
    "run": ("train and measure one variant", ("dataset", "condition", "variant", "seed", "search")),
    "findings": ("keep the runs, and write docs/findings.md and docs/findings", ()),
    "recount": ("judge all claims anew by the kept runs, without training", ()),
    "premise-features": ("make the features below a cut of the premise's runs", ("dataset", "cut")),
    "premise-run": ("train the baseline with one cut", ("dataset", "cut", "seed")),
    "premise": ("write docs/premise.md from the runs that there are", ()),
}
TYPES: dict[str, type] = {"trial": int, "seed": int, "search": Path}


def add_study_commands(commands: Any) -> None:
    """Add `study` and its sub-commands to the command line."""
    study = commands.add_parser("study", help="run one step of the study (study.yaml), as Snakemake does")
    actions = study.add_subparsers(dest="action", required=True)
    for name, (description, needs) in ACTIONS.items():
        parser = actions.add_parser(name, help=description, description=description)
        parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="default: %(default)s")
        for need in needs:
            parser.add_argument(f"--{need}", required=True, type=TYPES.get(need, str))
        parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from relalign.settings import load_params
    from relalign.study import findings, premise, runs, search
    from relalign.study.settings import load_study

    actions: dict[str, Callable[..., None]] = {
        "trial": search.run_trial,
        "gather": search.gather_search,
        "keep": search.keep_search,
        "features": runs.make_features,
        "run": runs.run_variant,
        "findings": findings.write_findings,
        "recount": findings.recount,
        "premise-features": premise.make_features,
        "premise-run": premise.run_cut,
        "premise": premise.write_premise,
    }
    params, root = load_params(options.params), options.params.resolve().parent
    study = load_study(root / "study.yaml", params)
    actions[options.action](
        params, study, root, **{name: getattr(options, name) for name in ACTIONS[options.action][1]}
    )
