"""The methods, by their `algorithm` in params.yaml. To add one: its file here, its settings in params.py."""

from collections.abc import Callable

from relalign.methods.contrastive import ContrastiveMethod
from relalign.methods.method import TrainedMethod

TRAINED: dict[str, Callable[..., TrainedMethod]] = {
    "contrastive": ContrastiveMethod,
}
