import numpy as np
import pytest

from relalign.errors import RelalignError
from relalign.evaluation.cross_modal import measure_recall
from relalign.evaluation.folds import measure_folds
from relalign.retrieval.embeddings import Embeddings
from tests.runs_on_disk import random_embeddings


def part(embeddings, images):
    rows = np.isin(embeddings.text_to_image, images)
    return Embeddings(
        embeddings.image[images],
        embeddings.text[rows],
        embeddings.image_ids[images],
        embeddings.text_ids[rows],
        embeddings.text_image_ids[rows],
    )


def test_folds_are_the_mean_over_folds_and_first_is_the_first_fold():
    embeddings = random_embeddings(images=20, captions=3)
    order = np.random.default_rng(0).permutation(20)
    found = {item.name: item.value for item in measure_folds(embeddings, order, size=5, ks=(1, 3))}
    alone = [
        {item.name: item.value for item in measure_recall(part(embeddings, np.sort(fold)), ks=(1, 3))}
        for fold in np.split(order, 4)
    ]
    for name in ("i2t/recall@1", "t2i/recall@3", "t2i/mean_rank"):
        assert found[f"folds5/{name}"] == pytest.approx(np.mean([fold[name] for fold in alone]))
        assert found[f"first5/{name}"] == pytest.approx(alone[0][name])
    assert (
        found["folds5/t2i/recall@1"]
        > {i.name: i.value for i in measure_recall(embeddings, ks=(1,))}["t2i/recall@1"]
    )


@pytest.mark.parametrize("size", [7, 20, 40])
def test_folds_that_do_not_divide_the_images_are_refused(size):
    with pytest.raises(RelalignError, match="20 test images"):
        measure_folds(random_embeddings(images=20), np.arange(20), size=size, ks=(1,))
