"""What DVC links to its cache, write-protected, does not stop Snakemake, and the cache stays as it is."""

import os
from pathlib import Path

from relalign.orchestration.dvc_sync import unprotect


def test_a_protected_file_becomes_a_writable_copy_of_equal_time_and_the_cache_keeps_its_own(
    tmp_path: Path,
) -> None:
    cached, output, folder = tmp_path / "cached", tmp_path / "metrics.json", tmp_path / "model"
    cached.write_text("content")
    cached.chmod(0o444)
    os.utime(cached, ns=(1_000_000_007, 1_000_000_007))
    output.hardlink_to(cached)
    folder.mkdir()
    (folder / "weights").hardlink_to(cached)
    unprotect([str(output), str(folder), str(tmp_path / "missing")])
    assert output.read_text() == "content"
    assert output.stat().st_mode & 0o777 == 0o644
    assert output.stat().st_mtime_ns == 1_000_000_007
    assert cached.stat().st_mode & 0o777 == 0o444
    assert cached.stat().st_ino == (folder / "weights").stat().st_ino != output.stat().st_ino
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cached", "metrics.json", "model"]


def test_a_writable_file_is_left_alone(tmp_path: Path) -> None:
    output = tmp_path / "metrics.json"
    output.write_text("content")
    before = output.stat().st_ino
    unprotect([str(output)])
    assert output.stat().st_ino == before
