import errno
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from relalign.data.corruption import corrupt_caption, corrupt_image, vocabulary_of
from relalign.data.images import load_image
from relalign.errors import RelalignError
from relalign.features.encoders import load_image_encoder, load_text_encoder
from relalign.features.inputs import CaptionInputs, EncodedRows, ImageInputs
from relalign.features.store import FeatureStore
from relalign.settings.corruption import Corruption
from relalign.settings.encoder import Features
from relalign.system.artifacts import read_manifest
from relalign.system.source_hash import source_hash
from tests.feature_project import CAPTIONS, FeatureProject

BOTH = pytest.mark.parametrize("modality", ["image", "text"])
KINDS = {"image": ("patches", "noise", "blur"), "text": ("drop", "shuffle", "swap")}
CORRUPTED = pytest.mark.parametrize(
    ("modality", "kind"), [(modality, kind) for modality, kinds in KINDS.items() for kind in kinds]
)
ROWS = {"image": 4, "text": 7}
ARRAYS = ("ids.npy", "inputs.npy", "lengths.npy", "pooled.npy", "tokens.npy")


@pytest.fixture
def project(tmp_path: Path) -> FeatureProject:
    return FeatureProject(tmp_path)


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rows that encoders have computed since the list was last cleared."""
    rows: list[int] = []
    for inputs in (ImageInputs, CaptionInputs):
        encode = inputs.encode

        def counted(self, batch, real, encode=encode) -> EncodedRows:
            rows.extend(batch[:real].tolist())
            return encode(self, batch, real)

        monkeypatch.setattr(inputs, "encode", counted)
    return rows


def _bytes(store: Path) -> dict[str, bytes]:
    return {name: (store / name).read_bytes() for name in ARRAYS}


def test_image_rows_are_what_the_encoder_gives_for_each_image(project: FeatureProject) -> None:
    store = FeatureStore.open(project.extract("image"), expect_ids=[100, 101, 102, 103], verify=True)
    encoder = load_image_encoder(project.encoders["image"], project.encoder_folder("image"), torch.device("cpu"))
    for index in range(4):
        encoded = encoder.encode(encoder.prepare(load_image(project.image(index), 10**6))[np.newaxis])
        row = store.read(store.rows([100 + index]))
        np.testing.assert_allclose(row.tokens[0], encoded.tokens[0].numpy(), rtol=2e-3, atol=1e-4)
        np.testing.assert_allclose(row.pooled[0], encoded.pooled[0].numpy(), rtol=1e-5, atol=1e-6)
        assert row.lengths.tolist() == [4]


def test_caption_rows_are_what_the_encoder_gives_for_each_caption(project: FeatureProject) -> None:
    store = FeatureStore.open(project.extract("text"), verify=True)
    encoder = load_text_encoder(project.encoders["text"], project.encoder_folder("text"), torch.device("cpu"))
    assert store.ids.tolist() == [10 * index + 1 for index in range(7)]
    for index, tokenised in enumerate(encoder.tokenise(list(CAPTIONS))):
        encoded = encoder.encode(tokenised.numbers[np.newaxis], tokenised.content[np.newaxis])
        row = store.read(store.rows([10 * index + 1]))
        length = len(CAPTIONS[index].split())
        assert row.lengths.tolist() == [length]
        np.testing.assert_allclose(row.tokens[0, :length], encoded.tokens[0, 1:-1].numpy(), rtol=2e-3, atol=1e-3)
        assert not row.tokens[0, length:].any()
        np.testing.assert_allclose(row.pooled[0], encoded.pooled[0].numpy(), rtol=1e-5, atol=1e-6)


@BOTH
def test_bytes_do_not_depend_on_the_number_of_workers(modality: str, project: FeatureProject) -> None:
    first = _bytes(project.extract(modality))
    shutil.rmtree(project.store(modality))
    shutil.rmtree(project.work(modality))
    project.settings = Features(batch_size=3, workers=1)
    assert _bytes(project.extract(modality)) == first


@BOTH
def test_a_deleted_store_comes_back_without_computing(
    modality: str, project: FeatureProject, computed: list[int]
) -> None:
    first = _bytes(project.extract(modality))
    assert sorted(computed) == list(range(ROWS[modality]))
    computed.clear()
    shutil.rmtree(project.store(modality))
    assert _bytes(project.extract(modality)) == first
    assert computed == []


@BOTH
def test_added_rows_alone_are_computed_and_the_store_equals_a_fresh_one(
    modality: str, project: FeatureProject, computed: list[int]
) -> None:
    project.extract(modality)
    computed.clear()
    project.write_pairs([*CAPTIONS, "a tree", "the small dog runs under a red tree on a mat"])
    grown = _bytes(project.extract(modality))
    assert sorted(computed) == {"image": [4], "text": [7, 8]}[modality]
    shutil.rmtree(project.store(modality))
    shutil.rmtree(project.work(modality))
    assert _bytes(project.extract(modality)) == grown


def test_shorter_captions_alone_shrink_the_store(project: FeatureProject, computed: list[int]) -> None:
    project.extract("text")
    computed.clear()
    project.write_pairs(["two", "a cat"])
    store = FeatureStore.open(project.extract("text"), verify=True)
    assert computed == []
    assert store.tokens.shape[:2] == (2, 2)
    assert store.lengths.tolist() == [1, 2]


def test_a_changed_caption_is_computed_again_alone(project: FeatureProject, computed: list[int]) -> None:
    before = FeatureStore.open(project.extract("text")).pooled[3].copy()
    computed.clear()
    project.write_pairs([*CAPTIONS[:3], "a tree", *CAPTIONS[4:]])
    after = FeatureStore.open(project.extract("text")).pooled[3]
    assert computed == [3]
    assert not np.array_equal(before, after)


def test_a_changed_image_file_is_computed_again_alone(project: FeatureProject, computed: list[int]) -> None:
    before = FeatureStore.open(project.extract("image")).pooled[2].copy()
    computed.clear()
    shutil.copyfile(project.image(0), project.image(2))
    store = FeatureStore.open(project.extract("image"))
    assert not np.array_equal(before, store.pooled[2])
    np.testing.assert_array_equal(store.pooled[0], store.pooled[2])
    assert computed == [], "image 0 has the same bytes, so its row is taken over"


@BOTH
def test_one_changed_weight_makes_every_row_new(
    modality: str, project: FeatureProject, computed: list[int]
) -> None:
    project.extract(modality)
    computed.clear()
    weights = project.root / "checkpoints" / modality / "model.safetensors"
    changed = bytearray(weights.read_bytes())
    changed[-2] ^= 1
    weights.write_bytes(changed)
    project.publish_encoder(modality)
    project.extract(modality)
    assert sorted(computed) == list(range(ROWS[modality]))


@pytest.mark.parametrize("file", ["tokenizer.json", "tokenizer_config.json", "config.json"])
def test_a_changed_tokenizer_or_configuration_makes_every_row_new(
    file: str, project: FeatureProject, computed: list[int]
) -> None:
    project.extract("text")
    computed.clear()
    path = project.root / "checkpoints/text" / file
    path.write_text(path.read_text() + "\n")
    project.publish_encoder("text")
    project.extract("text")
    assert len(computed) == 7


def test_changed_preprocessing_makes_every_row_new(project: FeatureProject, computed: list[int]) -> None:
    before = FeatureStore.open(project.extract("image")).pooled[:].copy()
    computed.clear()
    path = project.root / "checkpoints/image/preprocessor_config.json"
    path.write_text(path.read_text().replace("0.5", "0.4"))
    project.publish_encoder("image")
    after = FeatureStore.open(project.extract("image")).pooled
    assert len(computed) == 4
    assert not np.isclose(before, after).all(axis=1).any()


@pytest.mark.parametrize("setting", [{"max_tokens": 5}, {"prefix": "query : "}])
def test_changed_text_settings_make_every_row_new(
    setting: dict[str, object], project: FeatureProject, computed: list[int]
) -> None:
    project.extract("text")
    computed.clear()
    project.write_encoder("text", **setting)
    project.extract("text")
    assert len(computed) == 7


def test_changed_code_makes_every_row_new(
    project: FeatureProject, computed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    project.extract("text")
    computed.clear()
    monkeypatch.setattr(
        "relalign.features.extraction.source_hash", lambda files: f"other code, {len(list(files))} files"
    )
    project.extract("text")
    assert len(computed) == 7


def test_an_encoder_altered_in_place_is_refused(project: FeatureProject) -> None:
    config = project.encoder_folder("text") / "config.json"
    config.write_text(config.read_text().replace("false", "true ", 1))
    with pytest.raises(RelalignError, match=r"config\.json (differs|is missing)"):
        project.extract("text")


def test_kept_rows_that_were_damaged_are_computed_again(project: FeatureProject, computed: list[int]) -> None:
    first = _bytes(project.extract("text"))
    shutil.rmtree(project.store("text"))
    computed.clear()
    tokens = project.work("text") / "tokens.npy"
    damaged = bytearray(tokens.read_bytes())
    damaged[-1] ^= 1
    tokens.write_bytes(damaged)
    assert _bytes(project.extract("text")) == first
    assert len(computed) == 7


_KILLED = """
import sys, time, relalign.features.extraction as features
from pathlib import Path
from relalign.features.inputs import CaptionInputs
from tests.feature_project import FeatureProject
features._COMMIT_SECONDS = 0.0
encode = CaptionInputs.encode
def slow(self, batch, real):
    time.sleep(0.01)
    return encode(self, batch, real)
CaptionInputs.encode = slow
project = FeatureProject.__new__(FeatureProject)
project.root, project.settings = Path(sys.argv[1]), features.Features(batch_size=3, workers=2)
project.encoders = {"text": features.Encoder(kind="transformers", modality="text", model="checkpoints/text")}
project.extract("text")
"""


def test_a_run_killed_at_a_random_moment_continues_to_the_same_bytes(
    project: FeatureProject, computed: list[int]
) -> None:
    words = ["a", "dog", "cat", "runs", "on", "red", "mat"]
    dice = random.Random(0)
    captions = [" ".join(dice.choices(words, k=dice.randint(1, 8))) for _ in range(300)]
    project.write_pairs(captions)
    whole = _bytes(project.extract("text"))
    shutil.rmtree(project.store("text"))
    shutil.rmtree(project.work("text"))
    wanted = random.SystemRandom().randint(1, 250)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    child = subprocess.Popen([sys.executable, "-c", _KILLED, str(project.root)], env=environment)
    try:
        while child.poll() is None and _done(project) < wanted:
            time.sleep(0.002)
    finally:
        child.kill()
    assert child.wait() == -9, "the run must have been killed before its end"
    assert not project.store("text").exists()
    survived = _done(project)
    computed.clear()
    assert _bytes(project.extract("text")) == whole
    assert len(computed) == 300 - survived
    assert survived >= wanted


def _done(project: FeatureProject) -> int:
    path = project.work("text") / "done.npy"
    return int(np.load(path).sum()) if path.exists() else 0


def test_a_full_disk_is_one_sentence_and_leaves_nothing_visible(
    project: FeatureProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(RelalignError, match="disk is full"):
        project.extract("text")
    assert [path.name for path in project.store("text").parent.iterdir()] == [".text.work.lock"]


def test_an_unreadable_image_is_named(project: FeatureProject) -> None:
    project.image(1).write_bytes(b"no image")
    with pytest.raises(RelalignError, match=r"1\.png"):
        project.extract("image")
    assert not project.store("image").exists()


def test_a_missing_image_is_named(project: FeatureProject) -> None:
    project.image(3).unlink()
    with pytest.raises(RelalignError, match=r"3\.png"):
        project.extract("image")


@CORRUPTED
def test_a_corruption_changes_features_of_its_modality_alone(
    modality: str, kind: str, project: FeatureProject
) -> None:
    other = "text" if modality == "image" else "image"
    clean = {side: _bytes(project.extract(side)) for side in KINDS}
    manifest = (project.store(other) / "manifest.json").read_bytes()
    corruption = Corruption(modality=modality, kind=kind, rate=0.8)
    assert _bytes(project.extract(modality, corruption))["pooled.npy"] != clean[modality]["pooled.npy"]
    assert _bytes(project.extract(other, corruption)) == clean[other]
    assert (project.store(other) / "manifest.json").read_bytes() == manifest
    assert _bytes(project.extract(modality)) == clean[modality], "no corrupted row was taken over"


@CORRUPTED
def test_an_equal_corruption_gives_equal_bytes_whatever_the_number_of_workers(
    modality: str, kind: str, project: FeatureProject
) -> None:
    corruption = Corruption(modality=modality, kind=kind, rate=0.8, seed=3)
    first = _bytes(project.extract(modality, corruption))
    shutil.rmtree(project.store(modality))
    shutil.rmtree(project.work(modality))
    project.settings = Features(batch_size=3, workers=1)
    assert _bytes(project.extract(modality, corruption)) == first


@CORRUPTED
def test_another_rate_or_seed_makes_every_row_new(
    modality: str, kind: str, project: FeatureProject, computed: list[int]
) -> None:
    project.extract(modality, Corruption(modality=modality, kind=kind, rate=0.8))
    for setting in ({"rate": 0.7}, {"rate": 0.8, "seed": 1}):
        computed.clear()
        corruption = Corruption.model_validate({"modality": modality, "kind": kind, **setting})
        recorded = read_manifest(project.extract(modality, corruption))["parameters"]["encoder"]["corruption"]
        assert recorded.items() >= corruption.model_dump().items()
        assert sorted(computed) == list(range(ROWS[modality]))


@BOTH
def test_changed_corrupting_code_makes_corrupted_rows_alone_new(
    modality: str, project: FeatureProject, computed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def changed(files) -> str:
        files = list(files)
        return source_hash(files) + ("changed" if any(file.name == "corruption.py" for file in files) else "")

    corruption = Corruption(modality=modality, kind=KINDS[modality][0], rate=0.5)
    for given, new in ((None, 0), (corruption, ROWS[modality])):
        project.extract(modality, given)
        computed.clear()
        with monkeypatch.context() as patch:
            patch.setattr("relalign.features.extraction.source_hash", changed)
            project.extract(modality, given)
        assert len(computed) == new


@BOTH
def test_rate_zero_gives_the_clean_features(modality: str, project: FeatureProject) -> None:
    clean = _bytes(project.extract(modality))
    for kind in KINDS[modality]:
        bytes_ = _bytes(project.extract(modality, Corruption(modality=modality, kind=kind, rate=0.0)))
        assert all(bytes_[name] == clean[name] for name in ("pooled.npy", "tokens.npy", "lengths.npy"))


def test_a_copied_image_is_corrupted_in_its_own_way_also_where_rows_are_taken_over(
    project: FeatureProject, computed: list[int]
) -> None:
    shutil.copyfile(project.image(0), project.image(2))
    corruption = Corruption(modality="image", kind="patches", rate=0.5)
    pooled = FeatureStore.open(project.extract("image", corruption)).pooled[:].copy()
    assert not np.array_equal(pooled[0], pooled[2])
    computed.clear()
    project.write_pairs([*CAPTIONS, "a tree", "a cat"])
    np.testing.assert_array_equal(FeatureStore.open(project.extract("image", corruption)).pooled[:4], pooled)
    assert computed == [4]


def test_corrupted_rows_are_what_the_encoder_gives_for_each_corrupted_input(project: FeatureProject) -> None:
    corruption = Corruption(modality="image", kind="noise", rate=0.2)
    image_rows = FeatureStore.open(project.extract("image", corruption)).pooled
    eye = load_image_encoder(project.encoders["image"], project.encoder_folder("image"), torch.device("cpu"))
    for index, pooled in enumerate(image_rows):
        image = corrupt_image(load_image(project.image(index), 10**6), corruption, 100 + index)
        expected = eye.encode(eye.prepare(image)[np.newaxis]).pooled[0].numpy()
        np.testing.assert_allclose(pooled, expected, rtol=1e-5, atol=1e-6)
    corruption = Corruption(modality="text", kind="swap", rate=0.5)
    text_rows = FeatureStore.open(project.extract("text", corruption)).pooled
    reader = load_text_encoder(project.encoders["text"], project.encoder_folder("text"), torch.device("cpu"))
    for index, pooled in enumerate(text_rows):
        caption = corrupt_caption(CAPTIONS[index], corruption, 10 * index + 1, vocabulary_of(CAPTIONS))
        [tokenised] = reader.tokenise([caption])
        expected = reader.encode(tokenised.numbers[np.newaxis], tokenised.content[np.newaxis]).pooled[0].numpy()
        np.testing.assert_allclose(pooled, expected, rtol=1e-5, atol=1e-6)
