"""The methods, by their `algorithm` in params.yaml: which objectives each combines, and how. One file a method.

To add one: its file here, its settings in `relalign.settings.methods`.
"""

from collections.abc import Callable

from relalign.methods.consensus import ConsensusMethod
from relalign.methods.contrastive import ContrastiveMethod
from relalign.methods.covlr import CovlrMethod
from relalign.methods.iais import IaisMethod
from relalign.methods.method import TrainedMethod
from relalign.methods.rebalanced import RebalancedMethod

TRAINED: dict[str, Callable[..., TrainedMethod]] = {
    "contrastive": ContrastiveMethod,
    "covlr": CovlrMethod,
    "rebalanced": RebalancedMethod,
    "iais": IaisMethod,
    "consensus": ConsensusMethod,
}
