import json
from importlib import resources

import numpy as np
import pytest
from scipy.stats import spearmanr

from relalign.errors import RelalignError
from relalign.evaluation.judgements import (
    JudgedNames,
    graded_correlation,
    measure_positives,
    read_graded_pairs,
    read_positives,
)
from relalign.retrieval.embeddings import Embeddings
from tests.runs_on_disk import random_embeddings


def own_names(embeddings):
    return JudgedNames(embeddings.image_ids, embeddings.text_ids)


HEADERS = {"sits": "caption,image", "sts": "caption1,caption2", "sis": "image1,image2"}


def coco_name(kind, identity):
    return f"COCO_val2014:sentid:{identity}" if kind == "caption" else f"COCO_val2014_{identity:012d}.jpg"


def write_graded(path, kind, rows):
    """A file in the format of google-research-datasets/Crisscrossed-Captions."""
    columns = [name.rstrip("12") for name in HEADERS[kind].split(",")]
    lines = [
        ",".join(
            [*(coco_name(c, i) for c, i in zip(columns, row[:2], strict=True)), f"{row[2]:.2f}", "c2i_intrasim"]
        )
        for row in rows
    ]
    path.write_text("\n".join([f"{HEADERS[kind]},agg_score,sampling_method", *lines]) + "\n")
    return path


@pytest.mark.parametrize("kind", list(HEADERS))
def test_graded_pairs_are_correlated_by_rank(tmp_path, kind):
    embeddings = random_embeddings(images=15, captions=2)
    rng = np.random.default_rng(0)
    pools = {"caption": (embeddings.text_ids, embeddings.text), "image": (embeddings.image_ids, embeddings.image)}
    sides = [pools[name.rstrip("12")] for name in HEADERS[kind].split(",")]
    places = [rng.integers(0, len(ids), 20) for ids, _ in sides]
    grades = rng.integers(0, 501, 20) / 100
    rows = zip(*(ids[place] for (ids, _), place in zip(sides, places, strict=True)), grades, strict=True)
    pairs = read_graded_pairs(write_graded(tmp_path / "file.csv", kind, rows))
    assert pairs.kind == kind
    similarity = (sides[0][1][places[0]] * sides[1][1][places[1]]).sum(1)
    assert graded_correlation(embeddings, own_names(embeddings), pairs) == pytest.approx(
        spearmanr(similarity, grades).statistic, abs=1e-3
    )


def test_positives_are_measured_over_all_candidates_by_id():
    rows = np.eye(4, dtype=np.float32)
    near = np.array([[1, 0.9, 0, 0], [0.9, 1, 0, 0], [0, 0, 1, 0.5], [0, 0, 0.5, 1]], dtype=np.float32)
    embeddings = Embeddings(
        rows, near, np.array([10, 20, 30, 40]), np.array([1, 2, 3, 4]), np.array([10, 20, 30, 40])
    )
    found = {
        item.name: item.value
        for item in measure_positives(
            embeddings, own_names(embeddings), {10: [2, 3], 30: []}, {4: [30]}, name="eccv", ks=(1, 2)
        )
    }
    assert found == {
        "eccv/i2t/recall@1": 0.0,
        "eccv/i2t/recall@2": 100.0,
        "eccv/i2t/map@r": pytest.approx(25.0),
        "eccv/i2t/r_precision": pytest.approx(50.0),
        "eccv/t2i/recall@1": 0.0,
        "eccv/t2i/recall@2": 100.0,
        "eccv/t2i/map@r": 0.0,
        "eccv/t2i/r_precision": 0.0,
    }


def test_judgements_may_name_rows_by_other_ids_than_the_results():
    embeddings = random_embeddings(images=4, captions=1)
    names = JudgedNames(np.array([7, 5, 3, 1]), np.array([40, 30, 20, 10]))
    items = measure_positives(embeddings, names, {5: [30, 10]}, {}, name="eccv", ks=(1,))
    own = measure_positives(embeddings, own_names(embeddings), {13: [1001, 1003]}, {}, name="eccv", ks=(1,))
    assert [item.query_ids.tolist() for item in items[:3]] == [[13]] * 3
    assert [item.value for item in items[:3]] == [item.value for item in own[:3]]


def test_original_positives_give_the_ordinary_recall():
    embeddings = random_embeddings(images=12, captions=3)
    i2t = {int(i): embeddings.text_ids[embeddings.text_image_ids == i].tolist() for i in embeddings.image_ids}
    t2i = dict(zip(embeddings.text_ids.tolist(), embeddings.text_image_ids[:, None].tolist(), strict=True))
    from relalign.evaluation.cross_modal import measure_recall

    plain = {item.name: item.value for item in measure_recall(embeddings, ks=(1, 5))}
    judged = {
        item.name: item.value
        for item in measure_positives(embeddings, own_names(embeddings), i2t, t2i, name="own", ks=(1, 5))
    }
    for name in ("i2t/recall@1", "i2t/recall@5", "t2i/recall@1", "t2i/recall@5"):
        assert judged[f"own/{name}"] == pytest.approx(plain[name])


@pytest.mark.parametrize("name", ["eccv", "cxc"])
def test_the_files_of_the_package_eccv_caption_are_read_and_fit_coco_ids(name):
    pytest.importorskip("eccv_caption")
    data = resources.files("eccv_caption") / "data"
    files = [data / f"{name}_{side}.json" for side in ("image_to_caption", "caption_to_image")]
    i2t, t2i = (dict(list(read_positives(file).items())[:300]) for file in files)
    original = read_positives(data / "original_caption_to_image.json")
    captions = np.array(sorted(original), dtype=np.int64)
    owner = np.array([original[int(caption)][0] for caption in captions], dtype=np.int64)
    rng = np.random.default_rng(0)
    ids = np.unique(owner)
    image = rng.standard_normal((len(ids), 4)).astype(np.float32)
    text = rng.standard_normal((len(captions), 4)).astype(np.float32)
    embeddings = Embeddings(image, text, ids, captions, owner)
    items = measure_positives(embeddings, own_names(embeddings), i2t, t2i, name=name, ks=(1,))
    sizes = {item.name: len(item.values) for item in items if item.name.endswith("recall@1")}
    assert sizes == {f"{name}/i2t/recall@1": len(i2t), f"{name}/t2i/recall@1": len(t2i)}


def test_judged_ids_that_are_not_embedded_are_an_error():
    embeddings = random_embeddings(images=3)
    with pytest.raises(RelalignError, match=r"1 judged ids .* \[999\]"):
        measure_positives(embeddings, own_names(embeddings), {10: [999]}, {}, name="eccv", ks=(1,))


@pytest.mark.parametrize("content", ["[", "[1, 2]", '{"a": [1]}'])
def test_a_broken_file_of_positives_is_named(tmp_path, content):
    path = tmp_path / "broken.json"
    path.write_text(content)
    with pytest.raises(RelalignError, match=r"broken\.json"):
        read_positives(path)
    with pytest.raises(RelalignError, match="does not exist"):
        read_positives(tmp_path / "absent.json")


def test_a_broken_graded_file_is_named_with_its_line(tmp_path):
    path = write_graded(tmp_path / "x.csv", "sts", [(1, 2, 3.0)])
    path.write_text(path.read_text() + "nothing,COCO_val2014:sentid:3,1.0,x\n")
    with pytest.raises(RelalignError, match=r"x\.csv, line 3"):
        read_graded_pairs(path)
    path.write_text(json.dumps({}))
    with pytest.raises(RelalignError, match="none of CxC"):
        read_graded_pairs(path)
