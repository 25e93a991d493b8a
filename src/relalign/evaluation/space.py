"""The geometry of a run's embeddings as measurements and numbers."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from relalign.metrics.geometry import alignment, modality_gap, neighbours_kept, uniformity
from relalign.metrics.measurement import Measurement
from relalign.metrics.vectors import unit_rows
from relalign.retrieval.embeddings import Embeddings


def measure_space(embeddings: Embeddings) -> tuple[list[Measurement], dict[str, float]]:
    """`geometry/alignment` (a value a caption) and the numbers `modality_gap`, `uniformity_image`, `..._text`."""
    image = unit_rows(embeddings.image, "image embeddings", embeddings.image_ids)
    text = unit_rows(embeddings.text, "text embeddings", embeddings.text_ids)
    distance = alignment(image[torch.from_numpy(embeddings.text_to_image)], text).numpy()
    numbers = {"geometry/modality_gap": modality_gap(image, text)}
    numbers |= {
        f"geometry/uniformity_{side}": uniformity(rows) for side, rows in (("image", image), ("text", text))
    }
    aligned = Measurement("geometry/alignment", embeddings.text_ids, embeddings.text_image_ids, distance)
    return [aligned], numbers


def measure_neighbours(
    embeddings: Embeddings,
    image_teacher: Float[Tensor, "image image_width"],
    text_teacher: Float[Tensor, "caption text_width"],
    *,
    k: int,
) -> list[Measurement]:
    """`geometry/image_neighbours@k` and `geometry/text_neighbours@k`: percent of each teacher's neighbours kept.

    The teachers are the frozen single-modal encoders' pooled vectors, rows in the order of `embeddings`. Queries
    are all images, and of each image the first caption; candidates are all images, and all captions.
    """
    _, first = np.unique(embeddings.text_to_image, return_index=True)
    sides = (
        ("image", embeddings.image, embeddings.image_ids, image_teacher, np.arange(len(embeddings.image))),
        ("text", embeddings.text, embeddings.text_ids, text_teacher, first),
    )
    image_of = {"image": embeddings.image_ids, "text": embeddings.text_image_ids}
    measurements = []
    for name, rows, ids, teacher, queries in sides:
        kept = neighbours_kept(
            unit_rows(rows, f"{name} embeddings", ids),
            unit_rows(teacher, f"{name} encoder's pooled vectors", ids),
            torch.from_numpy(queries),
            k=k,
        )
        measurements.append(
            Measurement(f"geometry/{name}_neighbours@{k}", ids[queries], image_of[name][queries], kept.numpy())
        )
    return measurements
