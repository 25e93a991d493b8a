"""The settings of the methods: for `relalign/methods/<name>.py` the file of that name here.

A method that someone adds brings its settings in its own file (docs/extend.md): `Settings` in
`relalign/methods/<name>.py` is found by the `algorithm` of an entry.
"""

import re
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Annotated, Any, get_args

from pydantic import Field, SerializeAsAny, WrapValidator

from relalign.settings.methods.cca import Cca
from relalign.settings.methods.consensus import Consensus
from relalign.settings.methods.contrastive import Contrastive
from relalign.settings.methods.covlr import Covlr
from relalign.settings.methods.iais import Iais
from relalign.settings.methods.rebalanced import Rebalanced
from relalign.settings.methods.zero_shot import ZeroShot

__all__ = [
    "Cca",
    "Consensus",
    "Contrastive",
    "Covlr",
    "Iais",
    "Method",
    "Rebalanced",
    "ZeroShot",
    "added_module",
    "taught_by",
]

BuiltIn = Cca | ZeroShot | Contrastive | Covlr | Rebalanced | Iais | Consensus
ALGORITHMS = tuple(get_args(one.model_fields["algorithm"].annotation)[0] for one in get_args(BuiltIn))


def added_module(algorithm: str) -> ModuleType | None:
    """The file that someone has added for an algorithm, `relalign/methods/<algorithm>.py`; None if there is
    none, or the algorithm is one that comes with this package."""
    if algorithm in ALGORITHMS or not re.fullmatch(r"[a-z][a-z0-9_]*", algorithm):
        return None
    name = f"relalign.methods.{algorithm}"
    module = import_module(name) if find_spec(name) is not None else None
    return module if hasattr(module, "Settings") else None


def taught_by(settings: Any) -> tuple[str, ...]:
    """The modalities whose trained teachers a method asks for, as its settings' `taught` says."""
    return getattr(settings, "taught", ())


def _of_added(value: Any, built_in: Callable[[Any], Any]) -> Any:
    algorithm = value.get("algorithm") if isinstance(value, Mapping) else None
    module = added_module(algorithm) if isinstance(algorithm, str) else None
    return built_in(value) if module is None else module.Settings.model_validate(value)


Method = Annotated[SerializeAsAny[BuiltIn], Field(discriminator="algorithm"), WrapValidator(_of_added)]
