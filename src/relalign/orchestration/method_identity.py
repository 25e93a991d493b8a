"""What one method's training amounts to: its complete settings, and a hash of the code that it runs.

Training, export and evaluation depend on this small file, `results/<dataset>/<method>/method.json`, in place
of the settings and sources themselves. So an entry of `method` may take over another one (`of:`); a change in
one method's file, or in its settings, re-trains that method and no other; a changed comment re-trains none; and
dvc.lock names the sources once a method, not once a run.
"""

from pathlib import Path
from typing import Any

from relalign.layout import Layout
from relalign.settings import Params
from relalign.settings.methods import added_module, taught_by
from relalign.system.artifacts import digest, pretty_json, write_atomic
from relalign.system.source_hash import source_hash

PACKAGE = Path(__file__).parents[1]
# What training and export import, beside the method's own file. A test compares it with the imports.
CODE = (
    "data/pairs.py",
    "features/batches.py",
    "features/encoders/base.py",
    "features/encoders/efficientnet_lite.py",
    "features/encoders/low_rank.py",
    "features/encoders/part.py",
    "features/encoders/pretrained.py",
    "features/encoders/trained.py",
    "features/encoders/transformers_part.py",
    "features/encoders/transformers_text.py",
    "features/store.py",
    "features/table.py",
    "methods/cca.py",  # where all others start
    "methods/learner.py",
    "methods/method.py",
    "methods/model_files.py",
    "methods/zero_shot.py",
    "metrics/common_subsequence.py",
    "metrics/geometry.py",
    "metrics/isd.py",
    "metrics/ndcg.py",
    "metrics/neighbours.py",
    "metrics/ranks.py",
    "metrics/recall.py",
    "metrics/relevance.py",
    "metrics/similarity.py",
    "metrics/tied.py",
    "metrics/vectors.py",
    "model",
    "objectives",
    "retrieval/__init__.py",
    "retrieval/embeddings.py",
    "retrieval/finished.py",
    "retrieval/fusion_share.py",
    "retrieval/index.py",
    "retrieval/relevance_files.py",
    "retrieval/two_stage.py",
    "training",
)


def method_identity(params: Params, method: str) -> dict[str, Any]:
    """All settings of a method's training, with all defaults, and the hash of its code."""
    settings = params.settings_of(method)
    return {
        "settings": settings.model_dump(mode="json"),
        "backbone": params.backbone.model_dump(mode="json"),
        "training": params.training.model_dump(mode="json", exclude={"checkpoint_seconds"}),
        "encoders": {
            name: params.encoder[name].model_dump(mode="json", include={"train_from", "views"})
            for _, name in params.encoders
        },
        "rotate_validation": params.datasets[params.dataset].rotate_validation,
        "code": _code_hash(settings.algorithm),
    }


def write_method_identity(params: Params, layout: Layout, *, method: str) -> None:
    """Publish `method.json`: the identity, and the hashes of the trained teachers that the method asks for."""
    identity = method_identity(params, method)
    encoders = [getattr(params.encoders, side) for side in taught_by(params.settings_of(method))]
    teachers = {name: digest(layout.teacher(name)) for name in encoders}
    write_atomic(layout.method(method), pretty_json(identity | ({"teachers": teachers} if teachers else {})))


def _code_hash(algorithm: str) -> str:
    added = added_module(algorithm)
    own = PACKAGE / f"methods/{algorithm}.py" if added is None else Path(str(added.__file__))
    named = (*(PACKAGE / name for name in CODE), own)
    files = {file for path in named for file in (path.rglob("*.py") if path.is_dir() else [path])}
    return source_hash(sorted(files))
