"""Towers and their ONNX files give what the model gives; ONNX Runtime is run."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import save_file

from relalign.errors import RelalignError
from relalign.features.encoders.efficientnet_lite import WEIGHTS, EfficientNetLite0
from relalign.layout import Layout
from relalign.methods.model_files import build_method, load_model, save_model
from relalign.model.backbone import Backbone, Widths
from relalign.retrieval import onnx_files
from relalign.retrieval.onnx_files import IMAGE_FILE, TEXT_FILE, write_onnx
from relalign.retrieval.retrieval_model import RetrievalModel
from relalign.retrieval.towers import ImageTower, TextTower, padded_tokens
from relalign.settings import Params
from relalign.settings.encoder import Encoder
from relalign.system.artifacts import publish
from tests.features.encoders.checkpoints import WORDS
from tests.raw_runs import RUNS
from tests.retrieval.conftest import RunOf

CPU = torch.device("cpu")
ROWS = 200
random = np.random.default_rng(0)
IMAGES = [random.integers(0, 256, (*random.integers(8, 40, 2), 3), dtype=np.uint8) for _ in range(ROWS)]
TEXTS = [" ".join(random.choice(WORDS, size=random.integers(1, 9))) for _ in range(ROWS)]


def embeddings_of_onnx(model: RetrievalModel, folder: Path) -> list[np.ndarray]:
    """What ONNX Runtime makes of all images and texts, in batches of several sizes and lengths."""
    write_onnx(model, folder)
    image, text = (onnxruntime.InferenceSession(folder / name) for name in (IMAGE_FILE, TEXT_FILE))
    found: list[list[np.ndarray]] = [[], []]
    for rows in (slice(0, 1), slice(1, 8), slice(8, ROWS)):
        found[0] += image.run(None, {"pixels": prepared(model, IMAGES[rows]).numpy()})
        ids, mask = (tensor.numpy() for tensor in padded_tokens(model, TEXTS[rows]))
        found[1] += text.run(None, {"input_ids": ids, "attention_mask": mask})
    return [np.concatenate(parts) for parts in found]


def prepared(model: RetrievalModel, images) -> torch.Tensor:
    from PIL import Image

    return torch.from_numpy(np.stack([model.image_encoder.prepare(Image.fromarray(image)) for image in images]))


@pytest.mark.parametrize("kind", RUNS)
def test_onnx_runtime_gives_what_torch_gives(run_of: RunOf, tmp_path: Path, kind: str) -> None:
    params, layout, method = run_of(kind)
    model = RetrievalModel.of_run(params, layout, method=method, seed=0, device=CPU)
    expected = model.encode_images(IMAGES), model.encode_texts(TEXTS)
    for found, rows in zip(embeddings_of_onnx(model, tmp_path), expected, strict=True):
        # Below a cut, a float16 may be rounded to the other side: of a model as tiny as this it is a large part.
        atol = 1e-3 if params.encoder[params.encoders.image].train_from and method != "cca" else 1e-4
        np.testing.assert_allclose(found, rows, atol=atol)
        assert np.mean(np.abs(found - rows) > 1e-4) < 0.02
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("cut", [None, "blocks.13"])
def test_onnx_runtime_gives_what_torch_gives_of_efficientnet(
    run_of: RunOf, tmp_path: Path, cut: str | None
) -> None:
    model = with_efficientnet(tmp_path, cut, run_of("frozen"))
    expected = model.encode_images(IMAGES[:20])
    write_onnx(model, tmp_path)
    session = onnxruntime.InferenceSession(tmp_path / IMAGE_FILE)
    (found,) = session.run(None, {"pixels": prepared(model, IMAGES[:20]).numpy()})
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert expected.std(0).max() > 1e-3


def with_efficientnet(root: Path, cut: str | None, run: tuple[Params, Layout, str]) -> RetrievalModel:
    """A model whose image encoder has the default's architecture, with random weights."""
    from relalign.features.encoders.trained import load_trained

    torch.manual_seed(0)
    settings = {
        "kind": "efficientnet_lite0",
        "modality": "image",
        "source": {"url": "file:none"},
        "image_size": 96,
    }
    encoder = Encoder.model_validate({**settings, "train_from": cut})
    with publish(root / "image", made_by="tests") as draft:
        save_file({name: 2.5 * value for name, value in EfficientNetLite0().state_dict().items()}, draft / WEIGHTS)
    params, layout, _ = run
    known = load_model(layout.run("contrastive", 0) / "model", device=CPU)
    assert isinstance(known, Backbone)
    widths = Widths(1280, 1280, 2560, 16, 16, known.text.mean.numel())
    encoders = {} if cut is None else {"image": load_trained(encoder, root / "image")}
    settings_of = params.method["contrastive"]
    method = build_method(settings_of, params.backbone, widths, seed=0, encoders=encoders)
    with publish(root / "model", made_by="tests") as draft:
        save_model(draft, method, settings=settings_of, backbone=params.backbone, widths=widths, encoders=encoders)
    folders = {
        "image": (encoder, root / "image"),
        "text": (params.encoder["tiny-text"], layout.encoder("tiny-text")),
    }
    return RetrievalModel.of_folders(root / "model", folders, device=CPU)


def test_towers_in_torch_give_what_the_model_gives_padding_or_not(run_of: RunOf) -> None:
    params, layout, method = run_of("cut")
    model = RetrievalModel.of_run(params, layout, method=method, seed=0, device=CPU)
    with torch.inference_mode():
        images, texts = ImageTower(model)(prepared(model, IMAGES)), TextTower(model)(*padded_tokens(model, TEXTS))
    np.testing.assert_allclose(images, model.encode_images(IMAGES), atol=1e-4)
    np.testing.assert_allclose(texts, model.encode_texts(TEXTS), atol=1e-4)


def test_a_tower_that_cannot_be_written_or_comes_out_wrong_is_one_sentence(
    run_of: RunOf, tmp_path: Path, monkeypatch
) -> None:
    params, layout, method = run_of("cca")
    model = RetrievalModel.of_run(params, layout, method=method, seed=0, device=CPU)
    monkeypatch.setattr(onnx_files, "_TOLERANCE", 0.0)
    with pytest.raises(RelalignError, match=r"image.onnx differs from torch by .*Export without --onnx"):
        write_onnx(model, tmp_path)
    monkeypatch.setattr(ImageTower, "forward", lambda self, pixels: torch.linalg.matrix_exp(pixels[..., :3, :3]))
    with pytest.raises(RelalignError, match=r"image.onnx cannot be made: .*matrix_exp"):
        write_onnx(model, tmp_path)
