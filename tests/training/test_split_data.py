"""Teachers and students read the same rows: every feature goes with its own id, however ids lie about."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from relalign.layout import Layout
from relalign.settings import Params
from relalign.system.artifacts import publish
from relalign.training.split_data import load_split
from tests.tiny_project import tiny_params

SPLITS = ("train", "val", "test")
IMAGES, CAPTIONS = 30, 3


def _store(folder: Path, ids: np.ndarray) -> None:
    """Features that tell whose they are: a row's pooled vector and its only token are its id."""
    values = ids.astype(np.float32)[:, None]
    with publish(folder, made_by="tests") as draft:
        np.save(draft / "tokens.npy", values[:, None].astype(np.float16))
        np.save(draft / "lengths.npy", np.ones(len(ids), dtype=np.int32))
        np.save(draft / "pooled.npy", values)
        np.save(draft / "summary.npy", values.astype(np.float16))
        np.save(draft / "ids.npy", ids)
        np.save(draft / "inputs.npy", np.zeros((len(ids), 32), dtype=np.uint8))


def _project(root: Path, params: Params) -> tuple[Layout, pd.DataFrame]:
    """Splits interleaved, caption ids in no order over images, rows of the table shuffled."""
    random, layout = np.random.default_rng(0), Layout(root, params.dataset)
    image_ids = 7 + 2 * np.arange(IMAGES)
    pairs = pd.DataFrame(
        {
            "caption_id": 5 + 3 * random.permutation(IMAGES * CAPTIONS),
            "image_id": np.repeat(image_ids, CAPTIONS),
            "split": np.repeat([SPLITS[i % 3] for i in range(IMAGES)], CAPTIONS),
        }
    ).sample(frac=1, random_state=0)
    with publish(layout.pairs, made_by="tests") as draft:
        pairs.to_parquet(draft / "pairs.parquet")
    _store(layout.features(params.encoders.image), image_ids)
    _store(layout.features(params.encoders.text), np.sort(pairs["caption_id"].to_numpy()))
    return layout, pairs


@pytest.mark.parametrize("split", SPLITS)
def test_every_row_has_the_features_of_its_own_id(tmp_path: Path, split: str) -> None:
    params = tiny_params()
    layout, pairs = _project(tmp_path, params)
    data = load_split(params, layout, split, device=torch.device("cpu"))
    owner = pairs.set_index("caption_id")["image_id"]
    assert set(data.caption_ids.tolist()) == set(pairs.query("split == @split")["caption_id"])
    batch = next(data.epoch(99, torch.Generator().manual_seed(0)))
    assert batch.image.pooled[:, 0].tolist() == batch.image_ids.tolist()
    for text in (batch.text, batch.unmixed_text, batch.other_text):
        assert owner.loc[text.pooled[:, 0].int().tolist()].tolist() == batch.image_ids.tolist()
    assert batch.unmixed_text.pooled[:, 0].tolist() == batch.caption_ids.tolist()
    for side in (batch.image, batch.text):
        assert torch.equal(side.tokens()[0][:, 0, 0], side.pooled[:, 0])
        assert torch.equal(side.summary[:, 0], side.pooled[:, 0])
