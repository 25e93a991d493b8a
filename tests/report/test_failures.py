"""Failures are the worst by the printed rule, found the slow way too."""

from hypothesis import given
from hypothesis import strategies as st

from relalign.layout import Layout
from relalign.report.examples import TOP
from relalign.report.failures import hubs, read_failures
from relalign.settings import Params
from tests.runs_on_disk import random_embeddings


@given(st.integers(1, 12), st.integers(1, 3), st.integers(0, 5))
def test_hubs_are_counted_as_one_by_one(images: int, captions: int, seed: int) -> None:
    model = random_embeddings(images=images, captions=captions, seed=seed)
    slow: dict[int, int] = {}
    for text in range(len(model.text)):
        scores = model.text[text] @ model.image.T
        for row in sorted(range(images), key=lambda row: (-scores[row], row))[:TOP]:
            if row != model.text_to_image[text]:
                slow[row] = slow.get(row, 0) + 1
    assert sum(hubs(model).values()) == sum(slow.values())
    assert {row for row, count in hubs(model).items() if count} == set(slow)


def test_the_largest_loss_is_that_of_the_query_tables(finished: tuple[Params, Layout]) -> None:
    params, layout = finished
    losses, popular = read_failures(params, layout)
    assert losses.title.startswith("Largest loss")
    for example in losses.examples:
        assert list(example.answers)[0] == params.report.baseline
        before, after = (int(note.split()[1].replace(",", "")) for note in example.note.values())
        assert after > before
    assert [list(example.answers) for example in popular.examples] == [[name] for name in params.methods]
    for example in popular.examples:
        assert all(found.right is False for answers in example.answers.values() for found in answers)


def test_no_failures_when_no_examples_are_wanted(finished: tuple[Params, Layout]) -> None:
    params, layout = finished
    none = params.model_copy(update={"report": params.report.model_copy(update={"examples": 0})})
    assert read_failures(none, layout) == []
