import os
from pathlib import Path
from typing import Any

import pytest

from relalign.data.download import download_dataset
from relalign.orchestration.changed_sources import changed_sources
from relalign.settings.dataset import Dataset, Source

RAW = Path("data/raw/own")


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my images").mkdir()
    (tmp_path / "my images/1.png").write_bytes(b"1")
    (tmp_path / "own.csv").write_text("image,caption\n1.png,one\n")
    sources = {"images": Source(url="file:my%20images"), "captions": Source(url=f"file:{tmp_path / 'own.csv'}")}
    made = Dataset(reader="table", sources=sources)
    download_dataset(made, RAW, root=tmp_path)
    return made.model_dump()


def test_unchanged_and_only_touched_files_are_no_change(dataset: dict[str, Any]) -> None:
    assert changed_sources(dataset, RAW) == changed_sources(dataset, RAW) == []
    os.utime("own.csv", (1, 1))
    assert changed_sources(dataset, RAW) == []


def test_another_caption_or_image_is_a_change_until_it_is_read(dataset: dict[str, Any], tmp_path: Path) -> None:
    assert changed_sources(dataset, RAW) == []
    Path("own.csv").write_text("image,caption\n1.png,two\n")
    for _ in range(2):
        assert changed_sources(dataset, RAW) == [f"file:{tmp_path / 'own.csv'}"]
    Path("my images/2.png").write_bytes(b"2")
    assert changed_sources(dataset, RAW) == ["file:my%20images", f"file:{tmp_path / 'own.csv'}"]


def test_what_is_not_made_or_not_local_is_never_changed(dataset: dict[str, Any]) -> None:
    assert changed_sources(dataset, Path("data/raw/other")) == []
    assert changed_sources({"sources": {"images": {"url": "https://host.org/a.zip"}}}, RAW) == []
    Path("own.csv").unlink()
    assert changed_sources(dataset, RAW) == []
