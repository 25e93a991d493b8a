"""One small file an evaluated run, so that what collects all runs can depend on one folder.

DVC cannot name "the outputs of all methods and seeds" as a dependency. A receipt holds the hashes of a run's
metrics and of its evaluation's manifest, which through the manifests' input hashes covers all that led there.
"""

from relalign.layout import Layout
from relalign.settings import Params
from relalign.system.artifacts import digest, pretty_json, write_atomic


def write_receipt(layout: Layout, *, method: str, seed: int) -> None:
    """Record what a run's evaluation came to."""
    run = layout.run(method, seed)
    hashes = {name: digest(run / name) for name in ("metrics.json", "evaluation")}
    write_atomic(layout.receipt(method, seed), pretty_json(hashes))


def drop_other_receipts(params: Params, layout: Layout) -> None:
    """Remove the receipts of runs that params.yaml names no longer: the folder is what the comparison compares."""
    named = {layout.receipt(method, seed) for method in params.methods for seed in params.seeds}
    for receipt in layout.receipt("*", 0).parent.glob("*.json"):
        if receipt not in named:
            receipt.unlink()
