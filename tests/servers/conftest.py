from collections.abc import Iterator

import pytest

from tests.servers.slurm import Cluster, cluster, missing
from tests.workflow.conftest import made_project, project

__all__ = ["made_project", "project"]


@pytest.fixture(scope="session")
def slurm() -> Iterator[Cluster]:
    if absent := missing():
        pytest.skip(absent)
    with cluster() as running:
        yield running
