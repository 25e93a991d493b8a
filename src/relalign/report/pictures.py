"""The pictures of README: standalone SVG files, made from the results like everything else in the report."""

from importlib.resources import files
from pathlib import Path

import jinja2

from relalign.comparison.stage import read_comparison
from relalign.errors import RelalignError
from relalign.layout import Layout
from relalign.report import figures, plots
from relalign.report.comparison_table import markdown_table
from relalign.report.examples import read_examples
from relalign.settings import Params
from relalign.system.artifacts import write_atomic

COLOURS = (
    "<style>svg { --ink: #1d2329; --line: #d5d9dc; font-family: sans-serif; } "
    "@media (prefers-color-scheme: dark) { svg { --ink: #e3e6e8; --line: #38414a; } }</style>"
)
INCHES = 9.6
BEGIN, END = "<!-- made by `relalign pictures` -->", "<!-- end of what is made -->"


def write_pictures(params: Params, layout: Layout, folder: Path) -> list[Path]:
    """Write `comparison.svg` and `examples.svg` into `folder`; equal results give equal bytes."""
    comparison = read_comparison(layout.results / "comparison.csv")
    panels = [plots.recall_plot(comparison, side) for side in ("i2t", "t2i")] + [
        plots.single_modal_plot(comparison)
    ]
    drawn = figures.draw(
        *(panel for panel in panels if panel is not None),
        name="comparison",
        width=INCHES,
        height=1.0 + 0.42 * len(comparison.entries),
    )
    contents = {
        "comparison.svg": drawn.replace(">", f">{COLOURS}", 1),
        "examples.svg": _examples(params, layout),
    }
    for name, content in contents.items():
        write_atomic(folder / name, content + "\n")
    return [folder / name for name in contents]


def write_readme_table(layout: Layout, readme: Path) -> None:
    """Replace what stands between the two marks of README by the comparison as Markdown.

    Raises `RelalignError` if the marks are not there.
    """
    text = readme.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise RelalignError(f"{readme}: there are no lines '{BEGIN}' and '{END}' to write the table between.")
    table = markdown_table(read_comparison(layout.results / "comparison.csv"))
    write_atomic(readme, f"{before}{BEGIN}\n\n{table}\n{END}{after}")


def _examples(params: Params, layout: Layout) -> str:
    """Captions with the first images that the last method of `methods` finds for them."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    template = environment.from_string(files("relalign.report").joinpath("examples.svg.j2").read_text())
    method = params.methods[-1]
    queries = read_examples(params, layout, 4)["text → image"]
    rows = [{"caption": query.caption, "found": query.answers[method]} for query in queries]
    return template.render(rows=rows, colours=COLOURS, method=method)
