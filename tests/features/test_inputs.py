import numpy as np
import pandas as pd
import torch
from hypothesis import given
from hypothesis import strategies as st

from relalign.features.encoders.base import Encoded, TokenisedCaption, saturated_half
from relalign.features.inputs import CaptionInputs, full_batches
from relalign.settings.corruption import Corruption


@given(st.lists(st.integers(0, 1000), unique=True), st.integers(1, 7))
def test_batches_are_full_and_hold_every_row_once_in_order(rows: list[int], size: int) -> None:
    batches = list(full_batches(np.array(rows, dtype=np.int64), size))
    assert all(len(batch) == size and 1 <= real <= size for batch, real in batches)
    assert [row for batch, real in batches for row in batch[:real].tolist()] == rows
    assert all(set(batch.tolist()) == set(batch[:real].tolist()) for batch, real in batches)


def test_values_beyond_float16_saturate_instead_of_becoming_infinite() -> None:
    assert saturated_half(torch.tensor([1e6, -1e6, 0.5])).tolist() == [65504.0, -65504.0, 0.5]


class _Listening:
    """A text encoder that remembers the captions it was given."""

    keeps_all = False

    def tokenise(self, captions: list[str]) -> list[TokenisedCaption]:
        self.captions = captions
        return [TokenisedCaption(np.ones(1, dtype=np.int64), np.ones(1, dtype=bool)) for _ in captions]

    def encode(self, numbers, content) -> Encoded:
        raise NotImplementedError


def test_swapped_words_are_of_training_captions_in_all_splits_and_the_pairs_stay_clean() -> None:
    pairs = pd.DataFrame(
        [(3, "a b c", "train"), (1, "d e f", "val"), (2, "g h i", "test")],
        columns=["caption_id", "caption", "split"],
    )
    before, encoder = pairs.copy(), _Listening()
    corruption = Corruption(modality="text", kind="swap", rate=1.0)
    inputs = CaptionInputs(pairs, encoder, batch_size=8, corruption=corruption)
    assert inputs.ids.tolist() == [1, 2, 3]
    assert all(set(caption.split()) <= {"a", "b", "c"} for caption in encoder.captions)
    pd.testing.assert_frame_equal(pairs, before)
