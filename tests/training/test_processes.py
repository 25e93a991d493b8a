"""Training in several processes: the same gradients, the same files, and an end when one of them ends."""

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
import torch
import yaml
from torch import Tensor

from relalign.errors import RelalignError
from relalign.features.batches import Batch
from relalign.features.table import Features
from relalign.layout import Layout
from relalign.methods.method import TrainedMethod
from relalign.settings import Params
from relalign.system import processes
from relalign.system.artifacts import sha256_file
from relalign.training.process import choose_device
from relalign.training.processes import in_processes
from relalign.training.runs import starting_method, train
from relalign.training.split_data import load_split
from tests.methods.batches import gradients, loss_of, make_batch, make_method
from tests.tiny_project import make_features, tiny_params
from tests.trained_project import make_project, trained_params
from tests.training.together import together

CPU = torch.device("cpu")
METHODS = {
    "contrastive": {"algorithm": "contrastive"},
    "covlr": {"algorithm": "covlr", "meta_order": "none"},
    "covlr-first": {"algorithm": "covlr", "meta_order": "first", "step_size": 0.1},
    "covlr-second": {"algorithm": "covlr", "meta_order": "second", "step_size": 0.1, "relation_of": "fused"},
    "rebalanced": {"algorithm": "rebalanced", "stage_one": 0.2},
    "iais": {"algorithm": "iais"},
    "iais-ranking": {"algorithm": "iais", "task": "ranking", "ranking_queries": 5, "alignment": "singular"},
    "consensus": {"algorithm": "consensus", "attention_weight": 1.0},
}
LOW_RANK = ("contrastive", "covlr-second")  # GradCache's calls by name, and a meta step's
ROWS = 13  # which two processes share unequally
Step = tuple[dict[str, Tensor], dict[str, Tensor]]


def step_of(method: TrainedMethod, batch: Batch) -> Step:
    terms = loss_of(method, batch, progress=0.9)
    found = gradients(method, terms)
    return {name: term.detach() for name, term in terms.items()}, found


def frozen(name: str) -> Step:
    method = make_method(**METHODS[name]).double()
    batch = replace(make_batch(ROWS, dtype=torch.float64), contrasted=2)
    return step_of(method, batch)


def trained(name: str, layout: Layout, params: Params, rows_at_once: int | None = None) -> Step:
    """Of encoders that train, without dropout, whose numbers two processes draw otherwise than one.

    Without a word, one method reads them in parts.
    """
    if rows_at_once is None:
        rows_at_once = 4 if name == "contrastive" else 0
    data = load_split(params, layout, "train", device=CPU)
    method, _, _ = starting_method(params, layout, params.method[name], data, seed=0)
    for encoder in method.trained_encoders.values():
        encoder.rows_at_once = rows_at_once
    wide = {side: _in_float64(getattr(data, side)) for side in ("image", "text")}
    batch = replace(data, **wide).batch(
        torch.arange(ROWS), torch.Generator().manual_seed(0), captions=3, contrasted=2
    )
    return step_of(method.double().eval(), batch)


def _in_float64(features: Features) -> Features:
    wide = {name: getattr(features.table, name).double() for name in ("tokens", "pooled", "summary")}
    return replace(features, table=replace(features.table, **wide))


def all_methods(step: Callable[..., Step], *arguments: object) -> dict[str, Step]:
    return {name: step(name, *arguments) for name in METHODS}


def low_rank(layout: Layout, params: Params) -> dict[str, Step]:
    training = params.training.model_copy(update={"lora_rank": 2})
    params = params.model_copy(update={"training": training})
    return {name: trained(name, layout, params) for name in LOW_RANK}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Step]]]:
    """Of frozen features and of encoders that train: the step of one process, then those of two."""
    params = trained_params(method=METHODS, methods=["contrastive"])
    layout = make_project(tmp_path_factory.mktemp("project"), params)
    frozen_ones, trained_ones = (all_methods, frozen), (all_methods, trained, layout, params)
    return {
        "low-rank changes": [low_rank(layout, params), *together(low_rank, layout, params)],
        "frozen features": [frozen_ones[0](*frozen_ones[1:]), *together(*frozen_ones)],
        "encoders that train": [trained_ones[0](*trained_ones[1:]), *together(*trained_ones)],
    }


@pytest.mark.parametrize(
    ("features", "name"),
    [
        *((features, name) for features in ("frozen features", "encoders that train") for name in METHODS),
        *(("low-rank changes", name) for name in LOW_RANK),
    ],
)
def test_two_processes_have_the_losses_and_gradients_of_one_in_float64(
    name: str, features: str, found: dict[str, list[dict[str, Step]]]
) -> None:
    (terms, whole), *of_each = (steps[name] for steps in found[features])
    assert whole
    for own_terms, own in of_each:
        assert own.keys() == whole.keys()
        for term, value in terms.items():
            torch.testing.assert_close(own_terms[term], value, rtol=1e-11, atol=1e-13)
        for parameter, gradient in whole.items():
            assert gradient.dtype == torch.float64
            torch.testing.assert_close(own[parameter], gradient, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", METHODS)
def test_encoders_read_in_parts_give_every_method_the_gradients_of_the_whole_batch_in_float64(
    name: str, tmp_path: Path
) -> None:
    params = trained_params(method=METHODS, methods=["contrastive"])
    layout = make_project(tmp_path, params)
    (terms, whole), (own_terms, parts) = (trained(name, layout, params, rows) for rows in (0, 4))
    assert parts.keys() == whole.keys()
    for term, value in terms.items():
        torch.testing.assert_close(own_terms[term], value, rtol=1e-11, atol=1e-13)
    for parameter, gradient in whole.items():
        torch.testing.assert_close(parts[parameter], gradient, rtol=1e-9, atol=1e-12)


def of_processes(number: int) -> Params:
    no_dropout = {"dropout": 0.0, "summary_dropout": 0.0, "fusion_dropout": 0.0}
    return tiny_params(training={"processes": number, "epochs": 10, "validate_every": 1}, backbone=no_dropout)


def project(root: Path) -> Layout:
    """A project whose params.yaml asks for two processes."""
    params = of_processes(2)
    layout = make_features(root, params)
    written = yaml.safe_dump({**params.record(), "tracking": {"enabled": False}})
    (root / "params.yaml").write_text(written, encoding="utf-8")
    return layout


def start_training(layout: Layout) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "relalign.cli", "stage", "train", "--method", "contrastive", "--seed", "0"]
    return subprocess.Popen(command, cwd=layout.root, stderr=subprocess.PIPE, text=True)


def trained_files(layout: Layout) -> dict[str, str]:
    """By their path from the run's folder, with their hashes, hidden ones too."""
    runs = layout.run("contrastive", 0).parent
    return {path.relative_to(runs).as_posix(): sha256_file(path) for path in runs.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """What two processes have trained that nothing disturbed."""
    layout = project(tmp_path_factory.mktemp("straight"))
    process = start_training(layout)
    _, said = process.communicate()
    assert process.returncode == 0, said
    return layout


def test_two_processes_train_what_one_trains_and_leave_no_other_files(tmp_path: Path, straight: Layout) -> None:
    one = make_features(tmp_path, of_processes(1))
    train(of_processes(1), one, method="contrastive", seed=0)
    assert trained_files(one).keys() == trained_files(straight).keys()
    found, expected = (pd.read_csv(each.run("contrastive", 0) / "model/history.csv") for each in (straight, one))
    assert found.columns.tolist() == expected.columns.tolist()
    assert expected["loss/total"].iloc[-1] < 0.9 * expected["loss/total"].iloc[1]
    np.testing.assert_allclose(found["loss/total"], expected["loss/total"], rtol=1e-3)


def test_one_of_two_processes_killed_stops_both_within_a_minute_and_a_rerun_ends_in_the_same_bytes(
    tmp_path: Path, straight: Layout
) -> None:
    layout = project(tmp_path)
    process = start_training(layout)
    checkpoint = layout.run("contrastive", 0).with_name(".seed0.checkpoint") / "state.safetensors"
    while not checkpoint.exists():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    workers = [child for child in psutil.Process(process.pid).children() if "spawn_main" in str(child.cmdline())]
    assert len(workers) == 2
    workers[0].kill()
    _, said = process.communicate(timeout=60)
    assert not any(worker.is_running() for worker in workers)
    assert not (layout.run("contrastive", 0) / "model").exists(), "the kill came too late to test anything"
    assert process.returncode == 2
    assert "error: Process 0 of the 2 that train together (training.processes) was killed by SIGKILL" in said
    assert "Traceback" not in said
    again = start_training(layout)
    _, said = again.communicate()
    assert again.returncode == 0, said
    assert said.count("resuming after epoch") == 1
    assert trained_files(layout) == trained_files(straight)


def first_fails() -> None:
    if processes.own_place() == 0:
        raise RelalignError("The first one has no disk.")
    processes.agreed("waits for the first")


def test_the_sentence_of_the_process_that_failed_is_said_and_not_that_another_was_lost() -> None:
    with pytest.raises(RelalignError, match=r"^The first one has no disk\.$"):
        in_processes(2, "cpu", first_fails)


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (3, "training: processes: 3 do not divide batch_size, which is 16"),
        (0, "training.processes: "),
        (-2, "training.processes: "),
        (1.5, "training.processes: "),
    ],
)
def test_a_number_of_processes_that_cannot_be_names_its_key(number: float, said: str) -> None:
    with pytest.raises(RelalignError, match=f"params.yaml: {said}"):
        tiny_params(training={"processes": number})


def test_teachers_are_trained_by_as_many_and_their_batch_must_divide_too() -> None:
    teacher = {"encoders": ["all-minilm-l6-v2"], "batch_size": 15}
    with pytest.raises(RelalignError, match="training.processes: 2 do not divide teacher.batch_size, which is 15"):
        tiny_params(training={"processes": 2}, teacher=teacher)


def test_fewer_gpus_than_processes_are_an_error_that_names_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("auto", among=2) == torch.device("cuda:0")
    assert choose_device("cuda") == torch.device("cuda")
    for wanted in ("auto", "cuda"):
        with pytest.raises(RelalignError, match=r"training\.processes is 3, but .* sees 2 GPU"):
            in_processes(3, wanted, print)
