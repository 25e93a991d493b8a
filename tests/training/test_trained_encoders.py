"""Training with encoders that train, end to end on tiny real ones."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from relalign.errors import RelalignError
from relalign.evaluation.stage import evaluate
from relalign.layout import Layout
from relalign.methods.model_files import build_method, load_model
from relalign.retrieval.embeddings import embed, load_embeddings
from relalign.retrieval.finished import finished
from relalign.retrieval.relevance_files import make_relevance
from relalign.settings import Params
from relalign.training import loop
from relalign.training.runs import export, train
from relalign.training.split_data import load_split, open_stores, trained_encoders, widths_of
from tests.trained_project import CUTS, cache, make_project, trained_params
from tests.training.interrupted import stop_in_epoch

CPU = torch.device("cpu")
METHODS = ("contrastive", "covlr", "rebalanced", "iais", "consensus")


def weights(layout: Layout, method: str = "contrastive") -> dict[str, torch.Tensor]:
    return load_file(layout.run(method, 0) / "model/model.safetensors")


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_exports_and_is_measured_with_encoders_that_train(tmp_path: Path, method: str) -> None:
    params = trained_params(training={"captions_per_step": 2})
    layout = make_project(tmp_path, params)
    make_relevance(layout)
    train(params, layout, method=method, seed=0)
    export(params, layout, method=method, seed=0)
    evaluate(params, layout, method=method, seed=0)
    metrics = json.loads((layout.run(method, 0) / "metrics.json").read_text())
    assert 0 <= metrics["rsum"] <= 600
    assert metrics["isd/singular"] >= 0
    assert {"encoder/i2i/ndcg@10", "encoder/t2t/ndcg@10", "teacher/i2i/ndcg@10", "teacher/t2t/ndcg@10"} <= {
        *metrics
    }
    start = trained_encoders(params, layout)
    trained = weights(layout, method)
    for side, encoder in start.items():
        moved = [
            not torch.equal(value, trained[f"backbone.encoders.{side}.{name}"])
            for name, value in encoder.named_parameters()
        ]
        assert np.mean(moved) > 0.8, f"{method} leaves the {side} encoder as it was"


def test_the_second_order_meta_step_reaches_the_encoders(tmp_path: Path) -> None:
    params = trained_params(
        method={"covlr": {"algorithm": "covlr", "meta_order": "second"}}, training={"epochs": 1}
    )
    layout = make_project(tmp_path, params)
    train(params, layout, method="covlr", seed=0)
    assert any("encoders.image" in name for name in weights(layout, "covlr"))


def test_a_loaded_model_needs_no_encoder_folder_and_embeds_what_was_exported(tmp_path: Path) -> None:
    params = trained_params()
    layout = make_project(tmp_path, params)
    train(params, layout, method="contrastive", seed=0)
    export(params, layout, method="contrastive", seed=0)
    for name in dict(params.encoders).values():
        (layout.encoder(name) / "model.safetensors").unlink()
    model = load_model(layout.run("contrastive", 0) / "model", device=CPU)
    data = finished(model, load_split(params, layout, "test", device=CPU))
    exported = load_embeddings(layout.run("contrastive", 0) / "embeddings")
    np.testing.assert_allclose(embed(model, data)[0], exported.image, atol=1e-6)


def test_the_start_is_cca_of_the_encoders_as_they_were(tmp_path: Path) -> None:
    frozen, cut = trained_params(image=None, text=None), trained_params()
    starts = []
    for folder, params in (("frozen", frozen), ("cut", cut)):
        layout = make_project(tmp_path / folder, params)
        train(params, layout, method="contrastive", seed=0)
        history = pd.read_csv(layout.run("contrastive", 0) / "model/history.csv")
        starts.append(history.loc[0, "val/rsum"])
    assert starts[0] == pytest.approx(starts[1], abs=30)  # 8 images: one rank is 12.5


@pytest.mark.parametrize("views", [1, 3])
def test_a_resumed_training_ends_in_the_same_bytes_encoders_included(
    tmp_path: Path, views: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = trained_params(views=views, training={"epochs": 6})
    straight, stopped = (make_project(tmp_path / name, params) for name in ("straight", "stopped"))
    train(params, straight, method="contrastive", seed=0)
    epochs = stop_in_epoch(monkeypatch, 4)
    with pytest.raises(KeyboardInterrupt):
        train(params, stopped, method="contrastive", seed=0)
    train(params, stopped, method="contrastive", seed=0)
    assert len(epochs) == 4 + 3, "it began anew"
    for name in ("model.safetensors", "history.csv", "config.json"):
        first, second = (layout.run("contrastive", 0) / "model" / name for layout in (straight, stopped))
        assert first.read_bytes() == second.read_bytes()


def test_lower_layers_learn_slower_and_norms_do_not_decay(tmp_path: Path) -> None:
    params = trained_params(image="layer.0", training={"encoder_learning_rate": 0.01, "layer_decay": 0.5})
    layout = make_project(tmp_path, params)
    encoders = trained_encoders(params, layout)
    method = build_method(
        params.method["contrastive"],
        params.backbone,
        widths_of(*open_stores(params, layout), encoders),
        seed=0,
        encoders=encoders,
    )
    groups = loop._groups(method, params.training)
    peak = {id(p): group.peak for group in groups for p in group.parameters}
    decay = {id(p): group.weight_decay for group in groups for p in group.parameters}
    layers = encoders["image"].trained_layers()
    for layer, expected in zip(layers, (0.0025, 0.005, 0.01), strict=True):
        for name, parameter in layer.named_parameters():
            assert peak[id(parameter)] == pytest.approx(expected)
            assert (decay[id(parameter)] == 0) == (parameter.ndim < 2), name
    assert peak[id(encoders["image"].part.model.layernorm.weight)] == pytest.approx(0.01)
    assert sum(len(group.parameters) for group in groups) == len(list(method.parameters()))


def test_activations_of_another_cut_are_refused_by_name(tmp_path: Path) -> None:
    layout = make_project(tmp_path, trained_params())
    with pytest.raises(RelalignError, match=r"cached for train_from 'layer.2', but encoder.tiny-text"):
        open_stores(trained_params(text="layer.1"), layout)


def test_each_step_draws_one_of_the_views_and_validation_sees_the_picture_as_it_is(tmp_path: Path) -> None:
    params = trained_params(views=3)
    layout = make_project(tmp_path, params)
    data = load_split(params, layout, "train", device=CPU)
    assert (data.image.rows % 3 == 0).all()
    generator = torch.Generator().manual_seed(0)
    drawn = [data.batch(torch.arange(24), generator) for _ in range(40)]
    views = torch.stack([batch.image.rows - data.image.rows for batch in drawn])
    assert views.unique(return_counts=True)[1].min() > 0.25 * views.numel()
    plain = trained_params()
    once = make_project(tmp_path / "once", plain)
    first = load_split(plain, once, "train", device=CPU).image
    assert torch.equal(first.tokens()[0], data.image.tokens()[0])


def test_views_of_more_or_fewer_are_taken_over_and_not_computed_again(tmp_path: Path) -> None:
    more, layout = trained_params(views=3), make_project(tmp_path, trained_params(views=2))
    before = np.load(layout.features("tiny-image") / "tokens.npy")
    cache(more, layout, "tiny-image")
    after = np.load(layout.features("tiny-image") / "tokens.npy")
    assert np.array_equal(after.reshape(40, 3, *after.shape[1:])[:, :2], before.reshape(40, 2, *before.shape[1:]))


def test_a_frozen_side_may_stand_beside_one_that_trains(tmp_path: Path) -> None:
    params: Params = trained_params(image=None)
    layout = make_project(tmp_path, params)
    train(params, layout, method="contrastive", seed=0)
    assert {name.split(".")[2] for name in weights(layout) if ".encoders." in name} == {"text"}
    assert CUTS["text"]
