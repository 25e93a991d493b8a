"""Regularised linear CCA on pooled features: the closed-form reference that no trained method may lose to.

With centred features X (images, one row a caption) and Y (captions) and covariances made invertible by
`C + regularisation * mean(diag(C)) * I`, the canonical directions are the singular vectors of
`Cxx^-1/2 Cxy Cyy^-1/2`; each canonical coordinate is weighted by its correlation to the given power
(Gong et al., "A Multi-View Embedding Space", IJCV 2014, section 3.3), then rows are scaled to unit norm.
"""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from relalign.backbone import Backbone, Side, Widths
from relalign.batches import Features, SplitData
from relalign.params import Backbone as BackboneSettings
from relalign.params import Cca


class LinearEmbedder(nn.Module):
    """Two affine maps to one space; the same calls as the backbone's towers, without fusion."""

    image_mean: Tensor
    image_map: Tensor
    text_mean: Tensor
    text_map: Tensor

    def __init__(self, widths: Widths, width: int) -> None:
        super().__init__()
        for side, input_width in (("image", widths.image_pooled), ("text", widths.text_pooled)):
            self.register_buffer(f"{side}_mean", torch.zeros(input_width))
            self.register_buffer(f"{side}_map", torch.zeros(input_width, width))

    def encode_image(self, features: Features) -> Side:
        """Embed images."""
        return Side(F.normalize((features.pooled - self.image_mean) @ self.image_map, dim=-1), features)

    def encode_text(self, features: Features) -> Side:
        """Embed captions."""
        return Side(F.normalize((features.pooled - self.text_mean) @ self.text_map, dim=-1), features)


def embedder_width(widths: Widths, settings: Cca) -> int:
    """CCA has no more directions than the narrower side has dimensions."""
    return min(settings.width, widths.image_pooled, widths.text_pooled)


def start_from_cca(backbone: Backbone, data: SplitData, settings: BackboneSettings) -> None:
    """Start both linear paths of the backbone at CCA, scaled so that embeddings have norm 1 on average."""
    widths = Widths(0, data.image.pooled.shape[1], 0, data.text.pooled.shape[1])
    start = Cca(
        algorithm="cca", regularisation=settings.cca_regularisation, width=settings.embedding_width, power=1.0
    )
    fitted = fit_cca(data, start, widths=widths).to(data.image.pooled.device)
    sides = (
        (backbone.image, data.image, fitted.image_mean, fitted.image_map),
        (backbone.text, data.text, fitted.text_mean, fitted.text_map),
    )
    for tower, features, mean, linear_map in sides:
        scale = ((features.pooled - mean) @ linear_map).norm(dim=1).mean()
        tower.start_linear_at(mean, linear_map / scale)


def fit_cca(data: SplitData, settings: Cca, *, widths: Widths) -> LinearEmbedder:
    """Fit on the training split, in float64 (an SVD of near-singular covariances needs it)."""
    image = data.image.pooled[data.image_of_caption].double().numpy(force=True)
    text = data.text.pooled.double().numpy(force=True)
    image_mean, text_mean = image.mean(0), text.mean(0)
    image, text = image - image_mean, text - text_mean
    whiten_image, whiten_text = (_inverse_root(side.T @ side / len(side), settings) for side in (image, text))
    left, correlation, right = np.linalg.svd(whiten_image @ (image.T @ text / len(text)) @ whiten_text)
    width = embedder_width(widths, settings)
    weight = correlation[:width] ** settings.power
    embedder = LinearEmbedder(widths, width)
    fitted = {
        "image_mean": image_mean,
        "image_map": whiten_image @ left[:, :width] * weight,
        "text_mean": text_mean,
        "text_map": whiten_text @ right.T[:, :width] * weight,
    }
    embedder.load_state_dict({name: torch.from_numpy(value).float() for name, value in fitted.items()})
    return embedder


def _inverse_root(
    covariance: Float[NDArray[np.float64], "width width"], settings: Cca
) -> Float[NDArray[np.float64], "width width"]:
    ridge = settings.regularisation * np.trace(covariance) / len(covariance)
    values, vectors = np.linalg.eigh(covariance + ridge * np.eye(len(covariance)))
    root: NDArray[np.float64] = (vectors / np.sqrt(values)) @ vectors.T
    return root
