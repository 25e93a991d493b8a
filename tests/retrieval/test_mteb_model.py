"""mteb measures our models on its kind of task, and comes to our numbers."""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from relalign.errors import RelalignError
from relalign.layout import Layout
from relalign.metrics.recall import recall
from relalign.retrieval.embeddings import load_embeddings
from relalign.retrieval.mteb_model import as_mteb
from relalign.retrieval.retrieval_model import RetrievalModel
from tests.raw_runs import RUNS
from tests.retrieval.conftest import RunOf
from tests.twins.mteb import hit_rates

CPU = torch.device("cpu")
KS = (1, 3)


def sides(layout: Layout) -> dict[str, tuple[list[dict], list[dict], dict[str, dict[str, int]]]]:
    """Queries, documents and relevance of the test split in mteb's form, in both directions."""
    pairs = pd.read_parquet(layout.pairs / "pairs.parquet").query("split == 'test'")
    images = [
        {"id": f"i{row.image_id}", "image": Image.open(layout.root / row.image_path)}
        for row in pairs.drop_duplicates("image_id").itertuples()
    ]
    texts = [{"id": f"t{row.caption_id}", "text": row.caption} for row in pairs.itertuples()]
    of_image: dict[str, dict[str, int]] = {}
    for row in pairs.itertuples():
        of_image.setdefault(f"i{row.image_id}", {})[f"t{row.caption_id}"] = 1
    of_text = {text: {image: 1} for image, captions in of_image.items() for text in captions}
    return {"i2t": (images, texts, of_image), "t2i": (texts, images, of_text)}


def ours(layout: Layout, method: str) -> dict[str, float]:
    exported = load_embeddings(layout.run(method, 0) / "embeddings")
    image, text, owner = map(torch.from_numpy, (exported.image, exported.text, exported.text_to_image))
    return recall(image, text, owner, ks=KS).metrics()


@pytest.mark.parametrize("kind", RUNS)
def test_mtebs_search_comes_to_the_recalls_of_the_exported_embeddings(run_of: RunOf, kind: str) -> None:
    params, layout, method = run_of(kind)
    model = as_mteb(RetrievalModel.of_run(params, layout, method=method, seed=0, device=CPU))
    known = ours(layout, method)
    for direction, task in sides(layout).items():
        for k, rate in hit_rates(model, *task, KS).items():
            assert 100 * rate == pytest.approx(known[f"{direction}/recall@{k}"])


@pytest.fixture(scope="module")
def model(run_of: RunOf) -> RetrievalModel:
    params, layout, method = run_of("frozen")
    return RetrievalModel.of_run(params, layout, method=method, seed=0, device=CPU)


def test_similarities_are_cosines_of_arrays_and_of_tensors(model: RetrievalModel) -> None:
    rows = model.encode_texts(["a dog", "the small red cat"], normalize=False)
    found = as_mteb(model).similarity(rows, torch.from_numpy(rows))
    np.testing.assert_allclose(found, model.similarity(rows, rows), atol=1e-6)
    pairs = as_mteb(model).similarity_pairwise(rows, torch.from_numpy(rows[::-1].copy()))
    np.testing.assert_allclose(pairs, [found[0, 1], found[1, 0]], atol=1e-6)


@pytest.mark.parametrize("batch", [{"id": ["1"]}, {"image": [Image.new("RGB", (8, 8))], "text": ["a dog"]}])
def test_a_batch_of_both_or_of_neither_is_refused(model: RetrievalModel, batch: dict) -> None:
    with pytest.raises(RelalignError, match="both images and texts, or neither"):
        as_mteb(model).encode([batch])


def test_mteb_itself_comes_to_the_recalls_of_two_models_with_one_cache(run_of: RunOf, tmp_path) -> None:
    mteb = pytest.importorskip("mteb")
    cache = mteb.ResultCache(tmp_path)
    for kind in ("frozen", "cca"):
        params, layout, method = run_of(kind)
        model = as_mteb(RetrievalModel.of_run(params, layout, method=method, seed=0, device=CPU))
        known = ours(layout, method)
        measured = mteb.evaluate(model, tasks(layout), cache=cache, co2_tracker=False)
        for result in measured.task_results:
            (scores,) = result.scores["test"]
            for k in KS:
                assert 100 * scores[f"hit_rate_at_{k}"] == pytest.approx(
                    known[f"{result.task_name[-3:]}/recall@{k}"], abs=1e-3
                )
        assert measured.model_name == "relalign/model"
        again = as_mteb(RetrievalModel.of_run(params, layout, method=method, seed=0, device=CPU))
        assert again.mteb_model_meta.revision == measured.model_revision
    assert len(list(tmp_path.rglob("Tiny*.json"))) == 4


def tasks(layout: Layout) -> list:
    """The test split as two tasks of mteb."""
    from datasets import Dataset
    from mteb.abstasks.retrieval import AbsTaskRetrieval
    from mteb.abstasks.task_metadata import TaskMetadata

    def task(direction: str, queries: list[dict], corpus: list[dict], relevant: dict[str, dict[str, int]]):
        class Tiny(AbsTaskRetrieval):
            metadata = TaskMetadata(
                name=f"Tiny-{direction}",
                description="A test split of eight pictures.",
                dataset={"path": "none", "revision": "none"},
                type="Any2AnyRetrieval",
                category=direction,
                modalities=["image", "text"],
                eval_splits=["test"],
                eval_langs=["eng-Latn"],
                main_score="hit_rate_at_1",
            )

            def load_data(self, *_, **__) -> None:
                split = {
                    "queries": Dataset.from_list(queries),
                    "corpus": Dataset.from_list(corpus),
                    "relevant_docs": relevant,
                    "top_ranked": None,
                }
                self.dataset, self.data_loaded = {"default": {"test": split}}, True

        return Tiny()

    return [task(direction, *side) for direction, side in sides(layout).items()]
