"""docs/scaling.md keeps its word: embeddings go to a search engine of one's own in a few lines."""

import re
from pathlib import Path

import faiss
import numpy as np
import pytest

from relalign.retrieval.embeddings import Embeddings, write_embeddings

DOCS = Path(__file__).parents[2] / "docs/scaling.md"


@pytest.mark.long
def test_qdrant_returns_the_neighbours_that_the_exact_index_has(tmp_path: Path) -> None:
    pytest.importorskip("qdrant_client", reason="`make servers` installs it")
    (block,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    random = np.random.default_rng(0)
    image, text = (random.normal(size=(rows, 16)).astype(np.float32) for rows in (200, 400))
    image, text = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (image, text))
    ids = 7 + 3 * np.arange(200)
    write_embeddings(tmp_path, Embeddings(image, text, ids, np.arange(400), ids.repeat(2)))
    said: dict[str, object] = {}
    folder = 'folder = "results/openmoji/contrastive/seed0/embeddings"'
    assert folder in block
    exec(block.replace(folder, f"folder = {str(tmp_path)!r}"), said)  # noqa: S102 (our own page)
    exact = faiss.IndexFlatIP(16)
    exact.add(image)
    scores, rows = exact.search(image[:1], 5)
    found = said["found"]
    assert [point.id for point in found] == ids[rows[0]].tolist()  # type: ignore[attr-defined]
    assert [point.score for point in found] == pytest.approx(scores[0].tolist(), abs=1e-5)  # type: ignore[attr-defined]
