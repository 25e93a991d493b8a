"""A clone of this repository with tiny data and tiny encoders, in which tests run the real tools."""

import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from tests.features.encoders.checkpoints import WORDS, save_text, save_vision
from tests.small_datasets import picture

REPOSITORY = Path(__file__).parents[2]
SPLITS = {"train": 20, "val": 8, "test": 8}
METHODS = ("cca", "contrastive")
SEEDS = (0, 1)
TINY: dict[str, Any] = {
    "dataset": "tiny",
    "methods": list(METHODS),
    "seeds": list(SEEDS),
    "encoders": {"image": "tiny-vit", "text": "tiny-bert"},
    "backbone": {"width": 16, "embedding_width": 8, "fusion_width": 16, "heads": 2},
    "training": {"device": "cpu", "epochs": 3, "batch_size": 8, "learning_rate": 0.001, "checkpoint_seconds": 0.0},
    "evaluate": {"recall_at": [1, 5], "bootstrap_samples": 50, "permutations": 99},
}


class Clone:
    """A project folder; `snakemake` and `dvc` run the tools of this environment in it, on its own sources."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def of_working_tree(cls, root: Path) -> "Clone":
        """What git would commit now, in a repository of its own with one commit, and with tiny data."""
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=REPOSITORY, check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
        for name in filter(None, listed.split("\0")):
            if (REPOSITORY / name).exists() and name != "dvc.lock":
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(REPOSITORY / name, root / name)
        clone = cls(root)
        _write_data(root / "external")
        clone.edit_params(**TINY)
        clone.edit_params(datasets={"tiny": _dataset()}, encoder=_encoders())
        clone.git("init", "--quiet", "--initial-branch=main")
        clone.commit("tiny project")
        return clone

    def copy(self, root: Path) -> "Clone":
        """The same project elsewhere, with the tools' records and all file times."""
        root.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-a", str(self.root), str(root)], check=True)
        return Clone(root)

    def clone(self, root: Path) -> "Clone":
        """A clone by git: no results, no records."""
        self.git("clone", "--quiet", str(self.root), str(root))
        return Clone(root)

    def environment(self) -> dict[str, str]:
        kept = {
            key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "MLFLOW", "DVC_"))
        }
        path = f"{Path(sys.executable).parent}:{kept['PATH']}"
        who = {f"GIT_{role}_{key}": "test" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
        return {
            **kept,
            **who,
            "PATH": path,
            "PYTHONPATH": str(self.root / "src"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "RELALIGN_VERBOSE": "1",
        }

    def run(self, *command: str, succeeds: bool = True) -> str:
        """What a command printed; its failing where it should not, or the reverse, fails the test."""
        done = subprocess.run(
            command, cwd=self.root, env=self.environment(), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600, check=False,
        )  # fmt: skip
        assert (done.returncode == 0) == succeeds, (
            f"{command} ended with {done.returncode}:\n{done.stdout[-6000:]}"
        )
        return done.stdout

    def snakemake(self, *arguments: str, succeeds: bool = True) -> str:
        return self.run("snakemake", "--cores", "all", *arguments, succeeds=succeeds)

    def dvc(self, *arguments: str, succeeds: bool = True) -> str:
        return self.run("dvc", *arguments, succeeds=succeeds)

    def git(self, *arguments: str) -> str:
        return self.run("git", *arguments)

    def commit(self, message: str) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)

    def params(self) -> dict[str, Any]:
        """What params.yaml holds."""
        return yaml.safe_load((self.root / "params.yaml").read_text())

    def edit_params(self, **sections: Any) -> None:
        """Replace the given keys of params.yaml's sections."""
        path, params = self.root / "params.yaml", self.params()
        for name, value in sections.items():
            both = isinstance(value, dict) and isinstance(params.get(name), dict)
            params[name] = params[name] | value if both else value
        path.write_text(yaml.safe_dump(params, sort_keys=False))

    def with_encoders(self, **keys: dict[str, Any]) -> dict[str, Any]:
        """The tiny encoders with the given keys added to each."""
        return {name: encoder | keys[name] for name, encoder in _encoders().items()}

    def kill_during(self, *command: str, after: float) -> str:
        """Start a command, `kill -9` it and all it started after some seconds; what it had printed."""
        with (self.root / "logs.killed").open("w+") as log:
            started = subprocess.Popen(
                command, cwd=self.root, env=self.environment(), stdout=log, stderr=log, start_new_session=True
            )
            time.sleep(after)
            os.killpg(started.pid, signal.SIGKILL)
            started.wait()
            log.seek(0)
            return log.read()

    def contents(self, *folders: str) -> dict[str, str]:
        """sha256 of every file under the folders, by path; the tools' notes and unfinished work left out."""
        files = {
            file.relative_to(self.root): file
            for folder in folders or ("results", "data")
            for file in (self.root / folder).rglob("*")
            if file.is_file()
        }
        return {
            name.as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
            for name, file in files.items()
            if not any(part.startswith(".") and part != ".receipts" for part in name.parts)
        }

    def assert_nothing_to_do(self) -> None:
        """Neither tool would run anything."""
        assert "Nothing to be done" in self.snakemake("--dry-run")
        assert self.dvc("status").strip() == "Data and pipelines are up to date."
        assert "Running stage" not in self.dvc("repro")


def executed_by_snakemake(output: str) -> set[str]:
    """Outputs of the jobs that a log of `snakemake` shows, e.g. "results/tiny/cca/seed0/model"."""
    return {name for line in re.findall(r"^ {4}output: (.*)$", output, re.M) for name in line.split(", ")}


def executed_by_dvc(output: str) -> set[str]:
    """Names of the stages that a log of `dvc repro` shows, e.g. "train@tiny-cca-0"."""
    return set(re.findall(r"^Running stage '(.*)':$", output, re.M))


def _dataset() -> dict[str, Any]:
    files = {"images": "file:external/images", "captions": "file:external/captions.csv"}
    return {"reader": "table", "sources": {name: {"url": url} for name, url in files.items()}}


def _encoders() -> dict[str, Any]:
    return {
        "tiny-vit": {"kind": "transformers", "modality": "image", "model": "external/vit"},
        "tiny-bert": {"kind": "transformers", "modality": "text", "model": "external/bert", "max_tokens": 8},
    }


def _write_data(folder: Path) -> None:
    (folder / "images").mkdir(parents=True)
    draw = random.Random(0)
    lines = ["image,caption,split"]
    splits = [split for split, number in SPLITS.items() for _ in range(number)]
    for number, split in enumerate(splits):
        picture(number).save(folder / f"images/{number:02}.png")
        captions = {" ".join(draw.sample(WORDS[:11], 4)) for _ in range(2)}
        lines += [f"{number:02}.png,{caption},{split}" for caption in sorted(captions)]
    (folder / "captions.csv").write_text("\n".join(lines) + "\n")
    for save, kind in ((save_vision, "vit"), (save_text, "bert")):
        (folder / kind).mkdir()
        save(kind, folder / kind)
