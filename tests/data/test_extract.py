import io
import random
import stat
import tarfile
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relalign.data.extract import Limits, extract_archive, is_archive
from relalign.errors import RelalignError

ESCAPES = ["../out.txt", "a/../../out.txt", "/out.txt", "C:/out.txt", "a\\..\\..\\out.txt", ".."]


def make_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def make_tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix in (".gz", ".tgz") else "w") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


MAKERS = {"a.zip": make_zip, "a.whl": make_zip, "a.tar": make_tar, "a.tar.gz": make_tar, "a.tgz": make_tar}


def make(folder: Path, name: str, members: dict[str, bytes]) -> Path:
    return MAKERS[name](folder / name, members)


def extract(archive: Path, limits: Limits | None = None) -> Path:
    destination = archive.parent / "inner" / "out"
    destination.mkdir(parents=True)
    extract_archive(archive, destination, limits)
    return destination


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("name", MAKERS)
def test_members_come_out_as_they_went_in(tmp_path: Path, name: str) -> None:
    members = {"a/b/c.txt": b"one", "d.bin": b"", "späce name.txt": b"two"}
    assert is_archive(Path(name))
    assert files(extract(make(tmp_path, name, members))) == members


@pytest.mark.parametrize("name", ["a.zip", "a.tar"])
@pytest.mark.parametrize("member", ESCAPES)
def test_path_escape_is_refused_and_writes_nothing_outside(tmp_path: Path, name: str, member: str) -> None:
    archive = make(tmp_path, name, {"good.txt": b"x", member: b"evil"})
    with pytest.raises(RelalignError, match="leads out of the folder"):
        extract(archive)
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == [name, "good.txt"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_tar_links_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        entry = tarfile.TarInfo("link")
        entry.type, entry.linkname = kind, "/etc/passwd"
        archive.addfile(entry)
    with pytest.raises(RelalignError, match="'link' is refused: it is a link or a device"):
        extract(tmp_path / "a.tar")


def test_zip_symlink_is_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(RelalignError, match="link or a device"):
        extract(tmp_path / "a.zip")


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz"])
@pytest.mark.parametrize(
    ("limits", "why"),
    [
        (Limits(max_bytes=2_000_000), "more than 2,000,000 bytes"),
        (Limits(max_members=2), "more than 2 members"),
        (Limits(max_ratio=50.0, ratio_free_bytes=1_000_000), "more than 50 times its size"),
    ],
)
def test_bomb_is_stopped_at_its_cap(tmp_path: Path, name: str, limits: Limits, why: str) -> None:
    archive = make(tmp_path, name, {f"{number}.bin": bytes(1 << 20) for number in range(3)})
    with pytest.raises(RelalignError, match=why):
        extract(archive, limits)
    assert sum(len(content) for content in files(tmp_path / "inner").values()) <= 3 << 20


def test_declared_size_is_not_believed(tmp_path: Path) -> None:
    archive = make(tmp_path, "a.zip", {"a.bin": bytes(3_000_000)})
    raw = archive.read_bytes()
    archive.write_bytes(raw.replace((3_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    with pytest.raises(RelalignError):
        extract(archive)
    assert sum(map(len, files(tmp_path / "inner").values())) <= 10


def test_name_standing_twice_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for _ in range(2):
            archive.addfile(tarfile.TarInfo("same.txt"))
    with pytest.raises(RelalignError, match="stands twice"):
        extract(tmp_path / "a.tar")


@pytest.mark.parametrize("name", ["a.zip", "a.tar"])
@pytest.mark.parametrize(
    ("members", "why"),
    [
        (["a\x1b[2J.jpg"], "control characters"),
        (["a\nb.jpg"], "control characters"),
        (["a" * 300], "too long"),
        (["a/" * 1500 + "b"], "too long"),
        (["a", "a/b"], "a part of its path is a file"),
        (["a/b", "a"], "stands twice"),
        (["a", "./a"], "stands twice"),
    ],
    ids=["escape", "line", "long", "deep", "file as folder", "folder as file", "twice"],
)
def test_names_that_no_folder_can_hold_are_refused(
    tmp_path: Path, name: str, members: list[str], why: str
) -> None:
    with pytest.raises(RelalignError, match=f"is refused: .*{why}"):
        extract(make(tmp_path, name, dict.fromkeys(members, b"x")))


def test_a_name_that_is_no_utf_8_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RelalignError, match="no UTF-8"):
        extract(make(tmp_path, "a.tar", {"\udcff": b"x"}))


def test_a_header_that_would_fill_memory_is_refused(tmp_path: Path) -> None:
    entry = tarfile.TarInfo("long")
    entry.type, entry.size = tarfile.GNUTYPE_LONGNAME, 8 << 20
    with tarfile.open(tmp_path / "a.tgz", "w:gz") as archive:
        archive.addfile(entry, io.BytesIO(bytes(entry.size)))
        archive.addfile(tarfile.TarInfo("short"))
    with pytest.raises(RelalignError, match="a header of 8,388,608 bytes"):
        extract(tmp_path / "a.tgz")


@pytest.mark.parametrize("fault", ["empty name", "place before the file"])
def test_a_directory_of_a_zip_that_cannot_be_is_a_readable_error(tmp_path: Path, fault: str) -> None:
    archive = make(tmp_path, "a.zip", {"b.txt": b"x" * 100})  # atheris found both faults
    raw = archive.read_bytes()
    start, end = raw.index(b"PK\x01\x02"), raw.index(b"PK\x05\x06")
    nameless = raw[:start] + raw[start:end].replace(b"b.txt", b"\0.txt") + raw[end:]
    archive.write_bytes(nameless if fault == "empty name" else raw[4:])
    with pytest.raises(RelalignError):
        extract(archive)


@pytest.mark.parametrize("kind", ["w:xz", "w:bz2", zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_damage_is_a_readable_error_whatever_the_compression(tmp_path: Path, kind: str | int) -> None:
    content = random.Random(0).randbytes(30_000)
    path = tmp_path / ("a.tar" if isinstance(kind, str) else "a.zip")
    if isinstance(kind, str):
        with tarfile.open(path, kind) as tar:
            entry = tarfile.TarInfo("a")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    else:
        with zipfile.ZipFile(path, "w", kind) as packed:
            packed.writestr("a", content)
    raw = bytearray(path.read_bytes())
    for place in (50, 100, 12_000):
        raw[place] ^= 255
    path.write_bytes(raw)
    with pytest.raises(RelalignError, match="Download it again"):
        extract(path)


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz"])
def test_file_that_is_no_archive_is_a_readable_error(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"<html>Not Found</html>" * 100)
    with pytest.raises(RelalignError, match="Download it again"):
        extract(tmp_path / name)


@given(data=st.data(), name=st.sampled_from(["a.zip", "a.tar", "a.tar.gz"]))
def test_damaged_archive_never_ends_in_another_exception(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, name: str
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    archive = make(folder, name, {"a/b.txt": b"text" * 300, "c.txt": bytes(1000)})
    raw = bytearray(archive.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    archive.write_bytes(raw[: data.draw(st.integers(1, len(raw)))])
    with suppress(RelalignError):
        extract(archive)
    assert {path.name for path in folder.iterdir()} == {name, "inner"}
    assert [path.name for path in (folder / "inner").iterdir()] == ["out"]
