import numpy as np
import pytest
import torch

from relalign.errors import RelalignError
from relalign.evaluation.mixed import measure_mixed, measure_mixed_released
from relalign.evaluation.single_modal import measure_single_modal
from relalign.evaluation.test_set import graded_test_set
from relalign.metrics import similarity
from relalign.retrieval.embeddings import Embeddings
from relalign.retrieval.relevance_files import Relevance
from tests.runs_on_disk import random_embeddings
from tests.twins import protocol as twin

CAPTIONS = 3


def random_judgements(embeddings: Embeddings, seed=0):
    """Graded judgements in which a caption is fully relevant to its own image."""
    matrix = np.random.default_rng(seed).random((len(embeddings.text), len(embeddings.image))).astype(np.float32)
    matrix[np.arange(len(matrix)), embeddings.text_to_image] = 1
    return Relevance(matrix, embeddings.text_ids, embeddings.image_ids)


@pytest.fixture
def test_set():
    embeddings = random_embeddings(images=11, captions=CAPTIONS, width=5)
    return graded_test_set(embeddings, random_judgements(embeddings))


@pytest.fixture
def arrays(test_set):
    return test_set.image.double().numpy(), test_set.text.double().numpy(), test_set.relevance.astype(np.float64)


def values(measurements):
    return {item.name: item.value for item in measurements}


@pytest.mark.parametrize("released", [False, True])
@pytest.mark.parametrize("k", [1, 4, 50])
def test_single_modal_equals_the_protocol_written_out(test_set, arrays, k, released):
    found = values(
        measure_single_modal(test_set, ks=(k,), prefix="released/" * released, released_protocol=released)
    )
    prefix = "released/" if released else ""
    expected = twin.single_modal(*arrays, k, CAPTIONS, released)
    assert found == pytest.approx({f"{prefix}i2i/ndcg@{k}": expected[0], f"{prefix}t2t/ndcg@{k}": expected[1]})


@pytest.mark.parametrize("k", [1, 4, 50])
def test_mixed_equals_the_protocol_written_out(test_set, arrays, k):
    expected = twin.mixed(*arrays, k, CAPTIONS)
    found = values(measure_mixed(test_set, ks=(k,)))
    assert found == pytest.approx({f"mixed/i2it/ndcg@{k}": expected[0], f"mixed/t2it/ndcg@{k}": expected[1]})


def test_released_mixed_protocol_equals_its_matrices(test_set, arrays):
    rng = np.random.default_rng(1)
    cross = rng.standard_normal((11, 33)), rng.standard_normal((33, 11))
    expected = twin.mixed_released(*arrays, *cross, 5, CAPTIONS)
    found = values(measure_mixed_released(test_set, *map(torch.tensor, cross), ks=(5,)))
    assert found == pytest.approx(
        {"released/mixed/i2it/ndcg@5": expected[0], "released/mixed/t2it/ndcg@5": expected[1]}
    )


def test_blocks_of_queries_change_nothing(test_set, monkeypatch):
    whole = values(measure_single_modal(test_set, ks=(4,))) | values(measure_mixed(test_set, ks=(4,)))
    monkeypatch.setattr(similarity, "NUMBERS_AT_ONCE", 100)
    assert whole == values(measure_single_modal(test_set, ks=(4,))) | values(measure_mixed(test_set, ks=(4,)))


def test_self_never_counts_even_where_all_similarities_are_negative():
    # Three directions 120 degrees apart: writing 0 over the own similarity would rank self first.
    angles = np.array([0, 2, 4]) * np.pi / 3
    rows = np.stack((np.cos(angles), np.sin(angles)), axis=1).astype(np.float32)
    rows[1] = rows[1] @ np.array([[np.cos(0.1), np.sin(0.1)], [-np.sin(0.1), np.cos(0.1)]])
    embeddings = Embeddings(rows, rows, np.arange(3), np.arange(3), np.arange(3))
    matrix = np.eye(3, dtype=np.float32)
    matrix[0, 2] = matrix[2, 0] = matrix[1, 2] = 0.5  # for 0 and 1, candidate 2; for 2, candidate 0
    judged = graded_test_set(embeddings, Relevance(matrix, np.arange(3), np.arange(3)))
    assert values(measure_single_modal(judged, ks=(1,)))["i2i/ndcg@1"] > 0
    assert values(measure_single_modal(judged, ks=(1,), released_protocol=True))["i2i/ndcg@1"] == 0


def test_calibration_undoes_a_gap_between_the_modalities():
    embeddings = random_embeddings(images=12, captions=CAPTIONS, width=6, noise=0.1)
    judgements = random_judgements(embeddings)
    image, text = (np.pad(rows, ((0, 0), (0, 2))) for rows in (embeddings.image, embeddings.text))
    image[:, 6] = text[:, 7] = 2
    ids = (embeddings.image_ids, embeddings.text_ids, embeddings.text_image_ids)
    plain = graded_test_set(embeddings, judgements)
    apart = graded_test_set(Embeddings(image, text, *ids), judgements)
    near, far = (values(measure_mixed(t, ks=(20,), calibrated=True)) for t in (plain, apart))
    uncalibrated = values(measure_mixed(apart, ks=(20,)))
    assert near == pytest.approx(far, abs=3)
    assert uncalibrated["mixed/i2it/ndcg@20"] < far["mixed_calibrated/i2it/ndcg@20"]


def test_values_carry_the_ids_of_the_first_captions(test_set):
    by_name = {item.name: item for item in measure_single_modal(test_set, ks=(4,))}
    assert by_name["t2t/ndcg@4"].query_ids.tolist() == list(range(1000, 1033, 3))
    assert by_name["t2t/ndcg@4"].image_ids.tolist() == by_name["i2i/ndcg@4"].query_ids.tolist()


def test_a_caption_has_its_siblings_among_the_relevant(test_set):
    gains = test_set.caption_relevance(slice(2, 3))[0]
    assert (gains[6:9] == 1).all()


def test_an_image_without_captions_is_a_candidate_but_no_query():
    full = random_embeddings(images=5, captions=CAPTIONS)
    keep = full.text_to_image != 2
    fewer = Embeddings(full.image, full.text[keep], full.image_ids, full.text_ids[keep], full.text_image_ids[keep])
    item = measure_single_modal(graded_test_set(fewer, random_judgements(fewer)), ks=(2,))[0]
    assert item.query_ids.tolist() == full.image_ids[[0, 1, 3, 4]].tolist()


def test_judgements_of_other_ids_are_refused():
    embeddings = random_embeddings(images=4)
    judgements = random_judgements(embeddings)
    other = judgements.image_ids.copy()
    other[0] = 999
    with pytest.raises(RelalignError, match=r"images .*ids \[10, 999\]"):
        graded_test_set(embeddings, Relevance(judgements.matrix, judgements.caption_ids, other))
    with pytest.raises(RelalignError, match="order differs"):
        graded_test_set(
            embeddings, Relevance(judgements.matrix, judgements.caption_ids[::-1], judgements.image_ids)
        )
