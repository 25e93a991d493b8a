"""`image.onnx` and `text.onnx`: both towers of a model for any ONNX runtime.

| file | inputs | output |
| --- | --- | --- |
| `image.onnx` | `pixels`, as the encoder's preprocessing makes them | `embedding` (batch, width), unit norm |
| `text.onnx` | `input_ids` and `attention_mask`, int64 (batch, length), padded behind | the same |

Batch and length are free. What was written is run once and compared with torch: an encoder may hold a step that
tracing cannot follow.
"""

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from relalign.errors import RelalignError
from relalign.retrieval.retrieval_model import RetrievalModel
from relalign.retrieval.towers import ImageTower, TextTower, padded_tokens

log = logging.getLogger(__name__)

IMAGE_FILE, TEXT_FILE = "image.onnx", "text.onnx"
_OPSET = 18
_TOLERANCE = 1e-3  # float16 roundings, which both make, may fall to either side
_EXAMPLES = ["a", "two dogs run on the small red mat"]


def check_onnx_is_installed() -> None:
    """Raises `RelalignError` that says what to install where a package for ONNX is missing."""
    try:
        import onnx  # noqa: F401 (whether it is there)
        import onnxruntime  # noqa: F401 (the same)
    except ImportError as error:
        raise RelalignError(f"ONNX needs {error.name}: pip install 'relalign[onnx]'.") from None


def write_onnx(model: RetrievalModel, folder: Path) -> None:
    """Write both towers of a model on the CPU into a folder, and check them against torch.

    Raises `RelalignError`: packages are missing, or an encoder cannot be written as ONNX.
    """
    check_onnx_is_installed()
    grey = [Image.new("RGB", (64, 48), (level, 127, 127)) for level in (0, 200)]
    pixels = torch.from_numpy(np.stack([model.image_encoder.prepare(image) for image in grey]))
    # Of unequal length: a batch without padding would be traced without the mask.
    tokens = padded_tokens(model, _EXAMPLES)
    _write(ImageTower(model), {"pixels": pixels}, ("batch",), folder / IMAGE_FILE)
    names = ("input_ids", "attention_mask")
    _write(TextTower(model), dict(zip(names, tokens, strict=True)), ("batch", "length"), folder / TEXT_FILE)
    alone = padded_tokens(model, _EXAMPLES[:1])
    _check(folder / IMAGE_FILE, {"pixels": pixels[1:]}, model.encode_images(grey[1:]))
    _check(folder / TEXT_FILE, dict(zip(names, alone, strict=True)), model.encode_texts(_EXAMPLES[:1]))


def _write(tower: nn.Module, inputs: Mapping[str, Tensor], free: Sequence[str], path: Path) -> None:
    axes = {name: dict(enumerate(free)) for name in inputs}
    try:
        with torch.no_grad(), warnings.catch_warnings(), _traceable():
            warnings.simplefilter("ignore")  # of shapes that are the same for all inputs
            torch.onnx.export(
                tower.eval(),
                tuple(inputs.values()),
                str(path),
                dynamo=False,  # that way needs onnxscript, and knows fewer of the encoders
                opset_version=_OPSET,
                input_names=list(inputs),
                output_names=["embedding"],
                dynamic_axes={**axes, "embedding": {0: "batch"}},
            )
    except (RuntimeError, torch.onnx.errors.OnnxExporterError) as error:
        reason = str(error).strip().splitlines()[0]
        raise RelalignError(f"{path.name} cannot be made: {reason} Export without --onnx.") from error


@contextmanager
def _traceable() -> Iterator[None]:
    """Let `unflatten`, of which a trace keeps the example's batch size, be a `reshape`, of which it does not."""
    original = Tensor.unflatten

    def unflatten(tensor: Tensor, dim: int, sizes: Sequence[Any]) -> Tensor:
        place = dim % tensor.ndim
        return tensor.reshape(*tensor.shape[:place], *sizes, *tensor.shape[place + 1 :])

    Tensor.unflatten = unflatten  # type: ignore[method-assign]
    try:
        yield
    finally:
        Tensor.unflatten = original  # type: ignore[method-assign]


def _check(path: Path, inputs: Mapping[str, Tensor], expected: np.ndarray) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    try:
        (found,) = session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})
        difference = float(np.abs(found - expected).max()) if found.shape == expected.shape else float("nan")
    except Exception as error:  # its errors share no base class of their own
        raise RelalignError(f"{path.name} does not run: {error}. Export without --onnx.") from error
    if not difference < _TOLERANCE:
        raise RelalignError(f"{path.name} differs from torch by {difference:.1g}. Export without --onnx.")
    log.info("%s differs from torch by %.1g at most", path.name, difference)
