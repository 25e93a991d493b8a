import numpy as np
import pytest
import torch

from relalign.features.batches import SplitData
from relalign.features.table import features_of
from relalign.methods.cca import fit_cca
from relalign.model.backbone import Widths
from relalign.retrieval.embeddings import embed
from relalign.settings.methods.cca import Cca


def _data(images: int, image_width: int, text_width: int) -> SplitData:
    generator = torch.Generator().manual_seed(0)
    owners = np.repeat(np.arange(images), 1 + np.arange(images) % 3)
    latent = torch.randn(images, 4, generator=generator)

    def features(rows: torch.Tensor, width: int):
        summary = rows @ torch.randn(4, width, generator=generator)
        summary = 3 * summary + torch.randn(summary.shape, generator=generator)
        lengths = torch.ones(len(rows), dtype=torch.long)
        return features_of(torch.zeros(len(rows), 1, 1), lengths, torch.zeros(len(rows), 1), summary)

    image, text = features(latent, image_width), features(latent[torch.from_numpy(owners)], text_width)
    return SplitData.build(np.arange(images), np.arange(len(owners)), owners, image, text)


def _by_definition(data: SplitData, settings: Cca, width: int) -> np.ndarray:
    """Cosines of images and captions, with inverse square roots of the covariances and a whole SVD."""
    image, captions = (side.summary.double().numpy() for side in (data.image, data.text))
    image, captions = ((side - side.mean(0)) / side.std(0) for side in (image, captions))
    owner = data.image_of_caption.numpy()
    text = np.stack([captions[owner == i].mean(0) for i in range(len(image))])

    def inverse_root(side: np.ndarray) -> np.ndarray:
        ridge = settings.regularisation * side.shape[1] / len(side)
        values, vectors = np.linalg.eigh(side.T @ side / len(side) + ridge * np.eye(side.shape[1]))
        return (vectors / np.sqrt(values)) @ vectors.T

    roots = inverse_root(image), inverse_root(text)
    left, correlation, right = np.linalg.svd(roots[0] @ (image.T @ text / len(image)) @ roots[1])
    weight = correlation[:width] ** settings.power
    first, second = image @ roots[0] @ left[:, :width] * weight, captions @ roots[1] @ right.T[:, :width] * weight
    first, second = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (first, second))
    return first @ second.T


@pytest.mark.parametrize(("image_width", "text_width"), [(7, 9), (9, 7), (6, 6), (60, 9), (9, 60), (60, 70)])
@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_cosines_are_those_of_the_definition(image_width: int, text_width: int, power: float) -> None:
    data = _data(40, image_width, text_width)
    settings = Cca(algorithm="cca", regularisation=0.5, width=4, power=power)
    cca = fit_cca(data, settings, widths=Widths(1, 1, image_width, 1, 1, text_width))
    image, text = embed(cca, data)
    np.testing.assert_allclose(image @ text.T, _by_definition(data, settings, 4), atol=1e-4)


def test_directions_beyond_the_number_of_images_are_nothing() -> None:
    data = _data(5, 12, 14)
    wide, narrow = (
        fit_cca(data, Cca(algorithm="cca", width=width), widths=Widths(1, 1, 12, 1, 1, 14)) for width in (10, 5)
    )
    assert not wide.image_map[:, 5:].any()
    assert wide.image_map.shape == (12, 10)
    for several, few in zip(embed(wide, data), embed(narrow, data), strict=True):
        np.testing.assert_allclose(several @ several.T, few @ few.T, atol=1e-5)


def test_a_constant_feature_is_left_alone() -> None:
    data = _data(40, 7, 9)
    data.image.summary[:, 3] = 2.0
    cca = fit_cca(data, Cca(algorithm="cca", width=4), widths=Widths(1, 1, 7, 1, 1, 9))
    assert all(np.isfinite(side).all() for side in embed(cca, data))
