"""Regularised linear CCA: the closed-form reference, and where every trained method starts.

X holds the standardised summaries of the training images, Y the mean of those of each image's captions. With
covariances made invertible by `C + regularisation * width / images * I` (a covariance is the less known the fewer
images there are for its width) and factored as `L L'`, the canonical directions are the singular vectors of
`Lx^-1 Cxy Ly^-T`; each canonical coordinate is weighted by its correlation to the given power
(Gong et al., "A Multi-View Embedding Space", IJCV 2014, section 3.3), then rows are scaled to unit norm. Trained
methods read the same summaries, and start here.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from scipy.linalg import eigh
from torch import Tensor, nn

from relalign.features.batches import SplitData
from relalign.features.table import Features
from relalign.model.backbone import Backbone, Side, Widths
from relalign.settings.backbone import Backbone as BackboneSettings
from relalign.settings.methods.cca import Cca

_SMALLEST_DEVIATION = 1e-5
_ROWS_AT_ONCE = 32768
START_NORM = 8.0
TRAINED_DEVIATION = 0.2  # of the median


class LinearEmbedder(nn.Module):
    """Two affine maps to one space; the same calls as the backbone's towers, without fusion."""

    image_mean: Tensor
    image_map: Tensor
    text_mean: Tensor
    text_map: Tensor

    def __init__(self, widths: Widths, width: int) -> None:
        super().__init__()
        for side, input_width in (("image", widths.image_summary), ("text", widths.text_summary)):
            self.register_buffer(f"{side}_mean", torch.zeros(input_width))
            self.register_buffer(f"{side}_map", torch.zeros(input_width, width))

    def encode_image(self, features: Features) -> Side:
        """Embed images."""
        return Side(F.normalize((features.summary - self.image_mean) @ self.image_map, dim=-1), features)

    def encode_text(self, features: Features) -> Side:
        """Embed captions."""
        return Side(F.normalize((features.summary - self.text_mean) @ self.text_map, dim=-1), features)


def embedder_width(widths: Widths, settings: Cca) -> int:
    """CCA has no more directions than the narrower side has dimensions."""
    return min(settings.width, widths.image_summary, widths.text_summary)


@dataclass(frozen=True)
class Canonical:
    """One side of a fitted CCA: `((summary - mean) / deviation) @ directions` are its weighted coordinates."""

    mean: Float[Tensor, " width"]
    deviation: Float[Tensor, " width"]
    directions: Float[Tensor, "width directions"]


def start_from_cca(backbone: Backbone, data: SplitData, settings: BackboneSettings) -> None:
    """Start both towers at CCA, scaled so that rows have norm `START_NORM` on average before they are normalised.

    The scale changes no embedding, but how far a step of AdamW, which moves every weight by about the learning
    rate, turns it: weights about as large as those of a random start are not overrun by the first steps.
    """
    width = min(settings.embedding_width, *(side.table.summary.shape[1] for side in (data.image, data.text)))
    image, text = canonical_sides(data, width=width, regularisation=settings.cca_regularisation, power=1.0)
    for tower, features, side in ((backbone.image, data.image, image), (backbone.text, data.text, text)):
        device = features.rows.device
        mean, deviation, directions = (part.to(device) for part in vars(side).values())
        some = features.take(torch.arange(min(len(features), _ROWS_AT_ONCE), device=device)).summary
        scale = (((some - mean) / deviation) @ directions).norm(dim=1).mean() / START_NORM
        tower.start_at(mean, deviation, directions / scale)
        if features.table.below_cut:
            tower.widen_deviations(TRAINED_DEVIATION)


def fit_cca(data: SplitData, settings: Cca, *, widths: Widths) -> LinearEmbedder:
    """Fit on the training split."""
    width = embedder_width(widths, settings)
    sides = canonical_sides(data, width=width, regularisation=settings.regularisation, power=settings.power)
    fitted: dict[str, Tensor] = {}
    for name, side in zip(("image", "text"), sides, strict=True):
        fitted |= {f"{name}_mean": side.mean, f"{name}_map": side.directions / side.deviation[:, None]}
    embedder = LinearEmbedder(widths, width)
    embedder.load_state_dict(fitted)
    return embedder


def canonical_sides(
    data: SplitData, *, width: int, regularisation: float, power: float
) -> tuple[Canonical, Canonical]:
    """The first `width` canonical directions of images and captions, on the CPU; solved in float64."""
    everything = torch.arange(len(data.image))
    image, image_mean, image_deviation = _standardised(data.image, everything)
    text, text_mean, text_deviation = _standardised(data.text, data.image_of_caption.cpu())
    images = len(image)
    ridges = [regularisation * side.shape[1] / images for side in (image, text)]
    (image, image_basis), (text, text_basis) = map(_in_row_space, (image, text))
    image_root, text_root = (_root(side, ridge) for side, ridge in zip((image, text), ridges, strict=True))
    cross = torch.linalg.solve_triangular(image_root, (image.T @ text / images).double(), upper=False)
    between = torch.linalg.solve_triangular(text_root, cross.T, upper=False).T
    left, correlation, right = _largest_singular(between, width)
    weight = correlation**power
    image_map, text_map = (
        F.pad((_unwhitened(root, directions) * weight).float(), (0, width - len(weight)))
        for root, directions in ((image_root, left), (text_root, right))
    )
    return (
        Canonical(image_mean, image_deviation, image_map if image_basis is None else image_basis @ image_map),
        Canonical(text_mean, text_deviation, text_map if text_basis is None else text_basis @ text_map),
    )


def _standardised(side: Features, image_of_row: Int[Tensor, " row"]) -> tuple[Tensor, Tensor, Tensor]:
    """The mean of each image's standardised summaries, and the mean and deviation over rows.

    Rows are read in blocks: captions are several times as many as images.
    """
    blocks = torch.arange(len(side)).split(_ROWS_AT_ONCE)
    mean = torch.stack([_summary(side, rows).sum(0) for rows in blocks]).sum(0) / len(side)
    images = int(image_of_row.max()) + 1
    sums, squares = mean.new_zeros(images, len(mean)), torch.zeros_like(mean)
    for rows in blocks:
        values = _summary(side, rows) - mean
        squares += torch.linalg.vector_norm(values, dim=0).square()
        sums.index_add_(0, image_of_row[rows], values)
    deviation = (squares / len(side)).sqrt().clamp(min=_SMALLEST_DEVIATION)
    counts = torch.bincount(image_of_row, minlength=images)
    return sums.div_(counts[:, None]).div_(deviation), mean, deviation


def _summary(side: Features, rows: Int[Tensor, " row"]) -> Tensor:
    return side.take(rows.to(side.rows.device)).summary.cpu()


def _in_row_space(side: Float[Tensor, "row width"]) -> tuple[Tensor, Tensor | None]:
    """Coordinates and an orthonormal basis of the space that the rows span, if they are fewer than it is wide.

    A ridge knows no direction, so that the solution is the same there, in a fraction of the time.
    """
    if len(side) >= side.shape[1]:
        return side, None
    basis, triangle = torch.linalg.qr(side.T)
    return triangle.T, basis


def _root(side: Float[Tensor, "row width"], ridge: float) -> Float[Tensor, "width width"]:
    covariance = (side.T @ side / len(side)).double()  # sums in float32 are good enough beside the ridge
    covariance.diagonal().add_(ridge)
    root: Tensor = torch.linalg.cholesky(covariance)
    return root


def _unwhitened(root: Tensor, directions: Tensor) -> Tensor:
    solved: Tensor = torch.linalg.solve_triangular(root.T, directions, upper=True)
    return solved


def _largest_singular(matrix: Float[Tensor, "n m"], width: int) -> tuple[Tensor, Tensor, Tensor]:
    """The first singular vectors and values, by way of the smaller Gram matrix: only the large ones are needed."""
    if matrix.shape[0] > matrix.shape[1]:
        right, values, left = _largest_singular(matrix.T, width)
        return left, values, right
    size = len(matrix)
    gram = (matrix @ matrix.T).numpy()
    squared, vectors = map(torch.from_numpy, eigh(gram, subset_by_index=(max(size - width, 0), size - 1)))
    values = squared.flip(0).clamp(min=torch.finfo(squared.dtype).tiny).sqrt()
    left = vectors.flip(1)
    return left, values, (matrix.T @ left) / values
