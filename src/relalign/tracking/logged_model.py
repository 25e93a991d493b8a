"""Models that MLflow loads and serves (`mlflow.pyfunc`): texts and images in, vectors out.

A row has a `text` or an `image`, which is base64 or the path of a file. Nothing is pickled: the module that loads
a model is named. What a model weighs is for the caller to say, who fills its folder.
"""

import base64
import io
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import requires, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from packaging.requirements import Requirement
from PIL import Image

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel as Logged
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

PACKAGE = Path(__file__).parents[1]
ALIAS = "champion"


@dataclass(frozen=True)
class LoggedModel:
    """A model to be logged: `fill` writes a folder that `_load_pyfunc` of the module `loader` loads.

    `width` is that of its vectors. `with_code` adds this package, which no package index has, for other machines.
    """

    fill: Callable[[Path], None]
    loader: str
    width: int
    with_code: bool = False


def log_model(client: "MlflowClient", run: "Run", model: LoggedModel, name: str = "vectors") -> "Logged":
    """Log a run's model, under the name that the run's page shows."""
    from mlflow import pyfunc
    from mlflow.entities import LoggedModelOutput
    from mlflow.models import Model

    run_id = run.info.run_id
    logged = client.create_logged_model(run.info.experiment_id, name=name, source_run_id=run_id)
    with tempfile.TemporaryDirectory() as folder:
        data, whole = Path(folder, "data"), Path(folder, "model")
        data.mkdir()
        model.fill(data)
        pyfunc.save_model(
            whole,
            loader_module=model.loader,
            data_path=str(data),
            code_paths=[str(PACKAGE)] if model.with_code else None,
            mlflow_model=Model(run_id=run_id, model_id=logged.model_id),
            signature=_signature(model.width),
            input_example=_example(),
            pip_requirements=pinned_requirements(),
        )
        client.log_model_artifacts(logged.model_id, str(whole))
    client.finalize_logged_model(logged.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
    return logged


def register_champion(
    client: "MlflowClient", name: str, run: "Run", model: LoggedModel, *, sha256: str, why: str
) -> None:
    """Make a model the version of the registered model `name` that the alias `champion` means.

    Nothing happens if it is already: `sha256` is of its weights.
    """
    from mlflow.exceptions import MlflowException

    try:
        if client.get_model_version_by_alias(name, ALIAS).tags.get("model_sha256") == sha256:
            return
    except MlflowException:  # there is none yet
        pass
    logged = log_model(client, run, model, ALIAS)
    try:
        client.create_registered_model(name, description="Texts and images to vectors in one space.")
    except MlflowException:  # there is one
        client.get_registered_model(name)
    made = client.create_model_version(
        name,
        source=logged.artifact_location,  # models:/... would be looked up in the store of the environment
        run_id=run.info.run_id,
        model_id=logged.model_id,
        tags={"model_sha256": sha256},
        description=why,
    )
    client.set_registered_model_alias(name, ALIAS, made.version)


def pinned_requirements() -> list[str]:
    """What this package needs to load a model, in the versions that are installed here."""
    wanted = map(Requirement, requires("relalign") or [])
    needed = {need.name for need in wanted if need.marker is None or need.marker.evaluate({"extra": ""})}
    return sorted(f"{name}=={version(name).partition('+')[0]}" for name in needed)


def _signature(width: int) -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    columns: list[ColSpec | TensorSpec] = [ColSpec("string", name, required=False) for name in ("text", "image")]
    return ModelSignature(Schema(columns), Schema([TensorSpec(np.dtype(np.float32), (-1, width))]))


def _example() -> pd.DataFrame:
    png = io.BytesIO()
    Image.new("RGB", (8, 8), "gold").save(png, "png")
    picture = base64.b64encode(png.getvalue()).decode()
    return pd.DataFrame({"text": ["a yellow square", None], "image": [None, picture]}, dtype=object)
