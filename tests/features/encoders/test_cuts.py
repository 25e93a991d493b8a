from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from relalign.errors import RelalignError
from relalign.features.encoders import load_image_encoder, load_text_encoder
from relalign.features.encoders import trained as trained_module
from relalign.features.encoders.efficientnet_lite import WEIGHTS, _fold
from relalign.features.encoders.trained import TrainedEncoder, load_trained, only_content, rebuild_trained
from relalign.features.table import Features, Table
from relalign.settings.encoder import Encoder
from tests.features.encoders.checkpoints import save_joint, save_text, save_vision
from tests.twins.efficientnet_lite import random_state

CPU = torch.device("cpu")
CAPTIONS = ["a dog runs", "the small red cat sleeps on a mat", "two", "a tree on the mat"]
TEXT = ["bert", "mpnet", "clip", "siglip"]
IMAGE = ["vit", "deit", "dinov2", "dinov2_with_registers", "swin", "clip", "siglip"]
LAYERS = ["input", "layer.0", "layer.1", "layer.2"]
LITE0 = ["input", "blocks.0", "blocks.9", "blocks.13", "head"]


def _settings(modality: str, train_from: str | None, kind: str = "transformers") -> Encoder:
    source = {"url": "file:x"} if kind == "efficientnet_lite0" else None
    model = None if source else "x"
    keys = {"kind": kind, "modality": modality, "train_from": train_from, "source": source, "model": model}
    return Encoder.model_validate({**keys, "image_size": 64})


def _save(kind: str, modality: str, folder: Path) -> None:
    if kind == "lite0":
        save_file(_fold(random_state(seed=0)), folder / WEIGHTS)
    elif kind in ("clip", "siglip"):
        save_joint(kind, folder)
    else:
        (save_text if modality == "text" else save_vision)(kind, folder)


def _pictures(count: int) -> list[Image.Image]:
    random = np.random.default_rng(0)
    return [Image.fromarray(random.integers(0, 256, (30, 20, 3), dtype=np.uint8)) for _ in range(count)]


def _of_images(folder: Path, encoder: Encoder) -> Features:
    """What the features stage would cache, in float32."""
    whole = load_image_encoder(encoder, folder, CPU)
    encoded = whole.encode(np.stack([whole.prepare(picture) for picture in _pictures(3)]))
    lengths = torch.full((3,), encoded.tokens.shape[1])
    below_cut = encoder.train_from is not None
    table = Table(encoded.tokens, lengths, encoded.pooled, encoded.summary, below_cut=below_cut)
    return Features(table, torch.arange(3))


def _of_captions(folder: Path, encoder: Encoder) -> Features:
    whole = load_text_encoder(encoder, folder, CPU)
    rows = []
    for caption in whole.tokenise(CAPTIONS):
        encoded = whole.encode(caption.numbers[np.newaxis], caption.content[np.newaxis])
        content = torch.from_numpy(caption.content)
        tokens = encoded.tokens[0] if whole.keeps_all else encoded.tokens[0][content]
        rows.append((tokens, encoded.pooled[0], encoded.summary[0], content))
    tokens, pooled, summary, content = zip(*rows, strict=True)
    table = Table(
        _padded(tokens),
        torch.tensor([len(one) for one in tokens]),
        torch.stack(pooled),
        torch.stack(summary),
        _padded(content) if whole.keeps_all else None,
        below_cut=whole.keeps_all,
    )
    return Features(table, torch.arange(len(CAPTIONS)))


def _padded(rows: tuple[Tensor, ...]) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True)


def _cached(kind: str, modality: str, cut: str | None, folder: Path) -> tuple[Features, Encoder]:
    encoder = _settings(modality, cut, "efficientnet_lite0" if kind == "lite0" else "transformers")
    return (_of_images if modality == "image" else _of_captions)(folder, encoder), encoder


CASES = [(kind, "text", cut) for kind in TEXT for cut in LAYERS]
CASES += [(kind, "image", cut) for kind in IMAGE for cut in (LAYERS if kind != "swin" else LAYERS[:3])]
CASES += [("lite0", "image", cut) for cut in LITE0]
CASES += [("convnext", "image", "input")]


def _trained(kind: str, modality: str, cut: str, folder: Path, **settings: int) -> tuple[TrainedEncoder, Features]:
    cached, encoder = _cached(kind, modality, cut, folder)
    return load_trained(encoder, folder, **settings).eval(), cached


def _assert_equal(found: Features, expected: Features, *, exactly: bool = False) -> None:
    tolerance = {"rtol": 0.0, "atol": 0.0} if exactly else {"rtol": 1e-5, "atol": 1e-5}
    torch.testing.assert_close(found.pooled, expected.pooled, **tolerance)
    torch.testing.assert_close(found.summary, expected.summary, **tolerance)
    (tokens, mask), (wanted, wanted_mask) = found.tokens(), expected.tokens()
    assert torch.equal(mask, wanted_mask)
    torch.testing.assert_close(tokens[mask], wanted[mask], **tolerance)


@pytest.mark.parametrize(("kind", "modality", "cut"), CASES)
def test_what_lies_above_a_cut_gives_what_the_whole_encoder_gives(
    kind: str, modality: str, cut: str, tmp_path: Path
) -> None:
    _save(kind, modality, tmp_path)
    whole, _ = _cached(kind, modality, None, tmp_path)
    trained, below = _trained(kind, modality, cut, tmp_path)
    with torch.no_grad():
        _assert_equal(trained(below), whole)


@pytest.mark.parametrize(("kind", "modality", "cut"), CASES)
def test_every_weight_above_a_cut_is_trained_and_none_below_is_held(
    kind: str, modality: str, cut: str, tmp_path: Path
) -> None:
    _save(kind, modality, tmp_path)
    trained, below = _trained(kind, modality, cut, tmp_path)
    found = trained(below)
    tokens, _ = found.tokens()
    (tokens.square().sum() + found.pooled.square().sum() + found.summary.square().sum()).backward()
    without = [name for name, parameter in trained.named_parameters() if parameter.grad is None]
    # A mask token serves pretraining alone, and ConvNeXt's last norm its pooler alone.
    unused = (
        ("mask_token", "model.layernorm.weight", "model.layernorm.bias") if kind == "convnext" else "mask_token"
    )
    assert [name for name in without if not name.endswith(unused)] == []
    for parameter in trained.parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all()


@pytest.mark.parametrize(("kind", "modality"), [("bert", "text"), ("vit", "image"), ("lite0", "image")])
def test_a_part_is_rebuilt_from_its_description_without_the_encoders_folder(
    kind: str, modality: str, tmp_path: Path
) -> None:
    _save(kind, modality, tmp_path)
    cut = "blocks.13" if kind == "lite0" else "layer.1"
    trained, below = _trained(kind, modality, cut, tmp_path)
    again = rebuild_trained(trained.description)
    again.load_state_dict(trained.state_dict())
    with torch.no_grad():
        _assert_equal(again.eval()(below), trained(below), exactly=True)


def _gradients(trained: TrainedEncoder, below: Features) -> dict[str, Tensor]:
    trained.double()
    table = replace(
        below.table, **{name: getattr(below.table, name).double() for name in ("tokens", "pooled", "summary")}
    )
    found = trained(Features(table, below.rows))
    assert found.pooled.dtype == torch.float64
    torch.manual_seed(0)
    values = (found.pooled, found.summary, found.table.tokens)
    torch.stack([(value.sin() * torch.randn_like(value)).sum() for value in values]).sum().backward()
    return {name: value.grad.clone() for name, value in trained.named_parameters() if value.grad is not None}


@pytest.mark.parametrize(("kind", "modality"), [("bert", "text"), ("clip", "text"), ("vit", "image")])
@pytest.mark.parametrize("rows_at_once", [1, 2, 3])
def test_gradients_in_chunks_equal_the_whole_batchs_in_float64(
    kind: str, modality: str, rows_at_once: int, tmp_path: Path
) -> None:
    _save(kind, modality, tmp_path)
    whole, chunked = (
        _gradients(*_trained(kind, modality, "layer.1", tmp_path, rows_at_once=n)) for n in (0, rows_at_once)
    )
    assert whole.keys() == chunked.keys()
    for name, gradient in whole.items():
        torch.testing.assert_close(chunked[name], gradient)


@pytest.mark.parametrize("rows_at_once", [1, 3])
def test_a_chunk_that_is_computed_again_drops_the_same_units(
    rows_at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _save("bert", "text", tmp_path)
    found = []
    for again in (True, False):
        if not again:
            monkeypatch.setattr(trained_module, "checkpoint", lambda read, *inputs, **settings: read(*inputs))
        trained, below = _trained("bert", "text", "layer.1", tmp_path, rows_at_once=rows_at_once)
        torch.manual_seed(3)
        found.append(_gradients(trained.train(), below))
    for name, gradient in found[1].items():
        torch.testing.assert_close(found[0][name], gradient)
    kept, _ = _trained("bert", "text", "layer.1", tmp_path, rows_at_once=rows_at_once)
    without = _gradients(kept, below)
    assert any(not torch.allclose(found[0][name], value) for name, value in without.items()), "nothing was dropped"


@pytest.mark.parametrize(("kind", "modality", "shown"), [("vit", "image", "layer.2"), ("bert", "text", "layer.2")])
def test_a_cut_that_does_not_exist_is_an_error_that_lists_those_there_are(
    kind: str, modality: str, shown: str, tmp_path: Path
) -> None:
    _save(kind, modality, tmp_path)
    with pytest.raises(RelalignError, match=rf"no cut 'layer.7'.*input.*layer.0.*{shown}"):
        _cached(kind, modality, "layer.7", tmp_path)


def test_an_encoder_without_a_list_of_layers_has_the_cut_input_alone(tmp_path: Path) -> None:
    _save("convnext", "image", tmp_path)
    with pytest.raises(RelalignError, match=r"from the bottom: input\.$"):
        _cached("convnext", "image", "layer.0", tmp_path)


def test_words_move_to_the_front_and_nothing_else_is_left() -> None:
    tokens = torch.arange(8.0).view(2, 4, 1)
    kept, lengths = only_content(tokens, torch.tensor([[False, True, True, False], [False, True, False, False]]))
    assert lengths.tolist() == [2, 1]
    assert kept[..., 0].tolist() == [[1, 2], [5, 0]]
