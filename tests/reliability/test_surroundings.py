"""The work does not depend on where it is done, nor on a network, a GPU, or a temporary folder of its own disk."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

OTHER_DISK = Path("/dev/shm")
PROGRAM = """
import socket, sys
from pathlib import Path

asked = []
def refused(*arguments, **named):
    asked.append(arguments)
    raise OSError("there is no network")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refused

import numpy as np
from relalign.retrieval.relevance_files import make_relevance
from relalign.evaluation.stage import evaluate
from relalign.training.runs import export, train
from tests.tiny_project import make_features, tiny_params

params = tiny_params(
    training={"epochs": 1, "select_from": 0.0, "device": "auto"},
    evaluate={"bootstrap_samples": 9, "rerank_depth": 8},
)
layout = make_features(Path(sys.argv[1]), params)
for path in (layout.root / "data").rglob("*"):
    if path.is_file():
        path.chmod(0o444)
before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in layout.root.rglob("*.npy")}
make_relevance(layout)
train(params, layout, method="contrastive", seed=0)
export(params, layout, method="contrastive", seed=0)
evaluate(params, layout, method="contrastive", seed=0)
assert (layout.run("contrastive", 0) / "metrics.json").is_file()
assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in before} == before
assert asked == []
"""


@pytest.mark.skipif(not OTHER_DISK.is_dir(), reason="there is no second file system here")
@pytest.mark.parametrize("name", ["with a space", "prüfung 文 'quoted'"])
def test_a_run_needs_no_network_no_gpu_no_plain_path_and_no_temporary_folder_beside_it(
    tmp_path: Path, name: str
) -> None:
    assert OTHER_DISK.stat().st_dev != tmp_path.stat().st_dev
    surroundings = {"TMPDIR": str(OTHER_DISK), "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / name)],
        env=os.environ | surroundings,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
