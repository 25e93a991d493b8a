"""Training and export of one run, end to end on tiny features."""

import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from relalign.errors import RelalignError
from relalign.layout import Layout
from relalign.methods.cca import fit_cca, start_from_cca
from relalign.methods.model_files import build_method
from relalign.retrieval.embeddings import embed, load_embeddings
from relalign.retrieval.index import search_index
from relalign.settings import Params
from relalign.settings.methods.cca import Cca
from relalign.system.artifacts import MANIFEST, sha256_file
from relalign.training.process import choose_device
from relalign.training.runs import export, train
from relalign.training.split_data import load_split, open_stores, widths_of
from tests.tiny_project import make_features, spoil_test_rows, tiny_params

METHODS = ("cca", "contrastive")


def model_hashes(layout: Layout, method: str, seed: int = 0) -> dict[str, str]:
    folder = layout.run(method, seed) / "model"
    return {path.name: sha256_file(path) for path in sorted(folder.iterdir())}


@pytest.fixture
def params() -> Params:
    return tiny_params()


@pytest.mark.parametrize("method", METHODS)
def test_equal_seeds_give_equal_bytes_and_other_seeds_do_not(tmp_path: Path, params: Params, method: str) -> None:
    first, second = make_features(tmp_path / "a", params), make_features(tmp_path / "b b", params)
    for layout in (first, second):
        train(params, layout, method=method, seed=3)
    assert model_hashes(first, method, 3) == model_hashes(second, method, 3)
    train(params, first, method=method, seed=4)
    differ = (
        model_hashes(first, method, 4)["model.safetensors"] != model_hashes(first, method, 3)["model.safetensors"]
    )
    assert differ == (method != "cca")


@pytest.mark.parametrize("method", METHODS)
def test_what_the_test_split_holds_cannot_change_the_model(tmp_path: Path, params: Params, method: str) -> None:
    clean, spoiled = make_features(tmp_path / "clean", params), make_features(tmp_path / "spoiled", params)
    spoil_test_rows(spoiled, params)
    for layout in (clean, spoiled):
        train(params, layout, method=method, seed=0)
    for name in ("model.safetensors", "history.csv"):
        assert model_hashes(clean, method)[name] == model_hashes(spoiled, method)[name]


def test_training_starts_at_cca_and_gets_better(tmp_path: Path) -> None:
    params = tiny_params(training={"epochs": 12, "learning_rate": 0.01}, backbone={"cca_regularisation": 30.0})
    layout = make_features(tmp_path, params)
    train(params, layout, method="contrastive", seed=0)
    history = pd.read_csv(layout.run("contrastive", 0) / "model/history.csv")
    assert history["loss/contrastive"].iloc[-1] < history["loss/contrastive"].iloc[1] - 0.2
    data = load_split(params, layout, "train", device=torch.device("cpu"))
    widths = widths_of(*open_stores(params, layout))
    method = build_method(params.method["contrastive"], params.backbone, widths, seed=0).eval()
    start_from_cca(method.backbone, data, params.backbone)
    cca = fit_cca(data, Cca(algorithm="cca", regularisation=30.0, width=8, power=1.0), widths=widths)
    for ours, reference in zip(embed(method.backbone, data), embed(cca, data), strict=True):
        np.testing.assert_allclose(ours, reference, atol=1e-4)


def _train_in_a_process(root: Path, params: Params) -> None:
    torch.set_num_threads(1)
    train(params, Layout(root, params.dataset), method="contrastive", seed=0)


@pytest.mark.parametrize("delay", [0.05, 0.35])
def test_killed_training_resumes_to_the_same_bytes(tmp_path: Path, delay: float) -> None:
    # The best epoch is an early one, and patience ends the training: both must outlive the kill.
    params = tiny_params(training={"epochs": 60, "select_from": 0.0, "patience": 30, "validate_every": 1})
    straight, killed = make_features(tmp_path / "straight", params), make_features(tmp_path / "killed", params)
    train(params, straight, method="contrastive", seed=0)
    process = multiprocessing.get_context("fork").Process(target=_train_in_a_process, args=(killed.root, params))
    checkpoint = killed.run("contrastive", 0).with_name(".seed0.checkpoint") / "state.safetensors"
    process.start()
    while not checkpoint.exists():
        time.sleep(0.005)
    time.sleep(delay)
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    assert not (killed.run("contrastive", 0) / "model").exists(), "the kill came too late to test anything"
    train(params, killed, method="contrastive", seed=0)
    assert model_hashes(killed, "contrastive") == model_hashes(straight, "contrastive")
    assert not checkpoint.exists()


def test_a_checkpoint_of_other_work_is_not_resumed(tmp_path: Path, params: Params) -> None:
    layout = make_features(tmp_path, params)
    checkpoint = layout.run("contrastive", 0).with_name(".seed0.checkpoint")

    def interrupted(params: Params, epochs: int) -> None:
        from relalign.training import runs

        calls = []

        def stop(row: object) -> None:
            calls.append(row)
            if len(calls) > epochs:
                raise KeyboardInterrupt

        original = runs.tracking.Run.log_epoch
        runs.tracking.Run.log_epoch = lambda self, metrics, step: stop(metrics)  # type: ignore[method-assign]
        try:
            with pytest.raises(KeyboardInterrupt):
                train(params, layout, method="contrastive", seed=0)
        finally:
            runs.tracking.Run.log_epoch = original  # type: ignore[method-assign]

    interrupted(params, 2)
    assert (checkpoint / "state.safetensors").exists()
    other = tiny_params(training={"learning_rate": 0.002})
    train(other, layout, method="contrastive", seed=0)
    with_leftover = model_hashes(layout, "contrastive")
    fresh = make_features(tmp_path / "fresh", other)
    train(other, fresh, method="contrastive", seed=0)
    assert with_leftover == model_hashes(fresh, "contrastive")


def test_a_loss_that_is_not_finite_stops_with_advice_and_publishes_nothing(tmp_path: Path) -> None:
    params = tiny_params(training={"learning_rate": 1e30, "gradient_clip": 1e30})
    layout = make_features(tmp_path, params)
    with pytest.raises(RelalignError, match=r"Lower training\.learning_rate"):
        train(params, layout, method="contrastive", seed=0)
    assert not (layout.run("contrastive", 0) / "model").exists()


def test_early_stopping_keeps_the_best_epoch(tmp_path: Path) -> None:
    params = tiny_params(training={"epochs": 60, "patience": 2, "select_from": 0.0})
    layout = make_features(tmp_path, params)
    train(params, layout, method="contrastive", seed=0)
    history = pd.read_csv(layout.run("contrastive", 0) / "model/history.csv")
    assert len(history) < 60
    assert history["val/rsum"][1:].idxmax() == len(history) - 1 - 2  # row 0 is the start


@pytest.mark.parametrize("method", METHODS)
def test_export_keeps_ids_beside_unit_vectors_and_the_index_answers_with_ids(
    tmp_path: Path, params: Params, method: str
) -> None:
    layout = make_features(tmp_path, params)
    train(params, layout, method=method, seed=0)
    export(params, layout, method=method, seed=0)
    folder = layout.run(method, 0) / "embeddings"
    found = load_embeddings(folder)
    pairs = pd.read_parquet(layout.pairs / "pairs.parquet").query("split == 'test'")
    assert found.text_ids.tolist() == pairs["caption_id"].tolist()
    assert found.text_image_ids.tolist() == pairs["image_id"].tolist()
    for array in (found.image, found.text):
        assert array.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(array, axis=1), 1, atol=1e-5)
    scores, ids = search_index(folder / "image.faiss", found.text, k=3)
    exact = found.text @ found.image.T
    assert ids[:, 0].tolist() == found.image_ids[exact.argmax(1)].tolist()
    np.testing.assert_allclose(scores[:, 0], exact.max(1), atol=1e-5)
    with pytest.raises(RelalignError, match="fewer than the 21"):
        search_index(folder / "image.faiss", found.text, k=21)


def test_a_truncated_embedding_file_is_refused(tmp_path: Path, params: Params) -> None:
    layout = make_features(tmp_path, params)
    train(params, layout, method="cca", seed=0)
    export(params, layout, method="cca", seed=0)
    path = layout.run("cca", 0) / "embeddings/text.npy"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(RelalignError, match=r"text\.npy is missing or truncated"):
        load_embeddings(path.parent)


def test_the_manifest_names_inputs_by_hash_and_holds_no_path(tmp_path: Path, params: Params) -> None:
    layout = make_features(tmp_path, params)
    train(params, layout, method="cca", seed=0)
    folder = layout.run("cca", 0) / "model"
    text = (folder / MANIFEST).read_text()
    manifest = json.loads(text)
    assert str(tmp_path) not in text
    assert manifest["inputs"]["pairs"] == sha256_file(layout.pairs / MANIFEST)
    assert manifest["outputs"]["model.safetensors"]["sha256"] == sha256_file(folder / "model.safetensors")


def test_an_unknown_method_and_a_missing_gpu_are_named(tmp_path: Path, params: Params) -> None:
    layout = make_features(tmp_path, params)
    with pytest.raises(RelalignError, match="'contrastiv' is not an entry of 'method'"):
        train(params, layout, method="contrastiv", seed=0)
    if not torch.cuda.is_available():
        with pytest.raises(RelalignError, match="sees no GPU"):
            choose_device("cuda")


@pytest.mark.parametrize("method", ["contrastive", "rebalanced"])
def test_epochs_before_the_selected_part_are_neither_selected_nor_count_for_stopping(
    tmp_path: Path, method: str
) -> None:
    training = {"epochs": 8, "patience": 1, "validate_every": 1, "learning_rate": 0.0001, "select_from": 0.5}
    params = tiny_params(training=training)
    layout = make_features(tmp_path, params)
    train(params, layout, method=method, seed=0)
    history = pd.read_csv(layout.run(method, 0) / "model/history.csv")
    assert len(history) > 1 + 4, "the first half must not be cut short, however little it brings"


def test_patience_shorter_than_the_way_to_the_next_validation_does_not_stop_a_training_unselected(
    tmp_path: Path,
) -> None:
    params = tiny_params(training={"epochs": 6, "patience": 1, "validate_every": 3, "select_from": 0.0})
    layout = make_features(tmp_path, params)
    train(params, layout, method="contrastive", seed=0)
    history = pd.read_csv(layout.run("contrastive", 0) / "model/history.csv")
    assert history["epoch"].tolist() == [0, 1, 2, 3, 4], "validated after 3, patience ends after 4"


def test_an_objective_that_is_complete_only_after_the_first_selectable_epoch_is_refused(tmp_path: Path) -> None:
    params = tiny_params(method={"staged": {"algorithm": "rebalanced", "stage_one": 0.9}}, methods=["contrastive"])
    layout = make_features(tmp_path, params)
    with pytest.raises(RelalignError, match=r"training\.select_from is 0\.8, .* only from 0\.9"):
        train(params, layout, method="staged", seed=0)
    assert not (layout.run("staged", 0) / "model").exists()
