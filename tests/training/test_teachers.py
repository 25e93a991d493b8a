"""Methods that ask for trained teachers: which vectors they read, and which modality is the strong one."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from relalign.errors import RelalignError
from relalign.settings import parse_params
from relalign.system.artifacts import publish, sha256_file
from relalign.training.runs import train
from relalign.training.split_data import load_split
from relalign.training.teachers import with_teachers
from tests.teachers.project import make_teachers, make_topics, taught_params
from tests.tiny_project import make_features

CPU = torch.device("cpu")
TEXT = "all-minilm-l6-v2"


def rewrite(folder: Path, **arrays: np.ndarray) -> None:
    """Publish a teacher again with some of its arrays replaced."""
    kept = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "manifest.json"}
    with publish(folder, made_by="tests") as draft:
        for name, content in kept.items():
            (draft / name).write_bytes(content)
        for name, array in arrays.items():
            np.save(draft / f"{name}.npy", array)


def test_a_method_reads_the_vector_of_each_rows_own_id(tmp_path: Path) -> None:
    params = taught_params()
    layout = make_features(tmp_path, params)
    make_teachers(params, layout)
    for name in params.teacher.encoders:  # a vector that tells whose it is
        ids = np.load(layout.teacher(name) / "ids.npy")
        rewrite(layout.teacher(name), vectors=ids.astype(np.float32)[:, None])
    loaded = load_split(params, layout, "train", device=CPU)
    data = with_teachers(loaded, params, layout, params.method["rebalanced"])
    batch = next(data.epoch(99, torch.Generator().manual_seed(0), caption_mixing=0.5))
    assert batch.image.pooled[:, 0].tolist() == batch.image_ids.tolist()
    assert batch.unmixed_text.pooled[:, 0].tolist() == batch.caption_ids.tolist()
    assert torch.equal(batch.image.summary, loaded.image.table.vectors("summary", batch.image.rows))


@pytest.mark.parametrize("method", ["covlr", "rebalanced", "consensus"])
def test_a_trained_teacher_makes_another_model_than_a_frozen_one(tmp_path: Path, method: str) -> None:
    made = []
    for teacher in ("trained", "frozen"):
        params = taught_params(teacher={"learning_rate": 0.01})
        layout = make_features(tmp_path / teacher, params)
        settings = params.method[method].model_copy(update={"teacher": teacher})
        params = params.model_copy(update={"method": {method: settings}})
        if teacher == "trained":
            make_teachers(params, layout)
        train(params, layout, method=method, seed=0)
        made.append(layout.run(method, 0) / "model")
    assert sha256_file(made[0] / "model.safetensors") != sha256_file(made[1] / "model.safetensors")
    inputs = [json.loads((model / "manifest.json").read_text())["inputs"] for model in made]
    assert "text_teacher" in inputs[0]
    assert "text_teacher" not in inputs[1]


@pytest.mark.parametrize("wrong", ["another id", "another order", "a row too few"])
def test_a_teacher_of_other_rows_is_refused_by_name(tmp_path: Path, wrong: str) -> None:
    params = taught_params()
    layout = make_features(tmp_path, params)
    make_teachers(params, layout)
    ids, vectors = (np.load(layout.teacher(TEXT) / f"{name}.npy") for name in ("ids", "vectors"))
    if wrong == "another id":
        ids[-1] = 999
    elif wrong == "another order":
        ids = ids[::-1]
    else:
        vectors = vectors[:-1]
    rewrite(layout.teacher(TEXT), ids=ids, vectors=vectors)
    with pytest.raises(
        RelalignError, match=rf"data/teachers/openmoji/{TEXT}: its ids.npy and vectors.npy"
    ) as error:
        train(params, layout, method="covlr", seed=0)
    assert ("999" in str(error.value)) == (wrong == "another id")
    assert not (layout.run("covlr", 0) / "model").exists()


def test_a_teacher_that_was_not_trained_is_named(tmp_path: Path) -> None:
    params = taught_params()
    layout = make_features(tmp_path, params)
    with pytest.raises(RelalignError, match=f"data/teachers/openmoji/{TEXT}"):
        train(params, layout, method="covlr", seed=0)


@pytest.mark.parametrize("clear", ["image", "text"])
@pytest.mark.parametrize("method", ["covlr-auto", "rebalanced-auto"])
def test_strong_auto_takes_the_modality_whose_teacher_is_better_and_says_so(
    tmp_path: Path, clear: str, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    params = taught_params()
    layout = make_topics(tmp_path, params, clear=clear)
    make_teachers(params, layout)
    with caplog.at_level(logging.INFO, "relalign.training.teachers"):
        train(params, layout, method=method, seed=0)
    assert f"strong: auto takes {clear}; nDCG@10 of the teachers on validation" in caplog.text
    model = layout.run(method, 0) / "model"
    record = json.loads((model / "manifest.json").read_text())["parameters"]
    assert record["method"]["strong"] == "auto"
    assert record["chosen"]["strong"] == clear
    scores = record["chosen"]["teacher_ndcg"]
    assert max(scores, key=scores.__getitem__) == clear
    assert json.loads((model / "config.json").read_text())["settings"]["strong"] == clear


def test_with_a_strong_modality_the_mix_is_its_teacher_alone_and_stays(tmp_path: Path) -> None:
    params = taught_params()
    layout = make_topics(tmp_path, params, clear="image")
    make_teachers(params, layout)
    train(params, layout, method="rebalanced-auto", seed=0)
    last = (layout.run("rebalanced-auto", 0) / "model/history.csv").read_text().splitlines()
    assert {row.split(",")[last[0].split(",").index("mix")] for row in last[2:]} == {"0.0"}


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"method": {"covlr": {"strong": "auto"}}}, "method.covlr: strong: 'auto' compares trained teachers"),
        ({"method": {"rebalanced": {"strong": "auto"}}}, "method.rebalanced: strong: 'auto' compares trained"),
        (
            {"method": {"covlr": {"teacher": "trained"}}},
            "method.covlr.teacher: 'trained', but 'all-minilm-l6-v2' is not in teacher.encoders",
        ),
        ({"teacher": {"encoders": ["resnet"]}}, "teacher.encoders: 'resnet' is none of 'encoders'"),
    ],
)
def test_what_cannot_be_taught_is_an_error_that_names_its_key(section: dict, said: str) -> None:
    import yaml

    raw = yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text())
    for name, keys in section.items():
        for key, value in keys.items():
            raw[name][key] = raw[name][key] | value if isinstance(value, dict) else value
    with pytest.raises(RelalignError, match=said.replace(".", r"\.")):
        parse_params(raw)
