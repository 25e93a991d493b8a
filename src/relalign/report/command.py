"""`relalign table`: the comparison in a terminal, and where the report is."""

import argparse
import sys
from pathlib import Path
from typing import Any


def add_table_command(commands: Any) -> None:
    """Add `table` to the command line."""
    description = "print the comparison of the dataset in params.yaml, and where the report is"
    parser = commands.add_parser("table", help=description, description=description)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="default: %(default)s")
    parser.set_defaults(run=_table)


def _table(options: argparse.Namespace) -> None:
    from relalign.comparison import read_comparison
    from relalign.layout import Layout
    from relalign.params import load_params
    from relalign.report.comparison_table import terminal_table

    params = load_params(options.params)
    results = Layout(options.params.resolve().parent, params.dataset).results
    table = terminal_table(read_comparison(results / "comparison.csv"))
    sys.stdout.write(f"\n{table}\n\nreport: {results / 'report.html'}\n")
