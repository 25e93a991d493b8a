from pathlib import Path

import numpy as np
import pytest

from relalign.errors import RelalignError
from relalign.features.store import FeatureStore
from relalign.system.artifacts import publish


def _write(folder: Path, ids: list[int], *, rows: int | None = None) -> Path:
    count = len(ids) if rows is None else rows
    with publish(folder, made_by="test") as draft:
        np.save(draft / "ids.npy", np.array(ids, dtype=np.int64))
        np.save(draft / "tokens.npy", np.arange(count * 6, dtype=np.float16).reshape(count, 3, 2))
        np.save(draft / "lengths.npy", np.full(count, 3, dtype=np.int32))
        np.save(draft / "pooled.npy", np.arange(count * 5, dtype=np.float32).reshape(count, 5))
        np.save(draft / "summary.npy", np.arange(count * 4, dtype=np.float16).reshape(count, 4))
        np.save(draft / "inputs.npy", np.zeros((count, 32), dtype=np.uint8))
    return folder


def test_rows_are_found_by_id_in_any_order_with_repeats(tmp_path: Path) -> None:
    store = FeatureStore.open(_write(tmp_path / "s", [3, 7, 9]))
    assert store.rows([9, 3, 3]).tolist() == [2, 0, 0]
    read = store.read(store.rows([9, 3]))
    assert read.pooled[:, 0].tolist() == [10, 0]
    assert read.summary[:, 0].tolist() == [8, 0]
    assert read.tokens[:, 0, 0].tolist() == [12, 0]
    assert (store.width, store.pooled_width, store.summary_width, store.tokens_per_row) == (2, 5, 4, 3)
    assert len(store) == 3


def test_missing_ids_are_named(tmp_path: Path) -> None:
    store = FeatureStore.open(_write(tmp_path / "s", [3, 7, 9]))
    with pytest.raises(RelalignError, match="id 4, 10"):
        store.rows([3, 10, 4, 10])


def test_arrays_are_read_only(tmp_path: Path) -> None:
    store = FeatureStore.open(_write(tmp_path / "s", [3, 7]))
    with pytest.raises(ValueError, match="read-only"):
        store.tokens[0] = 0


@pytest.mark.parametrize("ids", [[7, 3, 9], [3, 3, 9]])
def test_shuffled_or_repeated_ids_are_refused(ids: list[int], tmp_path: Path) -> None:
    with pytest.raises(RelalignError, match="not strictly ascending"):
        FeatureStore.open(_write(tmp_path / "s", ids))


def test_ids_that_differ_from_the_pairs_are_refused_by_name(tmp_path: Path) -> None:
    folder = _write(tmp_path / "s", [3, 7, 9])
    assert len(FeatureStore.open(folder, expect_ids=[9, 3, 7, 7])) == 3
    with pytest.raises(RelalignError, match="has no features of id 8"):
        FeatureStore.open(folder, expect_ids=[3, 7, 8, 9])
    with pytest.raises(RelalignError, match="pairs lack, of id 7"):
        FeatureStore.open(folder, expect_ids=[3, 9])


def test_arrays_of_different_lengths_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RelalignError, match="differ in their number of rows"):
        FeatureStore.open(_write(tmp_path / "s", [3, 7, 9], rows=2))


def test_a_truncated_file_is_refused_and_an_altered_one_on_verification(tmp_path: Path) -> None:
    folder = _write(tmp_path / "s", [3, 7, 9])
    tokens = (folder / "tokens.npy").read_bytes()
    (folder / "tokens.npy").write_bytes(tokens[:-1])
    with pytest.raises(RelalignError, match=r"tokens\.npy is missing or truncated"):
        FeatureStore.open(folder)
    (folder / "tokens.npy").write_bytes(tokens[:-1] + b"\x01")
    FeatureStore.open(folder)
    with pytest.raises(RelalignError, match="differs from its manifest"):
        FeatureStore.open(folder, verify=True)


def test_a_folder_that_is_no_store_is_refused(tmp_path: Path) -> None:
    with publish(tmp_path / "s", made_by="test") as draft:
        (draft / "other.txt").write_text("x")
    with pytest.raises(RelalignError, match="is no feature store"):
        FeatureStore.open(tmp_path / "s")
