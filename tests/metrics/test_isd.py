import numpy as np
import pytest
import torch

from relalign.metrics.isd import annotated_attention_distance, attention_distance


def stochastic(rng, *shape):
    return torch.tensor(rng.dirichlet(np.ones(shape[-1]), shape[:-1])).float()


def blocks(rng, pairs=3, words=4, regions=5):
    sizes = {
        "text_text": (words, words),
        "image_image": (regions, regions),
        "text_image": (words, regions),
        "image_text": (regions, words),
    }
    given = {name: stochastic(rng, pairs, *size) for name, size in sizes.items()}
    masks = {
        "text_mask": torch.ones(pairs, words, dtype=torch.bool),
        "image_mask": torch.ones(pairs, regions, dtype=torch.bool),
    }
    return given | masks


def symmetric_kl(first, second):
    return np.mean(
        [np.sum((p - q) * (np.log(p + 1e-6) - np.log(q + 1e-6))) for p, q in zip(first, second, strict=True)]
    )


def test_distributed_equals_the_round_trip_written_out():
    given = blocks(np.random.default_rng(0))
    _, distributed = attention_distance(**given)
    for pair in range(3):
        ll, vv, lv, vl = (given[name][pair].double().numpy() for name in list(given)[:4])
        expected = (symmetric_kl(ll, lv @ vl) + symmetric_kl(vv, vl @ lv)) / 2
        assert distributed[pair].item() == pytest.approx(expected, rel=1e-4)


def test_singular_equals_the_extraction_written_out():
    given = blocks(np.random.default_rng(1))
    singular, _ = attention_distance(**given)
    for pair in range(3):
        ll, vv, lv, vl = (given[name][pair].double().numpy() for name in list(given)[:4])
        values = []
        for own, other, cross in ((ll, vv, lv), (vv, ll, vl)):
            partner = [int(np.argmax(row)) for row in cross]
            read = np.array([[other[i][j] for j in partner] for i in partner])
            read = np.exp(read) / np.exp(read).sum(1, keepdims=True)
            values.append(symmetric_kl(own - 1e-6, read - 1e-6))
        assert singular[pair].item() == pytest.approx(np.mean(values), rel=1e-3)


def test_identical_attention_linked_one_to_one_has_no_distributed_distance():
    eye = torch.eye(4)[None]
    mask = torch.ones(1, 4, dtype=torch.bool)
    _, distributed = attention_distance(eye, eye, eye, eye, mask, mask)
    assert distributed.item() == pytest.approx(0, abs=1e-6)


PHRASES = torch.tensor([[1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], dtype=torch.bool)


def test_annotated_distance_is_zero_for_equal_attention_and_positive_otherwise():
    rng = np.random.default_rng(2)
    ll, vv = stochastic(rng, 4, 4), stochastic(rng, 4, 4)
    assert annotated_attention_distance(ll, ll, PHRASES, PHRASES) == pytest.approx(0, abs=1e-9)
    assert annotated_attention_distance(ll, vv, PHRASES, PHRASES) > 0


def test_annotated_distance_equals_the_loop_and_ignores_the_order_of_phrases():
    rng = np.random.default_rng(3)
    ll, vv = stochastic(rng, 4, 4), stochastic(rng, 6, 6)
    regions = torch.tensor([[1, 0, 0, 0, 1, 0], [0, 1, 1, 0, 0, 0], [0, 0, 0, 1, 0, 0]], dtype=torch.bool)

    def between(block, members):
        matrix = np.zeros((3, 3))
        for p in range(3):
            for q in range(3):
                rows, columns = np.flatnonzero(members[p]), np.flatnonzero(members[q])
                matrix[p, q] = np.mean([sum(block[i, j] for j in columns) for i in rows])
        return matrix / matrix.sum(1, keepdims=True)

    expected = symmetric_kl(between(ll.double().numpy(), PHRASES), between(vv.double().numpy(), regions))
    assert annotated_attention_distance(ll, vv, PHRASES, regions) == pytest.approx(expected)
    order = [2, 0, 1]
    assert annotated_attention_distance(ll, vv, PHRASES[order], regions[order]) == pytest.approx(expected)


def test_phrases_without_a_region_are_left_out_and_one_phrase_is_not_enough():
    rng = np.random.default_rng(4)
    ll, vv = stochastic(rng, 4, 4), stochastic(rng, 3, 3)
    regions = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 0]], dtype=torch.bool)
    expected = annotated_attention_distance(ll, vv, PHRASES[:2], regions[:2])
    assert annotated_attention_distance(ll, vv, PHRASES, regions) == expected
    assert np.isnan(annotated_attention_distance(ll, vv, PHRASES[:1], regions[:1]))
