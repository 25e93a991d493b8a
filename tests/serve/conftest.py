import pytest

from relalign.layout import Layout
from relalign.serve.service import Service
from relalign.settings import Params
from tests.serve.served_project import METHODS, make_served

Project = tuple[Params, Layout]


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_served(tmp_path_factory.mktemp("served"), script=True)


@pytest.fixture(scope="session")
def service(project: Project) -> Service:
    return Service.of_project(*project, METHODS, seed=0)
