"""Several versions of an image, cached below the cut: what is left of augmentation when lower layers run once.

View 0 is the image, view 1 its mirror image, and each further one a random crop, mirrored by chance: an area of
0.5 to 1 of the image and an aspect ratio of 3/4 to 4/3 (Szegedy et al., CVPR 2015, whose area begins at 0.08:
captions speak of the whole picture).
"""

import hashlib
import math

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

AREA, RATIO = (0.5, 1.0), (3 / 4, 4 / 3)


def view_of(image: Image.Image, view: int, digest: UInt8[np.ndarray, " 32"]) -> Image.Image:
    """A view of an image; equal bytes (`digest`, of the file) have equal views."""
    if view == 0:
        return image
    if view == 1:
        return ImageOps.mirror(image)
    random = np.random.default_rng([view, *digest.tolist()])
    area = random.uniform(*AREA) * image.width * image.height
    ratio = math.exp(random.uniform(*np.log(RATIO))) * image.width / image.height
    width, height = (
        min(round(side), whole)
        for side, whole in ((math.sqrt(area * ratio), image.width), (math.sqrt(area / ratio), image.height))
    )
    left, top = (int(random.integers(s + 1)) for s in (image.width - width, image.height - height))
    cropped = image.crop((left, top, left + width, top + height))
    return ImageOps.mirror(cropped) if random.random() < 0.5 else cropped


def of_view(digest: bytes, view: int) -> bytes:
    """The hash of a view of what has this hash."""
    return digest if view == 0 else hashlib.sha256(digest + view.to_bytes(2)).digest()
