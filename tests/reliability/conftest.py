from pathlib import Path

import pytest
from filelock import FileLock

from tests.reliability.staged_project import StagedProject, preload
from tests.workflow.clone import Clone


def shared(factory: pytest.TempPathFactory, worker: str, name: str, **settings: bool) -> StagedProject:
    """A project in which all stages ran once, and which nobody changes; parallel workers share it."""
    preload()
    base = factory.getbasetemp()
    folder = (base if worker == "master" else base.parent) / name
    folder.mkdir(exist_ok=True)
    root, whole = folder / "project", folder / "whole"
    with FileLock(folder / "lock"):
        if not whole.exists():
            StagedProject.make(root, **settings)
            whole.touch()
    return StagedProject(Clone(root))


@pytest.fixture(scope="session")
def frozen(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> StagedProject:
    return shared(tmp_path_factory, worker_id, "frozen")


@pytest.fixture(scope="session")
def cut(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> StagedProject:
    return shared(tmp_path_factory, worker_id, "cut", cut=True)


@pytest.fixture
def project(frozen: StagedProject, tmp_path: Path) -> StagedProject:
    """A project with everything made, to be changed at will."""
    return frozen.copy(tmp_path / "project")
