import numpy as np
import pytest

from relalign.evaluation.labelled import measure_labels
from tests.runs_on_disk import random_embeddings
from tests.twins import ranking as twin


def test_labels_equal_the_loop_over_queries():
    embeddings = random_embeddings(images=7, captions=2)
    of_image = np.array([0, 0, 1, 1, 1, 2, -1])
    labels = np.repeat(of_image, 2)
    found = {item.name: item for item in measure_labels(embeddings, labels)}
    for name, rows, label, own_rows in (
        ("i2i", embeddings.image, of_image, np.arange(7)),
        ("t2t", embeddings.text, labels, 2 * np.arange(7)),
    ):
        expected = {}
        for query in own_rows:
            others = [other for other in range(len(rows)) if other != query]
            relevant = [label[query] >= 0 and label[other] == label[query] for other in others]
            if any(relevant):
                # Few candidates only, so that the twin can write out every order: untied scores have one.
                best = sorted(others, key=lambda other, q=query: -float(rows[q] @ rows[other]))[: sum(relevant)]
                hits = [label[other] == label[query] for other in best]
                average = sum(hit * sum(hits[:rank]) / rank for rank, hit in enumerate(hits, 1)) / len(hits)
                expected[query] = (100 * average, 100 * np.mean(hits))
        assert len(found[f"{name}/map@r"].values) == len(expected)
        np.testing.assert_allclose(found[f"{name}/map@r"].values, [value[0] for value in expected.values()])
        np.testing.assert_allclose(found[f"{name}/r_precision"].values, [value[1] for value in expected.values()])


def test_an_image_alone_with_its_label_and_an_unlabelled_one_ask_nothing():
    embeddings = random_embeddings(images=4, captions=1)
    items = {item.name: item for item in measure_labels(embeddings, np.array([5, 5, 6, -1]))}
    assert items["i2i/map@r"].query_ids.tolist() == embeddings.image_ids[:2].tolist()
    assert measure_labels(embeddings, np.array([1, 2, 3, -1])) == []


def test_a_perfect_space_scores_a_hundred_and_a_constant_one_chance():
    embeddings = random_embeddings(images=6, captions=1)
    labels = np.array([0, 0, 0, 1, 1, 1])
    embeddings.image[:] = np.eye(8, dtype=np.float32)[labels]
    embeddings.text[:] = 1 / np.sqrt(8)
    found = {item.name: item.value for item in measure_labels(embeddings, labels)}
    assert found["i2i/map@r"] == pytest.approx(100)
    assert found["t2t/r_precision"] == pytest.approx(40)
    assert found["t2t/map@r"] == pytest.approx(twin.precision_at_r([0.0] * 5, [1, 1, 0, 0, 0])[0])
