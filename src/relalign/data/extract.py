"""Unpacking archives that may be hostile: nothing lands outside the folder, and nothing explodes.

Only plain files and folders come out. A member with an absolute path, a `..`, a link, a device, a name that
stands twice, is too long or holds control characters, or more bytes than the caps allow stops the whole archive;
the caller publishes nothing of it.
"""

import errno
import gzip
import lzma
import os
import stat
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, cast

from tqdm import tqdm

from relalign.errors import RelalignError

_BLOCK = 1 << 20
_LONGEST_NAME, _LONGEST_PATH = 255, 2000  # bytes; file systems allow the former, and 4,096 in all
_LONGEST_HEADER = 1 << 20
_LONG_NAMES = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
_ATTRIBUTES = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
    lzma.LZMAError,
    zlib.error,
    EOFError,
    OSError,
    RuntimeError,  # with NotImplementedError how zipfile reports encryption and unknown compression
    ValueError,  # a number in a header that is none
)


@dataclass(frozen=True)
class Limits:
    """Caps on one archive; `max_ratio` (unpacked / packed bytes) counts only above `ratio_free_bytes`."""

    max_bytes: int = 100 << 30
    max_members: int = 1_000_000
    max_ratio: float = 200.0
    ratio_free_bytes: int = 64 << 20


@dataclass(frozen=True)
class _Member:
    name: str
    is_folder: bool
    is_special: bool
    open: Callable[[], IO[bytes] | None]


def is_archive(path: Path) -> bool:
    """Whether the name says zip, wheel or tar: `photos.tar.gz` yes, `captions.json` no."""
    return path.name.lower().endswith((".zip", ".whl", ".tar", ".tar.gz", ".tgz"))


def extract_archive(archive: Path, destination: Path, limits: Limits | None = None) -> None:
    """Unpack a zip, wheel, tar or tar.gz into the existing, empty folder `destination`.

    Raises `RelalignError` naming the archive and member if anything is refused or damaged; what was unpacked
    before that is left for the caller to remove.
    """
    limits = limits or Limits()
    packed = archive.stat().st_size
    unpacked = 0
    with (
        _damage_explained(archive),
        tqdm(desc=f"unpack {archive.name}", unit="B", unit_scale=True, leave=False, disable=None) as bar,
    ):
        for count, member in enumerate(_members(archive), start=1):
            if count > limits.max_members:
                raise _refused(archive, member.name, f"the archive has more than {limits.max_members:,} members")
            target = _target(archive, member, destination)
            if member.is_folder:
                _make_folder(archive, member, target)
                continue
            _make_folder(archive, member, target.parent)
            with cast(IO[bytes], member.open()) as stream, target.open("xb") as out:
                while block := stream.read(_BLOCK):
                    unpacked += len(block)
                    _check_size(archive, member.name, unpacked, packed, limits)
                    out.write(block)
                    bar.update(len(block))


def _make_folder(archive: Path, member: _Member, folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise _refused(archive, member.name, "a part of its path is a file") from None


def _check_size(archive: Path, name: str, unpacked: int, packed: int, limits: Limits) -> None:
    if unpacked > limits.max_bytes:
        raise _refused(archive, name, f"it unpacks to more than {limits.max_bytes:,} bytes")
    if unpacked > limits.ratio_free_bytes and unpacked > limits.max_ratio * packed:
        raise _refused(archive, name, f"it unpacks to more than {limits.max_ratio:g} times its size")


def _target(archive: Path, member: _Member, destination: Path) -> Path:
    path = PurePosixPath(member.name)
    if member.is_special:
        raise _refused(archive, member.name, "it is a link or a device")
    if path.is_absolute() or ".." in path.parts or "\\" in member.name or PureWindowsPath(member.name).drive:
        raise _refused(archive, member.name, "its path leads out of the folder")
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in member.name):
        raise _refused(archive, member.name, "its name holds control characters, or is no UTF-8")
    if max(map(len, map(os.fsencode, ("", *path.parts)))) > _LONGEST_NAME or len(member.name) > _LONGEST_PATH:
        raise _refused(archive, f"{member.name[:40]}...", "its name is too long")
    target = destination.joinpath(*path.parts)
    if target.exists() and not (member.is_folder and target.is_dir()):
        raise _refused(archive, member.name, "its name stands twice")
    return target


def _members(archive: Path) -> Iterator[_Member]:
    if archive.name.lower().endswith((".zip", ".whl")):
        with zipfile.ZipFile(archive) as packed_zip:
            for info in packed_zip.infolist():
                plain = stat.S_IFMT(info.external_attr >> 16) in (0, stat.S_IFREG, stat.S_IFDIR)
                is_folder = info.filename.endswith("/")  # is_dir() trips over an empty name
                yield _Member(info.filename, is_folder, not plain, partial(packed_zip.open, info))
    else:
        with tarfile.open(archive, tarinfo=_TarHeader) as packed_tar:
            for entry in packed_tar:
                plain = entry.isreg() or entry.isdir()
                yield _Member(entry.name, entry.isdir(), not plain, partial(packed_tar.extractfile, entry))


class _TarHeader(tarfile.TarInfo):
    """A header of a tar file; long names and attributes, which tarfile reads into memory whole, are bounded."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_TarHeader":
        """Raises `tarfile.ReadError` for one that announces more than a name or attributes can need."""
        header = super().frombuf(buf, encoding, errors)
        if header.type in (*_LONG_NAMES, *_ATTRIBUTES) and header.size > _LONGEST_HEADER:
            raise tarfile.ReadError(f"a header of {header.size:,} bytes")
        return header


def _refused(archive: Path, name: str, why: str) -> RelalignError:
    return RelalignError(
        f"{archive}: member {name!r} is refused: {why}. Nothing was unpacked; get the archive from its publisher."
    )


@contextmanager
def _damage_explained(archive: Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        # A full disk is no damage; what bz2 finds has no number, and a place before the file's start is EINVAL.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        raise RelalignError(
            f"{archive} is damaged or not a readable archive ({error}). Download it again."
        ) from error
