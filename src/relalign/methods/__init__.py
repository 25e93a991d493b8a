"""The methods, by their `algorithm` in params.yaml: which objectives each combines, and how. One file a method.

To add one: docs/extend.md. Its file is found here by its name.
"""

from collections.abc import Callable

from relalign.methods.consensus import ConsensusMethod
from relalign.methods.contrastive import ContrastiveMethod
from relalign.methods.covlr import CovlrMethod
from relalign.methods.iais import IaisMethod
from relalign.methods.method import TrainedMethod
from relalign.methods.rebalanced import RebalancedMethod
from relalign.settings.methods import added_module

TRAINED: dict[str, Callable[..., TrainedMethod]] = {
    "contrastive": ContrastiveMethod,
    "covlr": CovlrMethod,
    "rebalanced": RebalancedMethod,
    "iais": IaisMethod,
    "consensus": ConsensusMethod,
}


def trained_method(algorithm: str) -> Callable[..., TrainedMethod] | None:
    """What builds a trained method, one that someone has added among them (its class `Method`); None for those
    that are not trained."""
    module = added_module(algorithm)
    return TRAINED.get(algorithm) if module is None else module.Method
