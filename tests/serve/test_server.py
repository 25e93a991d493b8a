"""`relalign serve` as it is started: it says where it is, answers there, and ends when it is told to."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from relalign.errors import RelalignError
from relalign.serve.server import serve
from tests.serve.served_project import METHODS

SOURCE = Path(__file__).parents[2] / "src"


def test_a_started_server_answers_on_loopback_and_ends_when_interrupted(project) -> None:
    command = [sys.executable, "-m", "relalign.cli", "serve", "--port", "0", "--params", "params.yaml"]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    with subprocess.Popen(
        command, cwd=project[1].root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            said = process.stdout.readline()
            found = re.fullmatch(r"Open (http://127\.0\.0\.1:\d+) \(Ctrl-C ends it\)\n", said)
            assert found, said + process.stderr.read()
            with urllib.request.urlopen(f"{found[1]}/api/info") as response:
                assert [method["name"] for method in json.load(response)["methods"]] == [*METHODS]
                assert "server" not in {name.lower() for name in response.headers}
            other = urllib.request.Request(f"{found[1]}/", headers={"Host": "evil.example"})
            with pytest.raises(urllib.error.HTTPError, match="400"):
                urllib.request.urlopen(other)
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) in (0, -signal.SIGINT, 130)
        assert "Traceback" not in process.stderr.read()


@pytest.mark.parametrize("host", ["127.0.0.1", "192.0.2.1", "no such host"])
def test_an_address_that_cannot_be_had_is_one_sentence(project, host) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(RelalignError, match=f"{host}, port {port}, cannot be had: .* Choose another"):
            serve(*project, None, seed=0, host=host, port=port)
    with pytest.raises(RelalignError, match="cannot be had"):
        serve(*project, None, seed=0, host="127.0.0.1", port=70000)
