import errno
from pathlib import Path

import pytest

from relalign.data.transfer import NotFoundError, Patience, download
from relalign.errors import RelalignError
from tests.misbehaving_server import Behaviour, serving

CONTENT = bytes(range(256)) * 40
QUICK = Patience(attempts=3, timeout=5.0, pause=0.0)


def fetch(server: Behaviour, folder: Path, patience: Patience = QUICK) -> Path:
    target = folder / "file.bin"
    download(f"{server.url}/file.bin", target, patience)
    return target


def test_whole_file_arrives_and_no_partial_is_left(tmp_path: Path) -> None:
    with serving(Behaviour({"/file.bin": CONTENT})) as server:
        assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["file.bin"]


def test_broken_transfer_goes_on_where_it_stopped(tmp_path: Path) -> None:
    with serving(Behaviour({"/file.bin": CONTENT}, cut_after=[1000, 2000])) as server:
        assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.seen == [None, "bytes=1000-", "bytes=3000-"]


def test_server_without_ranges_means_a_clean_restart(tmp_path: Path) -> None:
    with serving(Behaviour({"/file.bin": CONTENT}, ranges=False, cut_after=[1000])) as server:
        assert fetch(server, tmp_path).read_bytes() == CONTENT


def test_without_a_validator_nothing_is_resumed(tmp_path: Path) -> None:
    with serving(Behaviour({"/file.bin": CONTENT}, etag=None, cut_after=[1000])) as server:
        assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.seen == [None, None]


def test_file_that_changes_between_attempts_is_never_a_mixture(tmp_path: Path) -> None:
    with serving(Behaviour({"/file.bin": CONTENT}, cut_after=[1000])) as server:
        with pytest.raises(RelalignError, match="run the pipeline again"):
            fetch(server, tmp_path, Patience(attempts=1, timeout=5.0))
        server.files["/file.bin"], server.etag = CONTENT[::-1], '"two"'
        assert fetch(server, tmp_path).read_bytes() == CONTENT[::-1]


def test_a_later_process_resumes_and_the_broken_file_was_never_visible(tmp_path: Path) -> None:
    with serving(Behaviour({"/file.bin": CONTENT}, cut_after=[1000])) as server:
        with pytest.raises(RelalignError, match="broke after 1,000 of"):
            fetch(server, tmp_path, Patience(attempts=1, timeout=5.0))
        assert not (tmp_path / "file.bin").exists()
        assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.seen == [None, "bytes=1000-"]


def test_range_not_satisfiable_starts_again(tmp_path: Path) -> None:
    with serving(Behaviour({"/file.bin": CONTENT}, cut_after=[1000])) as server:
        server.statuses = [200, 416]
        assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.seen == [None, "bytes=1000-", None]


def test_busy_server_is_asked_again_and_retries_are_bounded(tmp_path: Path) -> None:
    with serving(Behaviour({"/file.bin": CONTENT}, statuses=[503, 429])) as server:
        assert fetch(server, tmp_path).read_bytes() == CONTENT
    with serving(Behaviour({"/file.bin": CONTENT}, statuses=[503] * 9)) as server:
        with pytest.raises(RelalignError, match="gave up after 3 attempts"):
            fetch(server, tmp_path)
        assert len(server.seen) == 3


@pytest.mark.parametrize(("status", "error"), [(404, NotFoundError), (410, NotFoundError), (403, RelalignError)])
def test_refusal_is_not_retried_and_names_the_url(tmp_path: Path, status: int, error: type[Exception]) -> None:
    with serving(Behaviour({"/file.bin": CONTENT}, statuses=[status])) as server:
        with pytest.raises(error, match=f"{server.url}/file.bin.*{status}"):
            fetch(server, tmp_path)
        assert len(server.seen) == 1


def test_unreachable_server_is_a_readable_error(tmp_path: Path) -> None:
    with serving(Behaviour({})) as server:
        pass
    with pytest.raises(RelalignError, match="the connection failed"):
        fetch(server, tmp_path)


def test_full_disk_is_not_taken_for_a_network_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("relalign.data.transfer._receive", full)
    with serving(Behaviour({"/file.bin": CONTENT})) as server:
        with pytest.raises(OSError, match="No space left"):
            fetch(server, tmp_path)
        assert len(server.seen) == 1
