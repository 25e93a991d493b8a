"""The wheel in an empty environment, without the checkout: load, evaluate, help.

To install into it would download torch once more. So what the wheel asks for, and no other package, is put there
by links to this environment's files.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import Distribution, PathDistribution, distribution
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from relalign.cli import main
from tests.raw_runs import raw, trained_run
from tests.workflow.clone import REPOSITORY

pytestmark = pytest.mark.workflow


class Installed:
    """An environment with the wheel and what it asks for."""

    def __init__(self, folder: Path) -> None:
        source, self.environment = folder / "source", folder / "environment"
        listed = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "src", "requirements")
        names = subprocess.run(listed, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout
        for name in filter(None, (*names.split("\0"), "pyproject.toml", "README.md", "LICENSE")):
            if (REPOSITORY / name).is_file():
                (source / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(REPOSITORY / name, source / name)
        build = [sys.executable, "-m", "pip", "--quiet", "wheel", "--no-deps", "--no-build-isolation"]
        subprocess.run([*build, "--wheel-dir", str(folder), str(source)], check=True)
        (wheel,) = folder.glob("relalign-*.whl")
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(self.environment)], check=True)
        uv = [str(Path(sys.executable).parent / "uv"), "--quiet", "pip"]
        into = ["--python", str(self.environment / "bin/python")]
        subprocess.run([*uv, "install", *into, "--offline", "--no-deps", str(wheel)], check=True)
        (metadata,) = self.environment.glob("lib/python*/site-packages/relalign-*.dist-info")
        self.site, self.needed = metadata.parent, _closure(PathDistribution(metadata))
        for name in self.needed:
            _link(distribution(name), self.site)
        subprocess.run([*uv, "check", *into], check=True)  # nothing that any of them asks for is missing

    def run(self, *command: str, cwd: Path, status: int = 0) -> str:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        done = subprocess.run(
            [str(self.environment / "bin/python"), *command], cwd=cwd, env=environment,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == status, done.stderr
        return done.stdout if status == 0 else done.stderr

    def relalign(self, *arguments: str, cwd: Path, status: int = 0) -> str:
        return self.run(str(self.environment / "bin/relalign"), *arguments, cwd=cwd, status=status)


def _link(package: Distribution, site: Path) -> None:
    """The package's files in another environment; its commands stay behind."""
    for file in package.files or []:
        here, there = Path(str(package.locate_file(file))), site / file
        if ".." not in file.parts and file.suffix != ".pyc" and here.exists():
            there.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(here, there)
            except OSError:  # another disk
                shutil.copy2(here, there)


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
    assert {"pipeline", "serve", "onnx", "servers"} == {*re.findall(r"^Provides-Extra: (\w+)$", metadata, re.M)}


def test_the_lines_of_readme_run_in_an_empty_environment(installed: Installed, elsewhere: Path) -> None:
    code = re.search(r"```python\n(import relalign\n.*?)```", (REPOSITORY / "README.md").read_text(), re.S)
    assert code is not None
    said = installed.run("-c", f"{code[1]}print(relalign.__file__)", cwd=elsewhere)
    assert re.match(r"\[\[ *-?\d\.\d+ +-?\d\.\d+ *\]\]\n", said)
    assert said.splitlines()[-1].startswith(str(installed.site))


def test_help_and_evaluate_run_in_an_empty_environment(installed: Installed, tmp_path: Path) -> None:
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
    broken = (
        "class Broken:\n command = ''\n def parse_args(self, given): return self\n"
        " def run(self, given): import mlflow\n"
    )
    said = installed.run("-c", broken + code, cwd=tmp_path, status=2)
    assert said.strip() == "error: mlflow is not installed: pip install 'relalign[pipeline]'."
