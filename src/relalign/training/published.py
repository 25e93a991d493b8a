"""What surrounds every training: a tracked run, a checkpoint's key, and an artefact that appears whole."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from relalign import tracking
from relalign.layout import Layout
from relalign.settings import Params
from relalign.system import processes
from relalign.system.artifacts import canonical_json, digest, publish, sha256_file
from relalign.training.checkpoint import drop_checkpoint


@contextmanager
def published_training(
    params: Params,
    layout: Layout,
    folder: Path,
    *,
    made_by: str,
    run: Mapping[str, Any],
    parameters: Mapping[str, Any],
    inputs: Mapping[str, Path],
    checkpoint: Path,
    files: Sequence[str],
) -> Iterator[tuple[Path, str, tracking.Run]]:
    """Yield the draft of `folder`, the key of the work's checkpoint, and its tracked run.

    Of processes that train together all but the first get a draft that is thrown away, and a run that is not kept.

    `run` names the run (`tracking.run_identity`). `files` of the finished folder, of which the first holds the
    model's weights, are kept with the run; the checkpoint is then dropped.
    """
    first = processes.own_place() == 0
    with tracking.training_run(
        params.tracking if first else params.tracking.model_copy(update={"enabled": False}),
        root=layout.root,
        parameters=parameters,
        **run,
        execution=tracking.Execution(params.dataset, params.record()),
        resume_file=checkpoint / "mlflow.json",
        pairs=layout.pairs,
    ) as tracked:
        work = {"parameters": parameters, "inputs": {name: digest(path) for name, path in inputs.items()}}
        key = hashlib.sha256(canonical_json(work).encode()).hexdigest()
        if not first:
            with TemporaryDirectory() as draft:
                yield Path(draft), key, tracked
            return
        with publish(folder, made_by=made_by, parameters=parameters, inputs=inputs) as draft:
            yield draft, key, tracked
        artifacts = [folder / name for name in files]
        tracked.finish(model_sha256=sha256_file(artifacts[0]), artifacts=artifacts)
    drop_checkpoint(checkpoint)
