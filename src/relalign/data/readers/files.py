"""Finding the files of an unpacked source."""

from collections import defaultdict
from pathlib import Path, PurePosixPath

from relalign.errors import RelalignError


class ImageIndex:
    """The image files below a folder, found by relative path or, where that is unique, by file name alone.

    Archives differ in the folder they wrap their images in (`Flicker8k_Dataset/1.jpg`, `images/1.jpg`), and
    caption files name images without it.
    """

    def __init__(self, folder: Path) -> None:
        self._by_name: dict[str, list[str]] = defaultdict(list)
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self._by_name[path.name].append(path.relative_to(folder).as_posix())

    def find(self, name: str) -> str | None:
        """The path, relative to the folder, of the one file whose path ends with `name`; None if there is none.

        With `train/1.jpg` on disk, `1.jpg` and `train/1.jpg` find it, `val/1.jpg` does not.
        Raises `RelalignError` if several files fit.
        """
        wanted = PurePosixPath(name).parts
        found = [
            path
            for path in self._by_name.get(wanted[-1] if wanted else "", [])
            if PurePosixPath(path).parts[-len(wanted) :] == wanted
        ]
        if len(found) > 1:
            raise RelalignError(f"Image {name!r} is ambiguous: {', '.join(found[:3])}. Name its folder too.")
        return found[0] if found else None


def find_captions_file(folder: Path, name: str | None, suffixes: tuple[str, ...]) -> Path:
    """The caption file below `folder`: the one called `name`, or the only one with one of the `suffixes`.

    Raises `RelalignError` listing what is there if none or several fit.
    """
    there = sorted(path for path in folder.rglob("*") if path.is_file())
    found = [path for path in there if (path.name == name if name else path.suffix.lower() in suffixes)]
    if len(found) == 1:
        return found[0]
    wanted = name or " or ".join(f"*{suffix}" for suffix in suffixes)
    listing = ", ".join(path.name for path in (found or there)[:5]) or "nothing"
    raise RelalignError(
        f"{folder}: looked for one caption file {wanted}, found {listing}. "
        "Name it in params.yaml: datasets.<name>.captions_file."
    )
