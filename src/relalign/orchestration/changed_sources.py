"""Notices when files that a dataset is made from have changed behind an unchanged params.yaml.

Sizes and times of local sources (`file:`) are compared with those seen last; where they differ, the sha256 of
the content is compared with that in `licence.json`, which the download stage wrote. So files that were only
touched, or copied again, change nothing.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from relalign.settings.dataset import local_path
from relalign.system.artifacts import pretty_json, sha256_content, write_atomic

SEEN = Path(".snakemake/sources-seen.json")


def changed_sources(dataset: Mapping[str, Any], raw: Path) -> list[str]:
    """The urls of a dataset's local sources whose content is no longer that in `raw`; none where `raw` is not
    made.

    `dataset` is its entry of params.yaml. Paths count from the working folder, which is the project's.
    """
    record = raw / "licence.json"
    if not record.is_file():
        return []
    made_from: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))
    seen: dict[str, Any] = json.loads(SEEN.read_text(encoding="utf-8")) if SEEN.is_file() else {}
    changed = []
    for name, source in dataset.get("sources", {}).items():
        url = str(source.get("url", ""))
        path = local_path(url)
        if path is None or not path.exists() or url != made_from.get(name, {}).get("url"):
            continue
        state = _state(path)
        if seen.get(url) == state:
            continue
        if sha256_content(path) != made_from[name]["sha256"]:
            changed.append(url)
        else:
            seen[url] = state
    SEEN.parent.mkdir(exist_ok=True)
    write_atomic(SEEN, pretty_json(seen))
    return changed


def _state(path: Path) -> dict[str, list[int]]:
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    return {file.relative_to(path).as_posix(): [file.stat().st_size, file.stat().st_mtime_ns] for file in files}
