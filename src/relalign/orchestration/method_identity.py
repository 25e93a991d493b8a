"""What an entry of `method` amounts to: its complete settings, and a hash of the code that is its own.

Training depends on this small file, `results/<dataset>/<method>/method.json`, in place of params.yaml's entry and
of the folder `methods/`: so an entry may take over another one (`of:`), and a change in one method's file, or in
one method's settings, re-trains that method and no other. A changed comment re-trains none.
"""

from pathlib import Path
from typing import Any

from relalign.layout import Layout
from relalign.settings.methods import Method
from relalign.system.artifacts import pretty_json, write_atomic
from relalign.system.source_hash import source_hash

METHODS = Path(__file__).parents[1] / "methods"
SHARED = ("cca", "method", "model_files")  # CCA is where all others start


def method_identity(settings: Method) -> dict[str, Any]:
    """The settings with all defaults, and the hash of `methods/<algorithm>.py` with what all methods share."""
    files = [METHODS / f"{name}.py" for name in sorted({*SHARED, settings.algorithm})]
    return {"settings": settings.model_dump(mode="json"), "code": source_hash(files)}


def write_method_identity(settings: Method, layout: Layout, *, method: str) -> None:
    """Publish `method.json`."""
    write_atomic(layout.method(method), pretty_json(method_identity(settings)))
