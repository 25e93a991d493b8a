"""A single-modal teacher: an encoder that learns from the images, or the captions, of the training split alone.

    first, second = vectors of two views of each row
    loss          = NT-Xent(first, second) + w * mean over pairs of the band of cosines(first)

The views of an image are two of those that are cached (`encoder.<name>.views`; SimCLR, arXiv 2002.05709). Views
also differ by dropout, and those of a caption only so (SimCSE, arXiv 2104.08821): by that of an encoder that
trains, and by that before the head. How the papers' authors trained their teachers is unknown; the band is from
CoVLR's released code, where it is of its consistency loss.

vector = unit pooled vector of the encoder + head, which starts at nothing: so a teacher starts as the frozen one.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from relalign.features.batches import Batch
from relalign.features.encoders.trained import TrainedEncoder
from relalign.features.table import Features
from relalign.methods.learner import Learner, Terms
from relalign.model.dropout import Dropout
from relalign.objectives.consistency import band_regulariser, nt_xent_loss
from relalign.settings.teacher import Teacher


class SingleModalTeacher(Learner):
    """One modality's encoder, from its cut on if it trains, and a residual head over its own vector."""

    def __init__(self, side: str, settings: Teacher, *, width: int, encoder: TrainedEncoder | None) -> None:
        super().__init__()
        self.side = side
        self.settings = settings
        self.dropout = Dropout(settings.dropout)
        last = nn.Linear(width, width)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), last)
        self.encoder = encoder

    @property
    def trained_encoders(self) -> Mapping[str, TrainedEncoder]:
        """The one encoder, if it trains."""
        return {} if self.encoder is None else {self.side: self.encoder}

    def loss(self, batch: Batch, *, progress: float, generator: torch.Generator) -> Terms:
        """The contrast of two views of each row, and the band where it is asked for."""
        first, second = (self.vectors(view) for view in two_views(batch.unmixed_text, generator))
        terms = {"contrast": nt_xent_loss(first, second, temperature=self.settings.temperature)}
        if self.settings.band_weight > 0:
            band = band_regulariser(F.normalize(first, dim=1)) / len(first) ** 2
            terms["band"] = self.settings.band_weight * band
        return terms

    def vectors(self, features: Features) -> Float[Tensor, "row width"]:
        """The teacher's vector of each row."""
        read = features if self.encoder is None else self.encoder.read(features)
        unit = F.normalize(self.dropout(read.pooled), dim=1)
        vectors: Tensor = unit + self.head(unit)
        return vectors


def two_views(features: Features, generator: torch.Generator) -> tuple[Features, Features]:
    """Two different cached views of each row, drawn at random; the row twice where there is one view.

    `features` are first views.
    """
    views, device = features.table.views, features.rows.device
    if views == 1:
        return features, features
    first = torch.randint(views, features.rows.shape, generator=generator)
    second = (first + 1 + torch.randint(views - 1, features.rows.shape, generator=generator)) % views
    return features.in_view(first.to(device)), features.in_view(second.to(device))
