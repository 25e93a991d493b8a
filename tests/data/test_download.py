import hashlib
import json
import logging
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from relalign.data.download import download_dataset, fetch, fetch_and_extract
from relalign.data.transfer import Patience
from relalign.errors import RelalignError
from relalign.settings.dataset import Dataset, Source
from relalign.system.artifacts import read_manifest
from tests.misbehaving_server import Behaviour, serving
from tests.small_datasets import ordinary, write_karpathy

CONTENT = b"content"
SHA = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def _no_mirror_and_no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RELALIGN_MIRROR", raising=False)
    monkeypatch.setattr("relalign.data.transfer.Patience", lambda: Patience(attempts=2, timeout=5.0, pause=0.0))


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def test_http_source_is_fetched_and_verified(tmp_path: Path) -> None:
    with serving(Behaviour({"/a.txt": CONTENT})) as server:
        path = fetch(Source(url=f"{server.url}/a.txt?key=1", sha256=SHA), tmp_path / "in", root=tmp_path)
    assert path == tmp_path / "in/a.txt"
    assert path.read_bytes() == CONTENT


def test_finished_file_is_not_fetched_again(tmp_path: Path) -> None:
    with serving(Behaviour({"/a.txt": CONTENT})) as server:
        source = Source(url=f"{server.url}/a.txt", sha256=SHA)
        assert fetch(source, tmp_path, root=tmp_path) == fetch(source, tmp_path, root=tmp_path)
        assert len(server.seen) == 1
        (tmp_path / "a.txt").write_bytes(b"rotten")
        assert fetch(source, tmp_path, root=tmp_path).read_bytes() == CONTENT


def test_wrong_hash_names_both_hashes_and_leaves_nothing(tmp_path: Path) -> None:
    with serving(Behaviour({"/a.txt": b"altered"})) as server:
        source = Source(url=f"{server.url}/a.txt", sha256=SHA)
        with pytest.raises(RelalignError, match=f"{hashlib.sha256(b'altered').hexdigest()}.*expects {SHA}"):
            fetch_and_extract(source, tmp_path / "out", root=tmp_path)
    assert visible(tmp_path) == ["data"]
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock"]


def test_wrong_hash_of_a_users_own_file_does_not_delete_it(tmp_path: Path) -> None:
    (tmp_path / "own.txt").write_bytes(b"mine")
    with pytest.raises(RelalignError, match="own.txt has sha256"):
        fetch(Source(url="file:own.txt", sha256=SHA), tmp_path / "in", root=tmp_path)
    assert (tmp_path / "own.txt").read_bytes() == b"mine"


def test_missing_hash_warns_with_the_line_to_add(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "own.txt").write_bytes(CONTENT)
    with caplog.at_level(logging.WARNING):
        fetch(Source(url="file:own.txt"), tmp_path / "in", root=tmp_path)
    assert f"sha256: {SHA}" in caplog.text


@pytest.mark.parametrize(
    "form", ["file:own folder/a.txt", "file:own%20folder/a.txt", "file://{root}/own folder/a.txt"]
)
def test_file_urls_may_be_relative_absolute_and_hold_spaces(tmp_path: Path, form: str) -> None:
    (tmp_path / "own folder").mkdir()
    (tmp_path / "own folder/a.txt").write_bytes(CONTENT)
    path = fetch(Source(url=form.format(root=tmp_path), sha256=SHA), tmp_path / "in", root=tmp_path)
    assert path.read_bytes() == CONTENT


def test_local_folder_is_copied_whole_and_hashed_by_content(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "deep/a.txt").write_bytes(CONTENT)
    hashes = [
        fetch_and_extract(Source(url=f"file:{n}"), tmp_path / "out" / n, root=tmp_path) for n in ("one", "two")
    ]
    assert (tmp_path / "out/one/deep/a.txt").read_bytes() == CONTENT
    assert hashes[0] == hashes[1]
    (tmp_path / "two/deep/a.txt").write_bytes(b"other")
    assert fetch_and_extract(Source(url="file:two"), tmp_path / "out/three", root=tmp_path) != hashes[0]
    with pytest.raises(RelalignError, match="is a folder"):
        fetch(Source(url="file:one", sha256=SHA), tmp_path / "in", root=tmp_path)


def test_missing_file_says_both_ways_to_give_it(tmp_path: Path) -> None:
    with pytest.raises(RelalignError, match="(?s)data/external/x.tar.*RELALIGN_MIRROR.*x.tar"):
        fetch(Source(url="file:data/external/x.tar"), tmp_path / "in", root=tmp_path)


@pytest.mark.parametrize("url", ["ftp://host/a.txt", "a.txt", "pypi:name", "pypi:name>=1", "pypi:--index-url==1"])
def test_unknown_kind_of_url_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(RelalignError, match="pypi:NAME==VERSION"):
        fetch(Source(url=url), tmp_path / "in", root=tmp_path)


@pytest.mark.parametrize("url", ["https://nowhere.invalid/a.txt", "file:elsewhere/a.txt"])
def test_mirror_folder_stands_in_for_any_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror/a.txt").write_bytes(CONTENT)
    monkeypatch.setenv("RELALIGN_MIRROR", str(tmp_path / "mirror"))
    assert fetch(Source(url=url, sha256=SHA), tmp_path / "in", root=tmp_path).read_bytes() == CONTENT
    with pytest.raises(RelalignError, match="expects"):
        fetch(Source(url=url, sha256="0" * 64), tmp_path / "in", root=tmp_path)
    assert (tmp_path / "mirror/a.txt").exists()


def test_mirror_url_is_tried_first_and_need_not_have_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(Behaviour({"/m/a.txt": CONTENT})) as mirror, serving(Behaviour({"/b.txt": CONTENT})) as origin:
        monkeypatch.setenv("RELALIGN_MIRROR", f"{mirror.url}/m/")
        for name in ("a.txt", "b.txt"):
            source = Source(url=f"{origin.url}/{name}", sha256=SHA)
            assert fetch(source, tmp_path, root=tmp_path).read_bytes() == CONTENT
        assert (len(mirror.seen), len(origin.seen)) == (2, 1)


@pytest.fixture
def data_wheel(tmp_path: Path) -> Path:
    path = tmp_path / "index" / "tiny_data-1.0-py3-none-any.whl"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("tiny_data/__init__.py", "raise SystemExit('this code must never run')")
        wheel.writestr("tiny_data/a.txt", CONTENT)
        about = "Metadata-Version: 2.1\nName: tiny-data\nVersion: 1.0\nRequires-Dist: no-such-package\n"
        wheel.writestr("tiny_data-1.0.dist-info/METADATA", about)
        tags = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        wheel.writestr("tiny_data-1.0.dist-info/WHEEL", tags)
        wheel.writestr("tiny_data-1.0.dist-info/RECORD", "")
    return path


def test_package_is_data_fetched_by_pip_and_never_installed(
    tmp_path: Path, data_wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(data_wheel.parent))
    source = Source(url="pypi:tiny-data==1.0", sha256=hashlib.sha256(data_wheel.read_bytes()).hexdigest())
    fetch_and_extract(source, tmp_path / "out", root=tmp_path)
    assert (tmp_path / "out/tiny_data/a.txt").read_bytes() == CONTENT
    missing = Source(url="pypi:tiny-data==9.9")
    with pytest.raises(RelalignError, match="(?s)pypi:tiny-data==9.9: pip could not.*No matching distribution"):
        fetch_and_extract(missing, tmp_path / "none", root=tmp_path)
    assert not (tmp_path / "none").exists()


def test_package_is_found_in_a_mirror_without_pip(
    tmp_path: Path, data_wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("RELALIGN_MIRROR", str(data_wheel.parent))
    assert fetch(Source(url="pypi:tiny-data==1.0"), tmp_path / "in", root=tmp_path) == data_wheel


def test_refused_archive_leaves_the_destination_untouched(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("good.txt", "x")
        archive.writestr("../evil.txt", "x")
    with pytest.raises(RelalignError, match="leads out of the folder"):
        fetch_and_extract(Source(url="file:evil.zip"), tmp_path / "out", root=tmp_path)
    assert sorted(visible(tmp_path)) == ["data", "evil.zip"]
    assert not list(tmp_path.rglob("good.txt"))


def test_dataset_is_published_with_licences_and_manifest(tmp_path: Path) -> None:
    dataset = write_karpathy(tmp_path / "own", *ordinary())
    raw = tmp_path / "data/raw/tiny"
    download_dataset(dataset, raw, root=tmp_path)
    licences = json.loads((raw / "licence.json").read_text())
    assert licences["captions"] == {
        "url": dataset.sources["captions"].url,
        "sha256": hashlib.sha256((tmp_path / "own/dataset_tiny.json").read_bytes()).hexdigest(),
        "licence": "not stated",
        "attribution": "not stated",
    }
    assert "images/wrapped/0.png" in read_manifest(raw, verify=True)["outputs"]


def test_failed_second_source_publishes_nothing(tmp_path: Path) -> None:
    dataset = write_karpathy(tmp_path / "own", *ordinary())
    broken = {**dataset.sources, "images": Source(url="file:nowhere.tar")}
    with pytest.raises(RelalignError, match="nowhere.tar"):
        download_dataset(Dataset(reader="karpathy", sources=broken), tmp_path / "data/raw/tiny", root=tmp_path)
    assert list((tmp_path / "data/raw").iterdir()) == []
    with pytest.raises(RelalignError, match="datasets.tiny.sources is empty"):
        download_dataset(Dataset(reader="karpathy", sources={}), tmp_path / "data/raw/tiny", root=tmp_path)


def test_disk_that_fills_up_is_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    write_karpathy(tmp_path / "own", *ordinary())
    (tmp_path / "own/big.bin").write_bytes(bytes(300_000))
    program = (
        "import resource, sys; from pathlib import Path\n"
        "from relalign.data.download import fetch_and_extract; from relalign.settings.dataset import Source\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "fetch_and_extract(Source(url='file:own/big.bin'), Path('out/big'), root=Path())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, env=os.environ
    )
    assert "RelalignError: The disk is full (File too large) while writing out/big" in done.stderr
    assert list((tmp_path / "out").iterdir()) == []
