"""Structure-aware distillation (Rebalanced, IEEE TIP 33:6881): keep a mix of two teachers' relations."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from relalign.objectives.similarity import cosine_matrix, off_diagonal

Distance = Literal["mae", "mse", "cumulative", "wasserstein"]


@dataclass(frozen=True)
class StructureLoss:
    """Distance from the mixed teachers' relations E of the student's, the image teacher's and the text teacher's.

    `image` and `text` reach only the mix and the temperature. With "mae" and one temperature t,
    `image = |mix| m / t` and `text = |1 - mix| m / t`, m being the mean absolute difference of the two
    teachers' cosines: their equally weighted sum is flat for a mix in [0, 1], so it bounds the mix but cannot
    choose it, and a growing temperature shrinks all three at no gain (see `Rebalanced` for the guards).
    """

    student: Float[Tensor, ""]
    image: Float[Tensor, ""]
    text: Float[Tensor, ""]


def structure_loss(
    student: Float[Tensor, "batch student_width"],
    teacher_image: Float[Tensor, "batch image_width"],
    teacher_text: Float[Tensor, "batch text_width"],
    *,
    mix: float | Float[Tensor, ""],
    temperature: float | Float[Tensor, ""],
    distance: Distance = "mae",
    weights: Float[Tensor, "batch batch"] | None = None,
) -> StructureLoss:
    """Compare cosines / temperature of all ordered pairs of different items with E = mix text + (1 - mix) image.

    Distances: "mae", "mse"; "cumulative", the mean absolute difference of the running sums over the flattened
    pairs, which the released code calls `kl`; "wasserstein", the mean over rows of the 1-D distance between the
    two sets of relations, the pair (i, j) weighing `weights[i, j]` (non-negative; all alike by default), for
    which `image` and `text` are 0 as released. Left out are the two small MLPs through which the released code
    sends the teachers for "wasserstein" only: learned, they can give the teachers any relations, the student's
    too. Gradients flow into student, mix and temperature, never into the
    teachers.
    """
    return relation_structure_loss(
        cosine_matrix(student, student),
        cosine_matrix(teacher_image.detach(), teacher_image.detach()),
        cosine_matrix(teacher_text.detach(), teacher_text.detach()),
        mix=mix,
        temperature=temperature,
        distance=distance,
        weights=weights,
    )


def relation_structure_loss(
    student: Float[Tensor, "batch batch"],
    teacher_image: Float[Tensor, "batch batch"],
    teacher_text: Float[Tensor, "batch batch"],
    *,
    mix: float | Float[Tensor, ""],
    temperature: float | Float[Tensor, ""],
    distance: Distance = "mae",
    weights: Float[Tensor, "batch batch"] | None = None,
) -> StructureLoss:
    """`structure_loss` given matrices of cosines, so that relations *between* modalities can be matched too."""
    given, image, text = (off_diagonal(m) / temperature for m in (student, teacher_image, teacher_text))
    mixed = mix * text + (1 - mix) * image
    if distance == "wasserstein":
        shares = torch.ones_like(given) if weights is None else off_diagonal(weights)
        zero = given.new_zeros(())
        return StructureLoss(wasserstein_rows(given, mixed, shares).mean(), zero, zero)
    return StructureLoss(*(_mean_distance(each, mixed, distance) for each in (given, image, text)))


def _mean_distance(first: Tensor, second: Tensor, distance: Distance) -> Tensor:
    difference = first - second
    if distance == "mse":
        return difference.square().mean()
    if distance == "cumulative":
        difference = difference.flatten().cumsum(0)
    return difference.abs().mean()


def wasserstein_rows(
    first: Float[Tensor, "row item"], second: Float[Tensor, "row item"], weights: Float[Tensor, "row item"]
) -> Float[Tensor, " row"]:
    """1-D Wasserstein-1 distance of each row's two weighted sets of values: the area between their CDFs.

    The same `weights` (made to sum to 1 a row; a row of zeros gives 0) hold for both sets. With equal weights
    it is the mean absolute difference of the sorted values.
    """
    shares = weights / weights.sum(dim=1, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)
    values, order = torch.cat([first, second], dim=1).sort(dim=1)
    gap = torch.cat([shares, -shares], dim=1).gather(1, order).cumsum(dim=1)
    return (gap[:, :-1].abs() * values.diff(dim=1)).sum(dim=1)
