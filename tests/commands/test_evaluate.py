import json
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

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
    from relalign.evaluation.single_modal import measure_single_modal
    from relalign.evaluation.test_set import graded_test_set
    from relalign.retrieval.relevance_files import Relevance

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
        (
            broken("image", np.array([object()])),
            "image.npy is no readable .npy file of numbers",
        ),
        (broken("image", np.full((12, 8), np.nan)), "12 of 12 rows are not finite .* ids 10, 13"),
        (broken("pairs", np.zeros(24)), "pairs.npy is an array of float64"),
        (broken("pairs", np.full(24, 11)), r"pairs.npy names 1 images .* ids \[11\]"),
        (broken("pairs", np.zeros(3, dtype=int)), "pairs.npy has 3 entries, but there are 24 captions"),
        (broken("image-ids", np.zeros(12, dtype=int)), r"image-ids.npy: ids stand twice, such as \[0\]"),
        (lambda files: files["captions"].write_text("one\n"), "captions.txt has 1 lines"),
        (lambda files: files["text"].unlink(), "text.npy does not exist"),
        (lambda files: files["text"].write_bytes(b""), "text.npy is no readable .npy file"),
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


def saved(array, path, *others):
    """The array alone in a file of the ending's kind, or beside others."""
    named = {"mine": array, **{f"other{n}": other for n, other in enumerate(others)}}
    if path.suffix == ".npz":
        np.savez(path, **named)
    elif path.suffix == ".safetensors":
        save_file({name: torch.from_numpy(value.copy()) for name, value in named.items()}, path)
    elif path.suffix in (".pt", ".pth"):
        tensors = {name: torch.from_numpy(value.copy()) for name, value in named.items()}
        torch.save(tensors if others else tensors["mine"], path)
    else:
        pd.DataFrame({name: [*value] for name, value in named.items()}).to_parquet(path)
    return path


@pytest.mark.parametrize("kind", [".npz", ".safetensors", ".pt", ".pth", ".parquet"])
def test_every_kind_of_file_gives_the_numbers_of_npy(files, kind, tmp_path, capsys):
    assert main(command(files, "--bootstrap-samples", "5")) == 0
    expected = capsys.readouterr().out
    arrays = {name: np.load(path) for name, path in files.items() if path.suffix == ".npy"}
    alone = {name: saved(array, tmp_path / f"alone-{name}{kind}") for name, array in arrays.items()}
    assert main(command(files | alone, "--bootstrap-samples", "5")) == 0
    assert capsys.readouterr().out == expected
    several = {n: f"{saved(a, tmp_path / f'all-{n}{kind}', a[::-1])}#mine" for n, a in arrays.items()}
    assert main(command(files | several, "--bootstrap-samples", "5")) == 0
    assert capsys.readouterr().out == expected
    assert main(command(files | {"image": several["image"].removesuffix("#mine")})) == 2
    assert f"holds 2 arrays (mine, other0). Name one: all-image{kind}#mine" in capsys.readouterr().err
    assert main(command(files | {"image": several["image"].replace("#mine", "#none")})) == 2
    assert "holds no array 'none', but mine, other0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("own.csv", b"1,2\n3,4\n", "no file of arrays that is known here"),
        ("own.npy", b"PK\x03\x04", "no readable .npy file"),
        ("own.npy", b"1,2\n3,4\n", "something other than numbers"),
        ("own.npy", b"", "no readable .npy file"),
        ("own.pt", pickle.dumps(print), "no readable .pt file"),
        ("own.safetensors", b"\xff" * 20, "no readable .safetensors file"),
        ("own.parquet", b"PAR1", "no readable .parquet file"),
    ],
)
def test_other_files_are_refused_and_nobody_is_told_to_unpickle(files, name, content, message, tmp_path, capsys):
    (tmp_path / name).write_bytes(content)
    assert main(command(files | {"image": tmp_path / name})) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "allow_pickle" not in said


def test_images_repeated_once_a_caption_are_noticed_and_merged(files, tmp_path, capsys, caplog):
    assert main(command(files, "--bootstrap-samples", "5")) == 0
    expected = capsys.readouterr().out
    assert "different" not in caplog.text
    images, ids, pairs = (np.load(files[name]) for name in ("image", "image-ids", "pairs"))
    place = {number: row for row, number in enumerate(ids)}
    np.save(tmp_path / "repeated.npy", np.stack([images[place[owner]] for owner in pairs]))
    np.save(tmp_path / "rows.npy", np.arange(len(pairs)))
    own = {key: value for key, value in files.items() if key not in ("image-ids", "labels", "captions")}
    own |= {"image": tmp_path / "repeated.npy", "pairs": tmp_path / "rows.npy"}
    assert main(command(own, "--bootstrap-samples", "5")) == 0
    low = capsys.readouterr().out
    assert "of 24 rows only 12 are different" in caplog.text
    assert "--merge-equal-images" in caplog.text
    assert main(command(own, "--bootstrap-samples", "5", "--merge-equal-images")) == 0
    merged = capsys.readouterr().out

    def values(printed):
        rows = (line.split() for line in printed.splitlines()[1:])
        return {row[0]: row[1] for row in rows if row[0].startswith(("i2t/", "t2i/", "rsum"))}

    assert values(merged) == values(expected) != values(low)


def test_one_image_is_a_sentence_not_a_traceback(tmp_path, capsys):
    for name, array in (("i", np.ones((1, 3))), ("t", np.ones((2, 3))), ("p", np.zeros(2, dtype=int))):
        np.save(tmp_path / f"{name}.npy", array)
    paths = {"image": tmp_path / "i.npy", "text": tmp_path / "t.npy", "pairs": tmp_path / "p.npy"}
    assert main(command(paths)) == 2
    assert "nothing to retrieve from fewer than 2 rows" in capsys.readouterr().err
