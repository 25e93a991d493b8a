import json

import numpy as np
import pandas as pd
import pytest

from relalign.cli import main
from tests.runs_on_disk import random_embeddings
from tests.twins import rouge as twin


@pytest.fixture
def files(tmp_path):
    """Shuffled arrays of a random test split, with ids, captions and labels, as options."""
    embeddings = random_embeddings(images=12, captions=2)
    rng = np.random.default_rng(0)
    i, t = rng.permutation(12), rng.permutation(24)
    arrays = {
        "image": embeddings.image[i],
        "text": embeddings.text[t],
        "image-ids": embeddings.image_ids[i],
        "text-ids": embeddings.text_ids[t],
        "pairs": embeddings.text_image_ids[t],
    }
    paths = {}
    for name, array in arrays.items():
        paths[name] = tmp_path / f"{name}.npy"
        np.save(paths[name], array)
    captions = [f"a {'red' if image % 2 else 'blue'} thing {image}" for image in embeddings.text_image_ids[t]]
    for name, lines in (("captions", captions), ("labels", [caption.split()[1] for caption in captions])):
        paths[name] = tmp_path / f"{name}.txt"
        paths[name].write_text("\n".join(lines) + "\n")
    return paths


def command(files, *more):
    return ["evaluate", *(part for name, path in files.items() for part in (f"--{name}", str(path))), *more]


def test_order_of_files_does_not_matter_and_a_run_folder_is_written(files, tmp_path, capsys):
    from relalign.evaluation.cross_modal import measure_recall

    assert main(command(files, "--output", str(tmp_path / "run"), "--bootstrap-samples", "20")) == 0
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    for item in measure_recall(random_embeddings(images=12, captions=2), ks=(1, 5, 10)):
        assert metrics[item.name] == pytest.approx(item.value)
    assert {"i2i/ndcg@10", "mixed/t2it/ndcg@50", "i2i/map@r", "geometry/modality_gap"} <= set(metrics)
    table = pd.read_parquet(tmp_path / "run/evaluation/queries.parquet")
    assert set(table["image_id"]) == set(random_embeddings(images=12).image_ids)
    printed = capsys.readouterr().out
    assert printed.splitlines()[0].split() == ["metric", "value", "95%", "interval", "queries", "images"]
    assert any(
        line.startswith("t2i/recall@1 ") and line.split()[-2:] == ["24", "12"] for line in printed.splitlines()
    )


def test_captions_follow_the_rows_they_were_given_with(files, tmp_path):
    """Relevance computed from shuffled rows equals that of the rows in order of their ids."""
    from relalign.evaluation.relevance_files import Relevance
    from relalign.evaluation.single_modal import measure_single_modal
    from relalign.evaluation.test_set import graded_test_set

    main(command(files, "--output", str(tmp_path / "run")))
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    embeddings = random_embeddings(images=12, captions=2)
    captions = [f"a {'red' if image % 2 else 'blue'} thing {image}" for image in embeddings.text_image_ids]
    matrix = twin.rouge_l(captions, embeddings.text_to_image.tolist(), 12).astype(np.float32)
    test = graded_test_set(embeddings, Relevance(matrix, embeddings.text_ids, embeddings.image_ids))
    for item in measure_single_modal(test, ks=(10,)):
        assert metrics[item.name] == pytest.approx(item.value, rel=1e-6)


def test_rows_are_the_ids_where_none_are_given(tmp_path, capsys):
    np.save(tmp_path / "a.npy", np.eye(3))
    np.save(tmp_path / "b.npy", np.eye(3)[[2, 0]])
    np.save(tmp_path / "p.npy", np.array([2, 0]))
    paths = {"image": tmp_path / "a.npy", "text": tmp_path / "b.npy", "pairs": tmp_path / "p.npy"}
    assert main(command(paths)) == 0
    assert "t2i/recall@1" in capsys.readouterr().out


def broken(name, array):
    return lambda files: np.save(files[name], array)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (broken("image", np.ones((12, 8), dtype=int)), "image.npy is an array of int64"),
        (broken("image", np.ones(12)), "a matrix of floating-point rows"),
        (broken("image", np.ones((12, 5))), "image.npy has 5 columns and .*text.npy has 8"),
        (broken("image", np.array([object()])), "image.npy is no array file"),
        (broken("image", np.full((12, 8), np.nan)), "12 of 12 rows are not finite .* ids 10, 13"),
        (broken("pairs", np.zeros(24)), "pairs.npy is an array of float64"),
        (broken("pairs", np.full(24, 11)), r"pairs.npy names 1 images .* ids \[11\]"),
        (broken("pairs", np.zeros(3, dtype=int)), "pairs.npy has 3 entries, but there are 24 captions"),
        (broken("image-ids", np.zeros(12, dtype=int)), r"image-ids.npy: ids stand twice, such as \[0\]"),
        (lambda files: files["captions"].write_text("one\n"), "captions.txt has 1 lines"),
        (lambda files: files["text"].unlink(), "text.npy does not exist"),
        (lambda files: files["text"].write_bytes(b""), "text.npy is no array file"),
        (lambda files: files.update({"image-teacher": files["image"]}), "go together"),
    ],
)
def test_wrong_files_are_clear_errors(files, capsys, spoil, message):
    import re

    spoil(files)
    assert main(command(files)) == 2
    assert re.search(message, capsys.readouterr().err)


def test_an_error_leaves_no_output(files, tmp_path):
    np.save(files["text"], np.zeros((24, 8)))
    assert main(command(files, "--output", str(tmp_path / "run"))) == 2
    assert not (tmp_path / "run").exists()
