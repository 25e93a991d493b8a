"""Examples are picked by place, ranked as the metrics rank, and true to the ids."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from relalign.layout import Layout
from relalign.report.examples import TOP, best, evenly, read_examples, thumbnail
from relalign.settings import Params


@given(st.integers(0, 20), st.integers(0, 500))
def test_places_are_distinct_ascending_and_within_bounds(count: int, total: int) -> None:
    places = evenly(count, total)
    assert len(places) == min(count, total)
    assert places == sorted(set(places))
    assert all(0 <= place < total for place in places)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.data())
def test_the_query_itself_is_never_among_its_answers(scores: list[int], data: st.DataObject) -> None:
    own = data.draw(st.integers(0, len(scores) - 1))
    found = best(np.array(scores, np.float32), leave_out=own)
    assert own not in found
    others = sorted((row for row in range(len(scores)) if row != own), key=lambda row: -scores[row])
    assert found == others[:TOP]


def test_right_answers_are_those_of_the_pairs_table(finished: tuple[Params, Layout]) -> None:
    params, layout = finished
    groups = read_examples(params, layout, 3)
    assert [len(group) for group in groups.values()] == [3, 3, 3]
    for example in groups["image → text"]:
        for found in example.answers["good"]:
            disc = found.caption.split("disc ")[1]
            assert found.right == (disc == example.caption.split("disc ")[1])
    assert all(found.right is None for e in groups["image → image"] for found in e.answers["cca"])


def test_no_examples_when_none_are_wanted(finished: tuple[Params, Layout]) -> None:
    assert read_examples(*finished, 0) == {}


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P"])
def test_thumbnails_are_small_jpegs_of_the_whole_picture(mode: str, tmp_path: Path) -> None:
    Image.new("RGB", (400, 200), "navy").convert(mode).save(tmp_path / "wide.png")
    uri = thumbnail(tmp_path / "wide.png")
    with Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as picture:
        assert (picture.format, picture.size, picture.mode) == ("JPEG", (112, 56), "RGB")
