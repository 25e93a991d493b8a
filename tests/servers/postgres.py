"""MLflow's server on a PostgreSQL database (Debian's), both on this machine, in a folder of their own."""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from tests.servers.local_server import free_ports, listens, running

QUIET = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}


def missing() -> str:
    """Why no such server can be started here; empty if one can."""
    if _program("initdb") is None:
        return "initdb not found: apt-get install postgresql"
    return "" if find_spec("psycopg2") else "psycopg2 not installed: make servers"


@contextmanager
def database() -> Iterator[str]:
    """An empty database that takes connections from this machine; yields its address."""
    # PostgreSQL refuses to run as root; the user that Debian's package made is there where it is.
    root = os.getuid() == 0
    user = pwd.getpwnam("postgres") if root else pwd.getpwuid(os.getuid())
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    (port,) = free_ports(1)
    try:
        if root:
            os.chown(folder, user.pw_uid, user.pw_gid)
        data, owner = folder / "data", user.pw_uid if root else None
        made = [str(_program("initdb")), "--auth=trust", "--username=relalign", "--no-sync", "-D", str(data)]
        subprocess.run(made, check=True, user=owner, cwd=folder, stdout=subprocess.DEVNULL, timeout=300)
        options = ["-p", str(port), "-h", "127.0.0.1", "-k", str(folder)]
        server = [str(_program("postgres")), "-D", str(data), *options]
        ready = [str(_program("pg_isready")), "-q", "-h", "127.0.0.1", "-p", str(port)]
        with running(
            server,
            lambda: subprocess.run(ready, check=False).returncode == 0,
            folder / "log",
            user=owner,
            folder=folder,
        ):
            yield f"postgresql://relalign@127.0.0.1:{port}/postgres"
    finally:
        shutil.rmtree(folder)


@contextmanager
def mlflow_server(address: str, folder: Path) -> Iterator[str]:
    """MLflow's server over a database, as docs/cluster.md says it; yields its address."""
    (port,) = free_ports(1)
    command = ["mlflow", "server", "--workers", "2", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", address, "--artifacts-destination", str(folder / "artifacts")]
    command[0] = str(Path(sys.executable).parent / "mlflow")
    environment = {**os.environ, **QUIET}
    with running(command, lambda: listens(port), folder / "mlflow.log", environment=environment, folder=folder):
        yield f"http://127.0.0.1:{port}"


def _program(name: str) -> str | None:
    """Debian keeps the server's programs out of PATH, in a folder for each version."""
    folders = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)
    return shutil.which(name, path=":".join([*folders, os.environ["PATH"]]))
