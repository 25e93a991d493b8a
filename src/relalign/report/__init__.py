"""The page a person reads: tables, figures and examples in one self-contained file. Computes no metric."""

from relalign.layout import Layout
from relalign.settings import Params
from relalign.system.artifacts import write_atomic


def write_report(params: Params, layout: Layout) -> None:
    """Write `report.html`, `comparison.svg`, `examples.svg`; equal results and parameters give equal bytes."""
    from relalign.report.page import render
    from relalign.report.pictures import write_pictures

    write_pictures(params, layout, layout.results)
    write_atomic(layout.results / "report.html", render(params, layout))
