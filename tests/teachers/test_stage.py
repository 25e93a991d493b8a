"""The stage `teacher`, end to end on tiny features and on tiny encoders that train."""

import json
import multiprocessing
import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from relalign.errors import RelalignError
from relalign.features.encoders.trained import load_trained
from relalign.layout import Layout
from relalign.settings import Params
from relalign.system.artifacts import sha256_file
from relalign.teachers.stage import train_teacher
from tests.teachers.project import taught_params
from tests.tiny_project import make_features, spoil_test_rows
from tests.trained_project import make_project, trained_params
from tests.training.interrupted import stop_in_epoch

TEXT = "all-minilm-l6-v2"
FILES = ("model.safetensors", "history.csv", "vectors.npy", "ids.npy", "teacher.json")


def hashes(folder: Path) -> dict[str, str]:
    return {name: sha256_file(folder / name) for name in FILES}


def cut_params() -> Params:
    teacher = {"encoders": ["tiny-image", "tiny-text"], "epochs": 5, "batch_size": 8}
    return trained_params(views=2, teacher=teacher)


def _in_a_process(root: Path, params: Params) -> None:
    torch.set_num_threads(1)
    train_teacher(params, Layout(root, params.dataset), encoder=TEXT)


def test_a_killed_teacher_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    params = taught_params(teacher={"epochs": 80}, training={"validate_every": 1, "select_from": 0.0})
    straight, killed = make_features(tmp_path / "straight", params), make_features(tmp_path / "killed", params)
    train_teacher(params, straight, encoder=TEXT)
    process = multiprocessing.get_context("fork").Process(target=_in_a_process, args=(killed.root, params))
    checkpoint = killed.teacher(TEXT).with_name(f".{TEXT}.checkpoint") / "state.safetensors"
    process.start()
    while not checkpoint.exists():
        time.sleep(0.005)
    time.sleep(0.1)
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    assert not killed.teacher(TEXT).exists(), "the kill came too late to test anything"
    train_teacher(params, killed, encoder=TEXT)
    assert hashes(killed.teacher(TEXT)) == hashes(straight.teacher(TEXT))
    assert not checkpoint.parent.exists()


@pytest.mark.parametrize("encoder", ["tiny-image", "tiny-text"])
def test_a_teacher_above_a_cut_trains_its_encoder_and_resumes_to_the_same_bytes(
    tmp_path: Path, encoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = cut_params()
    straight, stopped = (make_project(tmp_path / name, params) for name in ("straight", "stopped"))
    train_teacher(params, straight, encoder=encoder)
    start = load_trained(params.encoder[encoder], straight.encoder(encoder))
    weights = load_file(straight.teacher(encoder) / "model.safetensors")
    moved = [not torch.equal(value, weights[f"encoder.{name}"]) for name, value in start.named_parameters()]
    assert np.mean(moved) > 0.8, "the encoder is left as it was"
    epochs = stop_in_epoch(monkeypatch, 4)
    with pytest.raises(KeyboardInterrupt):
        train_teacher(params, stopped, encoder=encoder)
    train_teacher(params, stopped, encoder=encoder)
    assert len(epochs) == 4 + 2, "it began anew"
    assert hashes(stopped.teacher(encoder)) == hashes(straight.teacher(encoder))


def test_every_row_of_train_and_val_has_a_vector_and_none_of_test(tmp_path: Path) -> None:
    params = cut_params()
    layout = make_project(tmp_path, params)
    train_teacher(params, layout, encoder="tiny-image")
    vectors = np.load(layout.teacher("tiny-image") / "vectors.npy").reshape(40, 2, -1)
    split = pd.read_parquet(layout.pairs / "pairs.parquet").drop_duplicates("image_id")["split"].to_numpy()
    assert np.isfinite(vectors[split != "test"]).all()
    assert np.isnan(vectors[split == "test"]).all()
    assert not np.array_equal(vectors[0, 0], vectors[0, 1]), "views have vectors of their own"


@pytest.mark.parametrize("encoder", ["efficientnet-lite0", TEXT])
def test_what_the_test_split_holds_cannot_change_a_teacher(tmp_path: Path, encoder: str) -> None:
    params = taught_params()
    clean, spoiled = make_features(tmp_path / "clean", params), make_features(tmp_path / "spoiled", params)
    spoil_test_rows(spoiled, params)
    for layout in (clean, spoiled):
        train_teacher(params, layout, encoder=encoder)
    assert hashes(clean.teacher(encoder)) == hashes(spoiled.teacher(encoder))


def test_a_teacher_of_texts_never_reads_the_images(tmp_path: Path) -> None:
    params = taught_params()
    layout = make_features(tmp_path, params)
    shutil.rmtree(layout.features("efficientnet-lite0"))
    train_teacher(params, layout, encoder=TEXT)
    assert (layout.teacher(TEXT) / "vectors.npy").exists()


def test_its_record_has_the_selected_epoch_and_the_start(tmp_path: Path) -> None:
    params = taught_params(teacher={"epochs": 6}, training={"validate_every": 1, "select_from": 0.0})
    layout = make_features(tmp_path, params)
    train_teacher(params, layout, encoder=TEXT)
    record = json.loads((layout.teacher(TEXT) / "teacher.json").read_text())
    history = pd.read_csv(layout.teacher(TEXT) / "history.csv")["val/t2t/ndcg@10"]
    assert record == {
        "modality": "text",
        "metric": "t2t/ndcg@10",
        "frozen": history[0],
        "trained": history[1:].max(),
    }


def test_an_encoder_that_serves_no_modality_is_named(tmp_path: Path) -> None:
    params = cut_params()
    with pytest.raises(RelalignError, match="'efficientnet-lite0' is not what encoders.image"):
        train_teacher(params, Layout(tmp_path, params.dataset), encoder="efficientnet-lite0")
