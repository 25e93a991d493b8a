"""What the one training loop asks of what it trains: a cross-modal method, or a single-modal teacher."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from relalign.features.batches import Batch
from relalign.features.encoders.trained import TrainedEncoder

Terms = dict[str, Float[Tensor, ""]]


class Learner(nn.Module, ABC):
    """A module with an objective."""

    @abstractmethod
    def loss(self, batch: Batch, *, progress: float, generator: torch.Generator) -> Terms:
        """Named, weighted terms whose sum is minimised; `progress` runs from 0 to 1 over training."""

    @property
    @abstractmethod
    def trained_encoders(self) -> Mapping[str, TrainedEncoder]:
        """The encoders that train with it, by modality."""

    @property
    def complete_from(self) -> float:
        """The share of training from which on the objective is complete; no earlier epoch may be selected."""
        return 0.0

    @property
    def captions(self) -> int:
        """How many captions of each image a batch must hold, from two on."""
        return 2

    def started_parameters(self) -> Iterable[nn.Parameter]:
        """The weights that have a good start already: they learn at `training.learning_rate`."""
        return ()

    def language_parameters(self) -> Iterable[nn.Parameter]:
        """The weights that start from a text encoder: they learn at `training.encoder_learning_rate`."""
        return ()

    def pretrained_modules(self) -> Iterable[nn.Module]:
        """What is a model of its own before any training: `training.pretrained_share` returns to it in part."""
        return ()

    def project(self) -> None:
        """Bring parameters that an update took beyond their bounds back to them; called after every update."""

    def scalars(self) -> dict[str, float]:
        """Learned scalars worth watching, logged every epoch."""
        return {}
