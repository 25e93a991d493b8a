"""Tools made for open_clip's models measure ours, and come to our numbers."""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from relalign.layout import Layout
from relalign.metrics.recall import recall
from relalign.retrieval.dual_encoder import as_open_clip
from relalign.retrieval.embeddings import load_embeddings
from relalign.retrieval.retrieval_model import RetrievalModel
from tests.raw_runs import RUNS
from tests.retrieval.conftest import RunOf
from tests.twins.clip_benchmark import evaluate

CPU = torch.device("cpu")


def loader(layout: Layout, preprocess) -> list[tuple[torch.Tensor, list[list[str]]]]:
    """The test split in batches as CLIP_benchmark's loaders give them: stacked images, and each one's captions."""
    pairs = pd.read_parquet(layout.pairs / "pairs.parquet").query("split == 'test'")
    rows = [
        (preprocess(Image.open(layout.root / path)), captions["caption"].tolist())
        for path, captions in pairs.groupby("image_path", sort=False)
    ]
    return [
        (torch.stack([image for image, _ in part]), [captions for _, captions in part])
        for part in (rows[:3], rows[3:])
    ]


@pytest.mark.parametrize("kind", RUNS)
def test_clip_benchmarks_retrieval_comes_to_the_recalls_of_the_exported_embeddings(
    run_of: RunOf, kind: str
) -> None:
    params, layout, method = run_of(kind)
    model, preprocess, tokenizer = as_open_clip(
        RetrievalModel.of_run(params, layout, method=method, seed=0, device=CPU)
    )
    measured = evaluate(model, loader(layout, preprocess), tokenizer, "cpu", recall_k_list=[1, 3])
    exported = load_embeddings(layout.run(method, 0) / "embeddings")
    ours = recall(
        torch.from_numpy(exported.image),
        torch.from_numpy(exported.text),
        torch.from_numpy(exported.text_to_image),
        ks=(1, 3),
    ).metrics()
    for k in (1, 3):
        assert 100 * measured[f"image_retrieval_recall@{k}"] == pytest.approx(ours[f"t2i/recall@{k}"])
        assert 100 * measured[f"text_retrieval_recall@{k}"] == pytest.approx(ours[f"i2t/recall@{k}"])


@pytest.mark.parametrize("kind", ["frozen", "zero shot", "zero shot, padded"])
def test_a_text_has_one_embedding_alone_or_beside_longer_ones(run_of: RunOf, kind: str) -> None:
    params, layout, method = run_of(kind)
    known = RetrievalModel.of_run(params, layout, method=method, seed=0, device=CPU)
    model, _, tokenizer = as_open_clip(known)
    texts = ["a dog", "the small red cat sleeps on a mat"]
    with torch.no_grad():
        together, alone = model.encode_text(tokenizer(texts)), model.encode_text(tokenizer(texts[0]))
    np.testing.assert_allclose(together, known.encode_texts(texts), atol=1e-5)
    np.testing.assert_allclose(alone, known.encode_texts(texts[:1]), atol=1e-5)
