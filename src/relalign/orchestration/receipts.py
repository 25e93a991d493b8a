"""One small file an evaluated run, so that what collects all runs can depend on one folder.

DVC cannot name "the outputs of all methods and seeds" as a dependency. A receipt holds the hashes of a run's
metrics and of its evaluation's manifest, which through the manifests' input hashes covers all that led there.
"""

from pathlib import Path

from relalign.errors import RelalignError
from relalign.layout import Layout
from relalign.settings import Params
from relalign.system.artifacts import digest, pretty_json, write_atomic


def write_receipt(layout: Layout, *, method: str, seed: int) -> None:
    """Record what a run's evaluation came to."""
    write_atomic(layout.receipt(method, seed), pretty_json(_hashes(layout.run(method, seed))))


def _hashes(run: Path) -> dict[str, str]:
    return {name: digest(run / name) for name in ("metrics.json", "evaluation")}


def check_receipt(layout: Layout, *, method: str, seed: int) -> None:
    """Raise `RelalignError` if what a run's evaluation came to is no longer what its receipt, if any, says."""
    run, receipt = layout.run(method, seed), layout.receipt(method, seed)
    if receipt.is_file() and receipt.read_text(encoding="utf-8") != pretty_json(_hashes(run)):
        raise RelalignError(
            f"{run / 'metrics.json'} or {run / 'evaluation'} is not what {receipt} says. Delete the three and run "
            "the pipeline again."
        )


def drop_other_receipts(params: Params, layout: Layout) -> None:
    """Remove the receipts of runs that params.yaml names no longer: the folder is what the comparison compares."""
    named = {layout.receipt(method, seed) for method in params.methods for seed in params.seeds}
    for receipt in layout.receipt("*", 0).parent.glob("*"):  # and what a killed process left
        if receipt not in named:
            receipt.unlink()
