"""`relalign compare`: differences between evaluated runs, with intervals and paired tests."""

import argparse
import fnmatch
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from relalign.commands.table import difference_table
from relalign.comparison.paired import RunResult, read_run
from relalign.comparison.stage import compare_systems, write_comparison
from relalign.errors import RelalignError
from relalign.settings.evaluate import Evaluate


def run(options: argparse.Namespace) -> None:
    """Compare every run with the first one and print a row a metric and run."""
    settings = Evaluate(bootstrap_samples=options.bootstrap_samples, permutations=options.permutations)
    names = _names(options.runs)
    systems = {name: _seeds(path) for name, path in zip(names, options.runs, strict=True)}
    comparison = compare_systems(systems, baseline=names[0], settings=settings)
    if options.output is not None:
        write_comparison(comparison, options.output)
    rows = []
    for name in names[1:]:
        for metric, entry in comparison.entries[name].items():
            base = comparison.entries[names[0]].get(metric)
            if base is not None and any(fnmatch.fnmatch(metric, pattern) for pattern in options.metrics):
                rows.append({"metric": metric, "run": name, "baseline": base.value, **vars(entry)})
    if not rows:
        raise RelalignError(f"No metric that all runs have is named like {' or '.join(options.metrics)}.")
    sys.stdout.write(difference_table(pd.DataFrame(rows), names[0], settings.confidence))


def _names(runs: Sequence[Path]) -> list[str]:
    """A name a run: the last part of the path that tells them apart."""
    parts = [path.resolve().parts for path in runs]
    if len(set(parts)) != len(parts):
        raise RelalignError("A run stands twice.")
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(names):
            break
    return names


def _seeds(path: Path) -> list[RunResult]:
    """A run folder, or a folder of run folders `seed*`, which are one system with several seeds."""
    if (path / "metrics.json").is_file():
        return [read_run(path)]
    seeds = sorted(folder for folder in path.glob("seed*") if (folder / "metrics.json").is_file())
    if not seeds:
        raise RelalignError(f"{path} holds neither metrics.json nor seed*/metrics.json. Evaluate that run first.")
    return [read_run(seed) for seed in seeds]
