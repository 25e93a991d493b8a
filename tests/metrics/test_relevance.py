import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relalign.metrics import relevance
from relalign.metrics.common_subsequence import PackedReferences, common_subsequence
from relalign.metrics.relevance import rouge_l
from tests.twins import rouge as twin

tokens = st.lists(st.integers(0, 3), max_size=12)


@settings(max_examples=80, deadline=None)
@given(left=tokens, right=tokens)
def test_common_subsequence_equals_the_textbook_table(left, right):
    assert common_subsequence(left, right) == twin.longest_common_subsequence(left, right)


@settings(max_examples=40, deadline=None)
@given(references=st.lists(tokens, min_size=1, max_size=5), sequences=st.lists(tokens, max_size=5))
def test_packed_references_equal_the_textbook_table_in_any_order_of_sequences(references, sequences):
    found = [lengths.tolist() for lengths in PackedReferences(references).lengths(sequences)]
    assert found == [[twin.longest_common_subsequence(s, r) for r in references] for s in sequences]


@pytest.mark.parametrize("length", [63, 64, 65, 130])
def test_captions_around_and_beyond_a_machine_word(length):
    generator = random.Random(length)
    captions = [" ".join(generator.choices("abc", k=size)) for size in (length, length, 5, 70, 64)]
    owner = np.array([0, 1, 0, 1, 2])
    np.testing.assert_allclose(rouge_l(captions, owner), twin.rouge_l(captions, owner, 3), rtol=1e-6)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_equals_the_slow_twin(data):
    words = st.lists(st.sampled_from(["a", "A", "dog", "runs", "", "dog."]), max_size=7).map(" ".join)
    captions = data.draw(st.lists(words, min_size=1, max_size=8))
    images = data.draw(st.integers(1, 5))
    owner = np.array(
        data.draw(st.lists(st.integers(0, images - 1), min_size=len(captions), max_size=len(captions)))
    )
    found = rouge_l(captions, owner, images)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, twin.rouge_l(captions, owner, images), rtol=1e-6)


def test_a_caption_has_relevance_one_to_its_own_image():
    captions = ["a dog runs", "the dog is running fast", "two cats", "cats sleep on a sofa"]
    relevant = rouge_l(captions, np.array([0, 0, 1, 1]))
    assert relevant[[0, 1, 2, 3], [0, 0, 1, 1]].tolist() == [1, 1, 1, 1]


def test_precision_and_recall_are_maximised_over_different_references():
    relevant = rouge_l(["a b c d", "a b c d e f g h", "a"], np.array([0, 1, 1]))
    assert relevant[0, 1] == 1.0  # precision 1 from the long reference, recall 1 from the short one


def test_blocks_and_a_given_array_do_not_change_the_result(monkeypatch):
    generator = random.Random(0)
    captions = [" ".join(generator.choices("abcdef", k=6)) for _ in range(30)]
    owner = np.arange(30) % 11
    whole = rouge_l(captions, owner)
    monkeypatch.setattr(relevance, "IMAGES_AT_ONCE", 4)
    out = np.full((30, 11), np.nan, dtype=np.float32)
    assert rouge_l(captions, owner, out=out) is out
    np.testing.assert_array_equal(out, whole)
