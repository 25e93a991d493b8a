"""No bytes bring a reader of files to anything but rows, pixels or one sentence."""

import json
import os
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relalign.errors import RelalignError
from tests.reliability import fuzz
from tests.reliability.hostile_bytes import KINDS, reads

EACH = pytest.mark.parametrize("kind", KINDS)
BOUNDED = settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
KEYS = ("images", "annotations", "id", "file_name", "image_id", "caption", "filename", "split", "sentences", "raw")
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.just("a.jpg")),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from((*KEYS, "image", "cocoid", "sentid")), inner, max_size=4)
    ),
    max_leaves=12,
)


@EACH
def test_a_whole_file_is_read(kind: str, tmp_path) -> None:
    KINDS[kind].read(KINDS[kind].whole, tmp_path)


@EACH
@BOUNDED
@given(data=st.data())
def test_changed_cut_and_repeated_bytes_are_read_or_refused_with_a_sentence(
    kind: str, data: st.DataObject
) -> None:
    content = bytearray(KINDS[kind].whole)
    for _ in range(data.draw(st.integers(1, 5))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=8))
        content = content or bytearray(b"x")
    reads(kind, bytes(content[: data.draw(st.integers(0, len(content)))]))


@pytest.mark.parametrize("kind", ["json", "jsonl", "coco", "karpathy", "sidecar"])
@BOUNDED
@given(content=JSON)
def test_json_of_any_shape_is_rows_or_a_sentence(kind: str, content: object) -> None:
    reads(kind, json.dumps(content).encode())


@pytest.mark.parametrize("kind", ["json", "jsonl", "coco", "karpathy", "sidecar", "params"])
@pytest.mark.parametrize("opening", [b"[", b'{"images":['], ids=["lists", "objects"])
def test_json_and_yaml_nested_without_end_are_one_sentence(kind: str, opening: bytes, tmp_path) -> None:
    with pytest.raises(RelalignError, match=r"deep|YAML"):
        KINDS[kind].read(opening * 20_000, tmp_path)


def test_a_billion_laughs_are_refused_in_no_time(tmp_path) -> None:
    lines = ["a0: &a0 {x: 1, y: 2}"]
    for level in range(1, 12):
        lines.append(f"a{level}: &a{level} {{{', '.join(f'k{place}: *a{level - 1}' for place in range(9))}}}")
    lines += ["datasets: *a11", "method: *a11", "methods: [*a11]", "seeds: [*a11]"]
    start = time.perf_counter()
    with pytest.raises(RelalignError, match="datasets"):
        KINDS["params"].read("\n".join(lines).encode(), tmp_path)
    assert time.perf_counter() - start < 20  # 9 ** 11 of them would take years


@pytest.mark.parametrize(
    "text",
    [
        "a: !!python/object/apply:os.system [touch ran]",
        "? [a, b]\n: 1",
        "a: 2001-99-99",
        "seeds: [" + "9" * 6000 + "]",
    ],
    ids=["code", "key", "date", "number"],
)
def test_yaml_that_no_value_can_be_made_of_is_one_sentence(text: str, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RelalignError, match="params.yaml"):
        KINDS["params"].read(text.encode(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]


@pytest.mark.long
@EACH
def test_bytes_made_up_by_a_fuzzer_for_minutes_are_read_or_refused_with_a_sentence(kind: str) -> None:
    assert fuzz.run(kind, int(os.environ.get("FUZZ_SECONDS", "120"))) == 0
