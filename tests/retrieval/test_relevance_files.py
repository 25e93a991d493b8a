import numpy as np
import pandas as pd
import pytest

from relalign.errors import RelalignError
from relalign.layout import Layout
from relalign.retrieval.relevance_files import load_relevance, make_relevance
from relalign.system.artifacts import publish
from tests.twins import rouge as twin


@pytest.fixture
def layout(tmp_path):
    layout = Layout(tmp_path, "toy")
    rows = [
        (7, 30, "a dog runs", "test"),
        (3, 20, "two cats", "test"),
        (4, 20, "a dog and two cats", "test"),
        (5, 90, "never seen", "train"),
    ]
    with publish(layout.pairs, made_by="test") as draft:
        pd.DataFrame(rows, columns=["caption_id", "image_id", "caption", "split"]).to_parquet(
            draft / "pairs.parquet"
        )
    return layout


def test_only_the_test_split_enters_and_rows_and_columns_carry_ids(layout):
    make_relevance(layout)
    relevance = load_relevance(layout.relevance)
    assert relevance.caption_ids.tolist() == [3, 4, 7]
    assert relevance.image_ids.tolist() == [20, 30]
    expected = twin.rouge_l(["two cats", "a dog and two cats", "a dog runs"], [0, 0, 1], 2)
    np.testing.assert_allclose(relevance.matrix, expected, rtol=1e-6)


def test_a_matrix_out_of_step_with_its_ids_is_refused(layout):
    make_relevance(layout)
    with publish(layout.relevance, made_by="test") as draft:
        np.save(draft / "relevance.npy", np.zeros((3, 2), dtype=np.float32))
        np.save(draft / "caption_ids.npy", np.arange(3))
        np.save(draft / "image_ids.npy", np.arange(5))
    with pytest.raises(RelalignError, match="5 images"):
        load_relevance(layout.relevance)
