"""Every block of README and docs is run, as it is printed, in a small finished project.

Blocks are told apart by their language: none is commands, `text` is output or a sketch. A comment before a
block says who else runs it (`<!-- run by: tests/... -->`), or why it is not run and where it was (`<!-- long:
... -->`). Names are changed to those of the small project: its dataset, its methods, a free port.
"""

import json
import re
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from relalign.errors import RelalignError
from relalign.settings import parse_params
from tests.data.readers.own_data_cases import PAIRS, write_images
from tests.small_datasets import picture
from tests.workflow.clone import REPOSITORY, Clone

DOCUMENTS = ["README.md", *sorted(f"docs/{path.name}" for path in (REPOSITORY / "docs").glob("*.md"))]
NAMES = {"flickr8k": "tiny", "consensus": "contrastive"}
FENCE = re.compile(r"(?:^<!-- (run by|long): ([^\n]*) -->\n)?^```([a-z]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block, and the comment before it."""

    document: str
    language: str
    content: str
    marked: str
    note: str


def blocks(document: str) -> list[Block]:
    text = (REPOSITORY / document).read_text(encoding="utf-8")
    found = [Block(document, *(m[3], m[4]), m[1] or "", m[2] or "") for m in FENCE.finditer(text)]
    assert len(found) * 2 == len(re.findall(r"^```", text, re.MULTILINE)), f"{document}: an odd or indented fence"
    return found


ALL = [block for document in DOCUMENTS for block in blocks(document)]


def test_every_block_has_a_language_that_is_run_and_every_note_names_a_test_that_is_there() -> None:
    assert {block.language for block in ALL} <= {"", "text", "python", "yaml", "json"}
    for block in ALL:
        if block.marked == "run by":
            test = REPOSITORY / block.note
            assert Path(block.document).name in test.read_text(), f"{block.note} does not read {block.document}"
        assert block.marked != "long" or len(block.note) > 20, "say why, and where it ran"


def merged(into: Any, new: Any) -> Any:
    if not (isinstance(into, Mapping) and isinstance(new, Mapping)):
        return new
    return {**into, **{key: merged(into.get(key), value) for key, value in new.items()}}


@pytest.mark.parametrize(
    "block", [b for b in ALL if b.language == "yaml" and not b.marked], ids=lambda b: b.document
)
def test_settings_are_valid_in_params_yaml(block: Block) -> None:
    shown = yaml.safe_load(re.sub(r"^\s*\.\.\.\n", "", block.content, flags=re.MULTILINE))
    raw = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    parse_params(merged(raw, shown))
    with pytest.raises(RelalignError):
        parse_params(merged(raw, {key: {"no_such_key": 1} for key in shown}))


@pytest.mark.parametrize("block", [b for b in ALL if b.language == "json"], ids=lambda b: b.document)
def test_json_is_json(block: Block) -> None:
    assert json.loads(block.content)


@pytest.mark.parametrize("block", [b for b in ALL if b.language == "python"], ids=lambda b: b.document)
def test_python_compiles(block: Block) -> None:
    compile(block.content, block.document, "exec")


@pytest.fixture(scope="module")
def finished(made_project: Clone, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """The made project with the files that the documents speak of, and a home with a person's own data."""
    clone = made_project.copy(tmp_path_factory.mktemp("docs") / "project")
    embeddings = clone.root / "results/tiny/contrastive/seed0/embeddings"
    for name in ("image", "text", "image_ids", "text_ids"):
        shutil.copy(embeddings / f"{name}.npy", clone.root)
    owners = np.load(embeddings / "text_image_ids.npy")
    np.save(clone.root / "image_of_caption.npy", owners)
    (clone.root / "captions.txt").write_text("".join(f"a dog {number}\n" for number in range(len(owners))))
    for number, name in enumerate(("a.jpg", "b.jpg", "dog.jpg")):
        picture(number).save(clone.root / name)
    birds = clone.root / "home/birds"
    write_images(birds / "images")
    (birds / "birds.csv").write_text("filename;sentence\n" + "".join(f"{name};{text}\n" for name, text in PAIRS))
    return clone


@pytest.mark.workflow
@pytest.mark.parametrize(
    "document", [d for d in DOCUMENTS if any(b.language == "" and not b.marked for b in blocks(d))]
)
def test_commands_work_as_printed(document: str, finished: Clone) -> None:
    port = free_port()
    before = (finished.root / "params.yaml").read_text()
    server: subprocess.Popen[bytes] | None = None
    try:
        for block in blocks(document):
            if block.language or block.marked:
                continue
            script = _renamed(block.content, port)
            if script.startswith("relalign serve"):
                server = _started(finished, script, port)
            else:
                _bash(finished, script)
    finally:
        if server is not None:
            server.terminate()
            server.wait(30)
        (finished.root / "params.yaml").write_text(before)


@pytest.mark.workflow
@pytest.mark.parametrize(
    "block", [b for b in ALL if b.language == "python" and not b.marked], ids=lambda b: b.document
)
def test_python_works_as_printed(block: Block, finished: Clone) -> None:
    if not (finished.root / "exported/contrastive").exists():
        _bash(finished, "relalign export contrastive")
    first = "" if "import relalign\n" in block.content else "import relalign\n"
    (finished.root / "block.py").write_text(first + _renamed(block.content, 0))
    _bash(finished, "python block.py")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _renamed(text: str, port: int) -> str:
    for old, new in NAMES.items():
        text = text.replace(old, new)
    text = re.sub(r"^(source |make reproduce).*\n", "", text, flags=re.MULTILINE)  # the environment is there; long
    text = re.sub(r"(--method contrastive) --method contrastive", r"\1 --method cca", text)
    return text.replace("8000", str(port)).replace("relalign serve", f"relalign serve --port {port}")


def _bash(clone: Clone, script: str) -> None:
    environment = clone.environment() | {"HOME": str(clone.root / "home")}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script.replace("curl ", "curl --fail --silent --show-error ")],
        cwd=clone.root,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"


def _started(clone: Clone, script: str, port: int) -> "subprocess.Popen[bytes]":
    server = subprocess.Popen(script.split(), cwd=clone.root, env=clone.environment())
    for _ in range(300):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=1):
                return server
        except OSError:
            assert server.poll() is None, "the server has ended"
            time.sleep(0.2)
    raise AssertionError("the server does not answer")
