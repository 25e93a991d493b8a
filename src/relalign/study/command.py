"""`relalign study ...`: what the rules of workflow/rules/study.smk call."""

import argparse
from pathlib import Path
from typing import Any

ACTIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "trial": ("train one trial of the search and measure it on validation", ("dataset", "method", "trial")),
    "choose": ("take the best trial of a method", ("dataset", "method")),
    "features": ("make the features of a corrupted modality", ("dataset", "condition")),
    "run": ("train and measure one variant", ("dataset", "condition", "variant", "seed")),
    "findings": ("write docs/findings.md", ()),
}


def add_study_commands(commands: Any) -> None:
    """Add `study` and its sub-commands to the command line."""
    study = commands.add_parser("study", help="run one step of the study (study.yaml), as Snakemake does")
    actions = study.add_subparsers(dest="action", required=True)
    for name, (description, needs) in ACTIONS.items():
        parser = actions.add_parser(name, help=description, description=description)
        parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="default: %(default)s")
        for need in needs:
            parser.add_argument(f"--{need}", required=True, type=int if need in ("trial", "seed") else str)
        parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from relalign.params import load_params
    from relalign.study import runs
    from relalign.study.settings import load_study

    params, root = load_params(options.params), options.params.resolve().parent
    study = load_study(root / "study.yaml", params)
    given = {name: getattr(options, name) for name in ACTIONS[options.action][1]}
    if options.action == "trial":
        runs.run_trial(params, study, root, **given)
    elif options.action == "choose":
        runs.choose(params, study, root, **given)
    elif options.action == "features":
        runs.make_corrupted_features(params, root, **given)
    elif options.action == "run":
        runs.run_variant(params, study, root, **given)
    else:
        from relalign.study.findings import write_findings

        write_findings(params, study, root)
