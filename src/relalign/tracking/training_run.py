"""One MLflow run around a training, which a resumed training continues."""

import contextlib
import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from relalign.settings.tracking import Tracking
from relalign.system.artifacts import canonical_json, digest, sha256_file, write_atomic
from relalign.tracking.execution import Execution, parent_run
from relalign.tracking.records import epoch_metrics, flatten, git_state, metric_name, run_parameters
from relalign.tracking.store import connect, load, side_thread, store_lock

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

COPIED_BYTES = 1_000_000  # larger artifacts are recorded by path and hash only


class Run:
    """One training run; every method returns at once and does nothing where tracking is off."""

    def __init__(self, settings: Tracking, root: Path, resume_file: Path):
        self._settings = settings
        self._root = root
        self._resume_file = resume_file
        self._side = side_thread(settings, root) if settings.enabled else None
        self._client: MlflowClient
        self._experiment = ""
        self._run_id = ""
        self._logged: set[tuple[str, int]] = set()

    def log_epoch(self, metrics: Mapping[str, float | int], *, step: int) -> None:
        """Log a few of an epoch's numbers (`epoch_metrics`). A (name, step) already there is left alone.

        A resumed job may therefore log its whole history again: nothing stands twice, and what the killed
        job had not yet delivered is filled in.
        """
        now = int(time.time() * 1000)
        if self._side:
            self._side.submit(lambda: self._log(dict(metrics), step, now))

    def finish(self, *, model_sha256: str, artifacts: Sequence[Path] = ()) -> None:
        """Name the model this run made, keep its small artifacts and list all of them by path and sha256."""
        if self._side:
            self._side.submit(lambda: self._finish(model_sha256, artifacts))

    def _connect(self, dataset: str) -> None:
        self._client, self._experiment = connect(self._settings, self._root, dataset)

    def _open(
        self,
        name: str,
        parameters: Mapping[str, Any],
        tags: Mapping[str, str],
        pairs: Path | None,
        execution: Execution,
    ) -> None:
        start = self._start(hashlib.sha256(canonical_json(flatten(parameters)).encode()).hexdigest())
        found = self._client.search_runs(
            [self._experiment], filter_string=f"tags.start = '{start}'", max_results=1
        )
        if found:
            run = found[0]
            self._client.update_run(run.info.run_id, status="RUNNING")
            for key in run.data.metrics:
                history = self._client.get_metric_history(run.info.run_id, key)
                self._logged |= {(key, item.step) for item in history}
        else:
            with store_lock(self._settings, self._root):
                parent = parent_run(self._client, self._experiment, execution, self._root)
            described = {**tags, **git_state(self._root), "mlflow.parentRunId": parent, "start": start}
            run = self._client.create_run(self._experiment, run_name=name, tags=described)
        self._run_id = run.info.run_id
        # Again in a run that was found: it may have been killed in between.
        _log_parameters(self._client, self._run_id, run_parameters(parameters, tags))
        if pairs is not None:
            _log_dataset(self._client, self._run_id, execution.dataset, pairs, self._root)

    def _start(self, parameters: str) -> str:
        """The name, kept in `resume_file`, by which the run is found again that a killed process had opened.

        It is on disk before the run is made: whenever a process is killed, no run stays behind that none finishes.
        """
        try:
            kept = json.loads(self._resume_file.read_text())
            if kept["parameters"] == parameters:
                return str(UUID(kept["start"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            pass
        start = str(uuid4())
        write_atomic(self._resume_file, json.dumps({"start": start, "parameters": parameters}))
        return start

    def _log(self, metrics: Mapping[str, float | int], step: int, milliseconds: int) -> None:
        from mlflow.entities import Metric

        fresh = {name: value for name, value in epoch_metrics(metrics).items() if (name, step) not in self._logged}
        if fresh:
            batch = [Metric(name, value, milliseconds, step) for name, value in fresh.items()]
            self._client.log_batch(self._run_id, metrics=batch)
            self._logged |= {(name, step) for name in fresh}

    def _finish(self, model_sha256: str, artifacts: Sequence[Path]) -> None:
        listing = {}
        for path in artifacts:
            place = path.resolve().relative_to(self._root.resolve()).as_posix()
            listing[place] = {"sha256": sha256_file(path), "bytes": path.stat().st_size}
            if path.stat().st_size <= COPIED_BYTES:
                self._client.log_artifact(self._run_id, str(path))
        self._client.log_dict(self._run_id, listing, "artifacts.json")
        self._client.set_tag(self._run_id, "model_sha256", model_sha256)

    def _close(self, status: str) -> None:
        if self._side is None:
            return
        self._side.submit(lambda: self._client.set_terminated(self._run_id, status))
        if status == "FINISHED":
            self._side.submit(lambda: self._resume_file.unlink(missing_ok=True))
        self._side.close()


def _log_parameters(client: "MlflowClient", run_id: str, parameters: Mapping[str, str]) -> None:
    from mlflow.entities import Param

    items = [Param(metric_name(name), value) for name, value in parameters.items()]
    for start in range(0, len(items), 100):  # MLflow's limit of a batch
        client.log_batch(run_id, params=items[start : start + 100])


def _log_dataset(client: "MlflowClient", run_id: str, name: str, pairs: Path, root: Path) -> None:
    from mlflow.entities import Dataset, DatasetInput

    source = json.dumps({"uri": pairs.resolve().relative_to(root.resolve()).as_posix()})
    # 36 characters is the longest digest MLflow stores.
    dataset = Dataset(name=name, digest=digest(pairs)[:36], source_type="local", source=source)
    client.log_inputs(run_id, datasets=[DatasetInput(dataset)])


@contextlib.contextmanager
def training_run(
    settings: Tracking,
    *,
    root: Path,
    name: str,
    parameters: Mapping[str, Any],
    tags: Mapping[str, str],
    execution: Execution,
    resume_file: Path,
    pairs: Path | None = None,
) -> Iterator[Run]:
    """One MLflow run around a training: FINISHED, or FAILED or KILLED if the body raises.

    It lies below the run of its `execution`. `resume_file` keeps its name until it is finished: a job that starts
    again with the same parameters continues it. `pairs` is the published folder of the pairs table, recorded as
    the dataset.
    """
    run = Run(settings, root, resume_file)
    if run._side:
        run._side.submit(load, asks=False)  # where many jobs begin at once this takes longer than any server may
        run._side.submit(lambda: run._connect(execution.dataset))
        run._side.submit(lambda: run._open(name, parameters, tags, pairs, execution))
    try:
        yield run
    except Exception:
        run._close("FAILED")
        raise
    except BaseException:
        run._close("KILLED")
        raise
    run._close("FINISHED")
