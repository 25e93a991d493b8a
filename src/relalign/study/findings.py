"""docs/findings.md."""

from pathlib import Path

from relalign.params import Params
from relalign.study.settings import Study


def write_findings(params: Params, study: Study, root: Path) -> None:
    """Write docs/findings.md."""
    raise NotImplementedError
