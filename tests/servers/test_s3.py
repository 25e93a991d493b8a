"""Results travel through a store that speaks S3."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import s3
from tests.workflow.clone import Clone

pytestmark = [pytest.mark.workflow, pytest.mark.long, pytest.mark.skipif(bool(s3.missing()), reason=s3.missing())]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name, value in s3.KEYS.items():
        monkeypatch.setenv(name, value)
    with s3.bucket("results", tmp_path) as address:
        yield address


def test_a_fresh_clone_gets_all_results_from_an_s3_store_and_has_nothing_to_do(
    project: Clone, store: str, tmp_path: Path
) -> None:
    project.dvc("remote", "add", "--default", "shared", "s3://results/relalign")
    project.dvc("remote", "modify", "shared", "endpointurl", store)
    project.commit("a remote")
    assert "file" in project.dvc("push")
    fresh = project.clone(tmp_path / "fresh")
    fresh.dvc("pull")
    assert fresh.contents() == project.contents()
    fresh.assert_nothing_to_do()


def test_a_bucket_that_is_not_there_is_an_error_and_costs_no_result(project: Clone, store: str) -> None:
    before = project.contents()
    project.dvc("remote", "add", "--default", "shared", "s3://no-such-bucket/relalign")
    project.dvc("remote", "modify", "shared", "endpointurl", store)
    assert "NoSuchBucket" in project.dvc("push", succeeds=False)
    assert project.contents() == before
