from pathlib import Path

import pytest
from filelock import FileLock

from tests.workflow.clone import Clone


@pytest.fixture(scope="session")
def made_project(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Clone:
    """A clone in which Snakemake has made everything once, and which nobody changes; parallel workers share it."""
    base = tmp_path_factory.getbasetemp()
    shared = (base if worker_id == "master" else base.parent) / "prüfung eins"
    root = shared / "project"
    shared.mkdir(exist_ok=True)
    with FileLock(shared / "lock"):
        if not (shared / "first-run.log").exists():
            clone = Clone.of_working_tree(root)
            log = clone.snakemake()
            clone.commit("results")
            (shared / "first-run.log").write_text(log)
    return Clone(root)


@pytest.fixture
def project(made_project: Clone, tmp_path: Path) -> Clone:
    """A copy of the made project, to be changed at will."""
    return made_project.copy(tmp_path / "prüfung zwei" / "project")
