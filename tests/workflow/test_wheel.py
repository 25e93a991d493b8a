"""The wheel alone, without the checkout and with nothing but what it asks for: load, evaluate, help.

A fresh environment would download torch. Instead the wheel lies in a folder of its own, and an import hook hides
every package of this environment that the wheel's own requirements do not bring along.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import Distribution, PathDistribution, distribution, packages_distributions
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from relalign.cli import main
from tests.raw_runs import raw, trained_run
from tests.workflow.clone import REPOSITORY

pytestmark = pytest.mark.workflow

HOOK = """
import sys

NAMES = frozenset({names})

class Without:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        return None if name.split(".")[0] in NAMES else self.finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
"""


class Installed:
    """The wheel in a folder, and how to run Python with it."""

    def __init__(self, folder: Path) -> None:
        self.site = folder / "site"
        pip = [sys.executable, "-m", "pip", "--quiet"]
        source = folder / "source"
        listed = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "src", "requirements")
        names = subprocess.run(listed, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout
        for name in filter(None, (*names.split("\0"), "pyproject.toml", "README.md", "LICENSE")):
            if (REPOSITORY / name).is_file():
                (source / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(REPOSITORY / name, source / name)
        build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(source)]
        subprocess.run(build, check=True)
        (wheel,) = folder.glob("relalign-*.whl")
        subprocess.run([*pip, "install", "--no-deps", "--target", str(self.site), str(wheel)], check=True)
        (metadata,) = self.site.glob("relalign-*.dist-info")
        self.needed = _closure(PathDistribution(metadata))
        hidden = {
            module
            for module, owners in packages_distributions().items()
            if not self.needed & {canonicalize_name(owner) for owner in owners} and module != "relalign"
        }
        (self.site / "sitecustomize.py").write_text(HOOK.format(names=sorted(hidden)))

    def run(self, *command: str, cwd: Path, status: int = 0) -> str:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        done = subprocess.run(
            [sys.executable, *command], cwd=cwd, env={**environment, "PYTHONPATH": str(self.site)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == status, done.stderr
        return done.stdout if status == 0 else done.stderr

    def relalign(self, *arguments: str, cwd: Path, status: int = 0) -> str:
        return self.run(str(self.site / "bin/relalign"), *arguments, cwd=cwd, status=status)


def _closure(root: Distribution) -> set[str]:
    """The names of all distributions that one asks for, without extras of its own, directly or not."""
    found: set[tuple[str, str]] = set()
    new = [(root, "")]
    while new:
        owner, extra = new.pop()
        for line in owner.requires or []:
            wanted = Requirement(line)
            if wanted.marker is None or wanted.marker.evaluate({"extra": extra}):
                for asked in ("", *wanted.extras):
                    key = (canonicalize_name(wanted.name), asked)
                    if key not in found:
                        found.add(key)
                        new.append((distribution(wanted.name), asked))
    return {name for name, _ in found}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an exported model and two pictures, and nothing of the project that made it."""
    import yaml

    params, layout, method = trained_run(tmp_path_factory.mktemp("project"), "cut")
    folder = tmp_path_factory.mktemp("somewhere else")
    params_file = layout.root / "params.yaml"
    params_file.write_text(yaml.safe_dump(params.model_dump(mode="json", by_alias=True)))
    output = folder / "exported/consensus"
    assert main(["export", method, "--params", str(params_file), "--output", str(output)]) == 0
    for image, name in zip(raw(layout)[0], ("a.jpg", "b.jpg"), strict=False):
        shutil.copy(image, folder / name)
    shutil.rmtree(layout.root)
    return folder


def test_it_asks_for_neither_snakemake_nor_dvc_nor_mlflow(installed: Installed, tmp_path: Path) -> None:
    assert {"torch", "transformers", "faiss-cpu"} <= installed.needed
    for name in ("snakemake", "dvc", "mlflow", "matplotlib", "fastapi", "onnx", "onnxruntime"):
        assert name not in installed.needed
        said = installed.run("-c", f"import {name}", cwd=tmp_path, status=1)
        assert "No module named" in said
    metadata = next(installed.site.glob("relalign-*.dist-info/METADATA")).read_text()
    assert {"pipeline", "serve", "onnx"} == {*re.findall(r"^Provides-Extra: (\w+)$", metadata, re.M)}


def test_the_lines_of_readme_run_with_the_wheel_alone(installed: Installed, elsewhere: Path) -> None:
    code = re.search(r"```python\n(import relalign\n.*?)```", (REPOSITORY / "README.md").read_text(), re.S)
    assert code is not None
    said = installed.run("-c", f"{code[1]}print(relalign.__file__)", cwd=elsewhere)
    assert re.match(r"\[\[ *-?\d\.\d+ +-?\d\.\d+ *\]\]\n", said)
    assert said.splitlines()[-1].startswith(str(installed.site))


def test_help_and_evaluate_run_with_the_wheel_alone(installed: Installed, tmp_path: Path) -> None:
    assert "evaluate" in installed.relalign("--help", cwd=tmp_path)
    vectors = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
    for name, array in (("image", vectors[:3]), ("text", vectors), ("pairs", np.array([0, 1, 2, 0, 1, 2]))):
        np.save(tmp_path / f"{name}.npy", array)
    given = [part for name in ("image", "text", "pairs") for part in (f"--{name}", f"{name}.npy")]
    said = installed.relalign("evaluate", *given, "--recall-at", "1", "--output", "scored", cwd=tmp_path)
    assert re.search(r"^i2t/recall@1 +100", said, re.M)
    assert json.loads((tmp_path / "scored/metrics.json").read_text())["i2t/recall@1"] == 100


def test_what_needs_an_extra_says_which(installed: Installed, tmp_path: Path) -> None:
    code = "import sys; from relalign import cli; cli._parser = lambda: Broken(); sys.exit(cli.main([]))"
    broken = "class Broken:\n def parse_args(self, given): return self\n def run(self, given): import mlflow\n"
    said = installed.run("-c", broken + code, cwd=tmp_path, status=2)
    assert said.strip() == "error: mlflow is not installed: pip install 'relalign[pipeline]'."
