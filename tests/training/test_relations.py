from dataclasses import replace

import numpy as np
import pytest
import torch

from relalign.evaluation.single_modal import measure_single_modal
from relalign.evaluation.space import measure_neighbours
from relalign.evaluation.test_set import graded_test_set
from relalign.retrieval.embeddings import Embeddings
from relalign.retrieval.relevance_files import Relevance
from relalign.training.relations import METRICS, NDCG_AT, Relations, single_modal_ndcg


def judged() -> tuple[Embeddings, Relevance]:
    random = np.random.default_rng(0)
    image_of_caption = np.sort(np.concatenate([np.arange(30), random.integers(0, 30, 50)]))
    image_ids, caption_ids = 7 + 2 * np.arange(30), 3 * np.arange(80)
    image, text = (random.normal(size=(rows, 5)).astype(np.float32) for rows in (30, 80))
    relevance = Relevance(random.random((80, 30)).astype(np.float32), caption_ids, image_ids)
    return Embeddings(image, text, image_ids, caption_ids, image_ids[image_of_caption]), relevance


def test_a_teacher_is_measured_as_the_evaluation_measures_a_model() -> None:
    embeddings, relevance = judged()
    measured = measure_single_modal(graded_test_set(embeddings, relevance), ks=(NDCG_AT,))
    expected = {measurement.name: measurement.value for measurement in measured}
    for side, vectors in (("image", embeddings.image), ("text", embeddings.text)):
        found = single_modal_ndcg(side, torch.from_numpy(vectors), relevance, embeddings.text_to_image)
        assert found == pytest.approx(expected[METRICS[side]], abs=1e-9)


def test_relations_in_training_are_those_of_the_evaluation_whatever_the_order_of_captions() -> None:
    embeddings, relevance = judged()
    random = np.random.default_rng(1)
    captions = random.permutation(80)  # row captions[i] of the split is caption i of the evaluation
    pretrained = {"image": torch.from_numpy(embeddings.image), "text": torch.from_numpy(embeddings.text)}
    moved = {
        side: vectors + torch.from_numpy(random.normal(size=vectors.shape)) for side, vectors in pretrained.items()
    }
    relations = Relations(relevance, embeddings.text_to_image, captions, pretrained)
    in_split = {
        side: torch.empty(80, 5, dtype=rows["text"].dtype)
        for side, rows in (("same", pretrained), ("moved", moved))
    }
    in_split["same"][captions], in_split["moved"][captions] = pretrained["text"], moved["text"]

    assert relations.measure(pretrained["image"], in_split["same"])["i2i/kept@10"] == pytest.approx(100)
    found = relations.measure(moved["image"].float(), in_split["moved"].float(), prefix="encoder/")
    after = replace(embeddings, image=moved["image"].float().numpy(), text=moved["text"].float().numpy())
    expected = measure_single_modal(graded_test_set(after, relevance), ks=(NDCG_AT,))
    expected += measure_neighbours(after, pretrained["image"], pretrained["text"], k=NDCG_AT)
    assert [found[f"encoder/{name}"] for name in ("i2i/ndcg@10", "t2t/ndcg@10", "i2i/kept@10", "t2t/kept@10")] == (
        pytest.approx([measurement.value for measurement in expected], abs=1e-9)
    )
