"""A server that speaks S3 (moto's), on this machine, in memory; it ends with the test."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from tests.servers.local_server import free_ports, listens, running

KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
MAKE_BUCKET = "import boto3, sys; boto3.client('s3', endpoint_url=sys.argv[1]).create_bucket(Bucket=sys.argv[2])"


def missing() -> str:
    """Why no such server can be started here; empty if one can."""
    absent = [name for name in ("moto", "dvc_s3") if find_spec(name) is None]
    return f"{', '.join(absent)} not installed: make servers" if absent else ""


@contextmanager
def bucket(name: str, folder: Path) -> Iterator[str]:
    """An empty bucket; yields the server's address."""
    (port,) = free_ports(1)
    moto = str(Path(sys.executable).parent / "moto_server")
    with running([moto, "--host", "127.0.0.1", "--port", str(port)], lambda: listens(port), folder / "s3.log"):
        address = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-c", MAKE_BUCKET, address, name]
        subprocess.run(command, env={**os.environ, **KEYS}, check=True, timeout=60)
        yield address
