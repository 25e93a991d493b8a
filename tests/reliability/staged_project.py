"""A tiny project whose stages run in forked processes: nothing is imported anew, so that a kill hits the work."""

import hashlib
import importlib
import logging
import multiprocessing
import os
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import tqdm.auto
import tqdm.std

from relalign.cli import main
from tests.workflow.clone import Clone

METHODS = ("cca", "contrastive")
CUT = {"tiny-vit": {"train_from": "layer.1"}, "tiny-bert": {"train_from": "layer.2"}}
SECONDS = 120
IMPORTED_BY_STAGES = (
    "email.policy",
    "importlib_metadata._adapters",
    "PIL.PngImagePlugin",
    "matplotlib.backends.backend_svg",
    "matplotlib.figure",
    "mlflow.tracking",
    "pyarrow.dataset",
    "pyarrow.parquet",
    "relalign.commands.options",
    "relalign.commands.tracked",
    "relalign.comparison.stage",
    "relalign.data.readers.table",
    "relalign.data.validation",
    "relalign.evaluation.stage",
    "relalign.features.encoders.transformers_image",
    "relalign.features.encoders.transformers_text",
    "relalign.orchestration.method_identity",
    "relalign.report.command",
    "relalign.serve.command",
    "relalign.study.command",
    "relalign.training.runs",
    "transformers.models.bert.modeling_bert",
    "transformers.models.vit.modeling_vit",
)


@dataclass(frozen=True)
class Stage:
    """A stage as one calls it, what it makes, and what it keeps beside that to go on with."""

    arguments: tuple[str, ...]
    outputs: tuple[str, ...]
    kept: tuple[str, ...] = ()


def _run(stage: str, method: str, *outputs: str, kept: Sequence[str] = ()) -> Stage:
    made = tuple(f"results/tiny/{method}/seed0/{output}" for output in outputs)
    return Stage((stage, "--method", method, "--seed", "0"), made, tuple(kept))


def _encoder(stage: str, name: str, folder: str, kept: Sequence[str] = ()) -> Stage:
    return Stage((stage, "--encoder", name), (f"{folder}/{name}",), tuple(kept))


FEATURES = "data/features/tiny"
EVALUATED = ("evaluation", "metrics.json", "summary.json")
RESULTS = ("comparison.csv", "training.csv", "recall.csv")
REPORT = ("report.html", "comparison.svg", "examples.svg")
STAGES = {
    "params": Stage(("params",), ("results/tiny/params.json",)),
    "download": Stage(("download",), ("data/raw/tiny",), ("data/.downloads",)),
    "download-encoder image": _encoder("download-encoder", "tiny-vit", "data/encoders"),
    "download-encoder": _encoder("download-encoder", "tiny-bert", "data/encoders"),
    "validate": Stage(("validate",), ("data/pairs/tiny",)),
    "relevance": Stage(("relevance",), ("data/relevance/tiny",)),
    "features image": _encoder("features", "tiny-vit", FEATURES, [f"{FEATURES}/.tiny-vit.work"]),
    "features text": _encoder("features", "tiny-bert", FEATURES, [f"{FEATURES}/.tiny-bert.work"]),
    "method cca": Stage(("method", "--method", "cca"), ("results/tiny/cca/method.json",)),
    "method": Stage(("method", "--method", "contrastive"), ("results/tiny/contrastive/method.json",)),
    "train cca": _run("train", "cca", "model"),
    "train": _run("train", "contrastive", "model", kept=["results/tiny/contrastive/.seed0.checkpoint"]),
    "export cca": _run("export", "cca", "embeddings"),
    "export": _run("export", "contrastive", "embeddings"),
    "evaluate cca": _run("evaluate", "cca", *EVALUATED),
    "evaluate": _run("evaluate", "contrastive", *EVALUATED),
    "compare": Stage(("compare",), tuple(f"results/tiny/{name}" for name in RESULTS)),
    "report": Stage(("report",), tuple(f"results/tiny/{name}" for name in REPORT)),
}
OF_SEVERAL_METHODS = ("method cca", "train cca", "export cca", "evaluate cca", "compare", "report")


@dataclass
class StagedProject:
    """A clone with tiny data, in which `run` makes the outputs of a stage."""

    clone: Clone
    log: int = field(default=-1, init=False)

    @classmethod
    def make(cls, root: Path, *, cut: bool = False, tracked: bool = False) -> "StagedProject":
        """Everything made once; with encoders that train (`cut`) what one run needs alone."""
        preload()
        clone = Clone.of_working_tree(root)
        params = {
            "methods": ["contrastive"] if cut else list(METHODS),
            "seeds": [0],
            "tracking": {"enabled": tracked},
        }
        clone.edit_params(**params, training={"epochs": 6})
        if cut:
            clone.edit_params(encoder=clone.with_encoders(**CUT))
        clone.commit("what the tests change")
        project = cls(clone)
        for stage in STAGES:
            if not cut or stage not in OF_SEVERAL_METHODS:
                project.run(stage)
        return project

    @property
    def root(self) -> Path:
        """The project folder."""
        return self.clone.root

    def copy(self, root: Path) -> "StagedProject":
        """The same elsewhere."""
        return StagedProject(self.clone.copy(root))

    def run(
        self,
        stage: str,
        before: Callable[[], Any] = lambda: None,
        *,
        code: int | None = 0,
        dataset: str = "tiny",
    ) -> str:
        """Run a stage to its end; what it said. `before` is called in its process, which must end with `code`."""
        process = self.start(lambda: (before(), main([*self.arguments(stage), "--dataset", dataset]))[1])
        exit_code = self.wait(process)
        said = self.said()
        assert code in (None, exit_code), f"{stage} ended with {exit_code}:\n{said[-5000:]}"
        return said

    def arguments(self, stage: str) -> list[str]:
        """What stands on the command line."""
        name, *more = STAGES[stage].arguments
        return ["stage", name, "--params", str(self.root / "params.yaml"), *more]

    def start(self, work: Callable[[], int]) -> BaseProcess:
        """Do some work in a process of its own; what it says is kept in memory, as no disk may be writable."""
        if self.log >= 0:
            os.close(self.log)
        self.log = os.memfd_create("log")
        process = multiprocessing.get_context("fork").Process(target=_work, args=(work, self.root, self.log))
        process.start()
        return process

    def said(self) -> str:
        """What the last process said."""
        return os.pread(self.log, 1 << 24, 0).decode(errors="replace")

    def wait(self, process: BaseProcess) -> int | None:
        """How a process ends; None if it has to be stopped, as nothing here takes so long."""
        process.join(SECONDS)
        exit_code = process.exitcode
        process.kill()
        return exit_code

    def kill(self, work: Callable[[], int], after: float) -> bool:
        """Start some work and `kill -9` it after some seconds; whether it was still at work."""
        process = self.start(work)
        time.sleep(after)
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
        return process.exitcode == -signal.SIGKILL

    def remove(self, stage: str) -> None:
        """Take away what a stage made and what it would go on with."""
        for name in (*STAGES[stage].outputs, *STAGES[stage].kept):
            path = self.root / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    def contents(self, *places: str) -> dict[str, str]:
        """sha256 of every file in some places of the project, hidden ones included, by path."""
        paths = (path for place in places for path in (self.root / place, *(self.root / place).rglob("*")))
        return {
            path.relative_to(self.root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in paths
            if path.is_file()
        }

    def left_behind(self) -> list[str]:
        """Drafts of folders that nobody is at work on."""
        found = (
            path for place in ("data", "results") for path in (self.root / place).rglob(".*") if path.is_dir()
        )
        usual = (".receipts", ".work", ".downloads")
        return sorted(path.relative_to(self.root).as_posix() for path in found if not path.name.endswith(usual))


def preload() -> None:
    """Import what stages import when they run, so that their processes have it already."""
    for name in IMPORTED_BY_STAGES:
        importlib.import_module(name)


def _work(work: Callable[[], int], root: Path, log: int) -> None:
    os.chdir(root)
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    sys.stdout, sys.stderr = (os.fdopen(descriptor, "w", buffering=1) for descriptor in (1, 2))
    os._exit(_ended(work))


def _ended(work: Callable[[], int]) -> int:
    logging.getLogger().handlers.clear()
    # Their own are semaphores that all forks share: one that is killed with it in its hands would stop all others.
    for bar in (tqdm.std.tqdm, tqdm.auto.tqdm):
        bar.set_lock(threading.RLock())
    try:
        return work()
    except BaseException:
        traceback.print_exc()
        return 1
