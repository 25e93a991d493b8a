"""`relalign ui`: MLflow's own server, and addresses that name what the store holds."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import yaml
from mlflow.tracking import MlflowClient

from relalign.commands.ui import pages


def test_each_experiment_has_its_sorted_runs_and_charts() -> None:
    lines = pages({"relalign/b": "2", "relalign/a": "7"}, "http://127.0.0.1:1")
    assert [line.split("?")[0] for line in lines] == [
        f"relalign/{name}: {what} http://127.0.0.1:1/#/experiments/{number}/runs"
        for name, number in (("a", 7), ("b", 2))
        for what in ("runs  ", "charts")
    ]
    assert all("orderByKey=metrics.%60test%2Frsum%60" in line for line in lines)


@pytest.mark.workflow
def test_address_is_served_and_names_the_experiment(tmp_path: Path) -> None:
    params = yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text())
    params["tracking"] = {"uri": f"sqlite:///{tmp_path / 'mlflow.db'}", "experiment": "house"}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    client = MlflowClient(params["tracking"]["uri"])
    client.create_experiment("another")
    number = client.create_experiment("house/birds")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).parent / "relalign"), "ui", "--port", str(port)]
    server = subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    try:
        assert server.stderr is not None
        said = "".join(iter(server.stderr.readline, "Ctrl-C ends this.\n"))
        assert re.findall(r"^(\S+): +\w+ +\S+/experiments/(\d+)/", said, re.M) == [("house/birds", number)] * 2
        deadline = time.monotonic() + 120
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
                    assert answer.status == 200
                    break
            except OSError:
                assert server.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.5)
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.communicate()
