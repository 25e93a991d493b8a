from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from relalign.errors import RelalignError
from relalign.features.encoders.transformers_image import TransformersImageEncoder
from tests.features.encoders.checkpoints import save_joint, save_vision

CPU = torch.device("cpu")
PREFIX = {"vit": 1, "deit": 2, "dinov2": 1, "dinov2_with_registers": 5}


def _images(count: int = 3) -> list[Image.Image]:
    noise = np.random.default_rng(0).integers(0, 256, (count, 20, 30, 3), dtype=np.uint8)
    return [Image.fromarray(pixels) for pixels in noise]


def _encoded(folder: Path):
    encoder = TransformersImageEncoder(folder, CPU)
    inputs = np.stack([encoder.prepare(image) for image in _images()])
    return encoder, torch.from_numpy(inputs), encoder.encode(inputs)


@pytest.mark.parametrize("kind", sorted(PREFIX))
def test_only_patches_are_regions_and_cls_is_the_pooled_vector(kind: str, tmp_path: Path) -> None:
    save_vision(kind, tmp_path)
    encoder, pixels, encoded = _encoded(tmp_path)
    with torch.inference_mode():
        hidden = encoder.part.model(pixel_values=pixels).last_hidden_state
    assert hidden.shape[1] == PREFIX[kind] + 4
    torch.testing.assert_close(encoded.tokens, hidden[:, PREFIX[kind] :])
    torch.testing.assert_close(encoded.pooled, hidden[:, 0])
    regions = hidden[:, PREFIX[kind] :]
    expected = torch.cat([hidden[:, 0], regions.mean(1), regions.amax(1)], dim=1)
    torch.testing.assert_close(encoded.summary, expected)


@pytest.mark.parametrize("kind", ["swin", "convnext"])
def test_models_without_cls_pool_by_the_mean_of_their_regions(kind: str, tmp_path: Path) -> None:
    save_vision(kind, tmp_path)
    _, _, encoded = _encoded(tmp_path)
    assert encoded.tokens.shape == (3, 4, {"swin": 16, "convnext": 8}[kind])
    torch.testing.assert_close(encoded.pooled, encoded.tokens.mean(1))


@pytest.mark.parametrize(("kind", "prefix", "width"), [("clip", 1, 8), ("siglip", 0, 16)])
def test_joint_models_pool_into_the_shared_space(kind: str, prefix: int, width: int, tmp_path: Path) -> None:
    save_joint(kind, tmp_path)
    encoder, pixels, encoded = _encoded(tmp_path)
    with torch.inference_mode():
        tower = encoder.part.model.vision_model(pixel_values=pixels)
        shared = (
            encoder.part.model.visual_projection(tower.pooler_output) if kind == "clip" else tower.pooler_output
        )
    torch.testing.assert_close(encoded.tokens, tower.last_hidden_state[:, prefix:])
    torch.testing.assert_close(encoded.pooled, shared)
    assert encoded.pooled.shape == (3, width)


def test_each_image_is_encoded_independently_of_its_batch(tmp_path: Path) -> None:
    save_vision("vit", tmp_path)
    encoder, pixels, encoded = _encoded(tmp_path)
    alone = encoder.encode(pixels[1:2].numpy())
    torch.testing.assert_close(alone.tokens[0], encoded.tokens[1])


def test_a_checkpoint_that_lacks_weights_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    save_vision("vit", tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    weights.pop(next(name for name in weights if name.endswith("layernorm.weight")))
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(RelalignError, match="lacks 1 weights"):
        TransformersImageEncoder(tmp_path, CPU)


def test_a_folder_without_preprocessing_is_refused_by_name(tmp_path: Path) -> None:
    save_vision("vit", tmp_path)
    (tmp_path / "preprocessor_config.json").unlink()
    with pytest.raises(RelalignError, match="preprocessor_config.json"):
        TransformersImageEncoder(tmp_path, CPU)
