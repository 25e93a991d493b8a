import numpy as np
import pytest
import torch

from relalign.evaluation.relevance_files import Relevance
from relalign.evaluation.single_modal import measure_single_modal
from relalign.evaluation.test_set import graded_test_set
from relalign.retrieval.embeddings import Embeddings
from relalign.teachers.measure import METRICS, NDCG_AT, single_modal_ndcg


def test_a_teacher_is_measured_as_the_evaluation_measures_a_model():
    random = np.random.default_rng(0)
    image_of_caption = np.sort(np.concatenate([np.arange(30), random.integers(0, 30, 50)]))
    image_ids, caption_ids = 7 + 2 * np.arange(30), 3 * np.arange(80)
    image, text = (random.normal(size=(rows, 5)).astype(np.float32) for rows in (30, 80))
    relevance = Relevance(random.random((80, 30)).astype(np.float32), caption_ids, image_ids)
    embeddings = Embeddings(image, text, image_ids, caption_ids, image_ids[image_of_caption])
    measured = measure_single_modal(graded_test_set(embeddings, relevance), ks=(NDCG_AT,))
    expected = {measurement.name: measurement.value for measurement in measured}
    for side, vectors in (("image", image), ("text", text)):
        found = single_modal_ndcg(side, torch.from_numpy(vectors), relevance, image_of_caption)
        assert found == pytest.approx(expected[METRICS[side]], abs=1e-9)
