"""`relalign table`: the comparison in a terminal. `relalign pictures`: README's pictures and table."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from relalign.layout import Layout
    from relalign.settings import Params


def add_report_commands(commands: Any) -> None:
    """Add `table` and `pictures` to the command line."""
    for name, run, description in (
        ("table", _table, "print the comparison of the dataset in params.yaml, and where the report is"),
        ("pictures", _pictures, "draw the comparison and a few examples as SVG files, and write README's table"),
    ):
        parser = commands.add_parser(name, help=description, description=description)
        parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="default: %(default)s")
        if name == "pictures":
            parser.add_argument("--readme", type=Path, default=Path("README.md"), help="default: %(default)s")
            parser.add_argument("--to", type=Path, default=Path("docs/images"), help="default: %(default)s")
        parser.set_defaults(run=run)


def _project(options: argparse.Namespace) -> "tuple[Params, Layout]":
    from relalign.layout import Layout
    from relalign.settings import load_params

    params = load_params(options.params)
    return params, Layout(options.params.resolve().parent, params.dataset)


def _table(options: argparse.Namespace) -> None:
    from relalign.comparison.stage import read_comparison
    from relalign.report.comparison_table import terminal_table

    results = _project(options)[1].results
    table = terminal_table(read_comparison(results / "comparison.csv"))
    sys.stdout.write(f"\n{table}\n\nreport: {results / 'report.html'}\n")


def _pictures(options: argparse.Namespace) -> None:
    from relalign.report.pictures import write_pictures, write_readme_table

    params, layout = _project(options)
    for path in write_pictures(params, layout, options.to):
        sys.stdout.write(f"{path}\n")
    write_readme_table(layout, options.readme)
    sys.stdout.write(f"{options.readme}\n")
