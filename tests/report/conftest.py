"""A small finished project: real files of every kind the report reads, made by the functions that make them."""

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image, ImageDraw

from relalign.comparison.stage import compare
from relalign.evaluation.cross_modal import measure_recall
from relalign.evaluation.result_files import write_evaluation
from relalign.layout import Layout
from relalign.metrics.measurement import Measurement
from relalign.retrieval.embeddings import Embeddings, write_embeddings
from relalign.settings import Params, parse_params
from relalign.system.artifacts import publish

PROJECT = Path(__file__).parents[2]
TRAINED, TESTED = 30, 24
VALIDATION = {
    "images": {"seen": 56, "skipped": {"truncated": ["a.png", "b.png"]}, "converted": {}},
    "captions": {"seen": 111, "skipped": {"empty": [{"origin": "line 3"}]}},
    "near_duplicates": {"groups": 4, "dropped": ["c.png"]},
}


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Params, Layout]:
    """Three methods over two seeds on a toy set of coloured squares; `good` is far better than the baseline."""
    return make_project(tmp_path_factory.mktemp("project with a space"))


def make_project(root: Path) -> tuple[Params, Layout]:
    raw = yaml.safe_load((PROJECT / "params.yaml").read_text())
    raw |= {"dataset": "squares", "methods": ["cca", "contrastive", "good"], "seeds": [0, 1]}
    source = {"url": "file:squares.zip", "licence": "CC0 <1.0>", "attribution": "nobody & sons"}
    raw["datasets"] = {"squares": {"reader": "table", "sources": {"pictures": source}}}
    raw["method"] = {
        "cca": {"algorithm": "cca"},
        "contrastive": {"algorithm": "contrastive"},
        "good": {"algorithm": "contrastive", "temperature": 0.05},
    }
    raw["evaluate"] = {"bootstrap_samples": 100, "permutations": 999}
    raw["report"] = {"baseline": "contrastive"}
    raw["tracking"] = {"enabled": False}
    params = parse_params(raw)
    layout = Layout(root, "squares")
    _write_pairs(layout)
    for place, method in enumerate(params.methods):
        for seed in params.seeds:
            _write_run(layout.run(method, seed), params, noise=(2.2, 1.6, 0.4)[place], seed=10 * place + seed)
    compare(params, layout)
    return params, layout


def _write_pairs(layout: Layout) -> None:
    folder = layout.raw / "images"
    folder.mkdir(parents=True)
    rows = []
    for image in range(TRAINED + TESTED):
        picture = Image.new("RGB", (64, 64), "white")
        colour = tuple(int(v) for v in np.random.default_rng(image).integers(40, 220, 3))
        ImageDraw.Draw(picture).ellipse((8, 8, 56, 56), fill=colour)
        picture.save(folder / f"{image}.png")
        path = (folder / f"{image}.png").relative_to(layout.root).as_posix()
        split = "train" if image < TRAINED else "test"
        rows += [(2 * image + n, image, f"caption {n} of disc {image} <b>", path, split) for n in range(2)]
    with publish(layout.pairs, made_by="test") as draft:
        columns = ["caption_id", "image_id", "caption", "image_path", "split"]
        pd.DataFrame(rows, columns=columns).to_parquet(draft / "pairs.parquet")
        (draft / "validation.json").write_text(json.dumps(VALIDATION))


def _write_run(run: Path, params: Params, *, noise: float, seed: int) -> None:
    generator = np.random.default_rng(seed)
    truth = np.random.default_rng(0).standard_normal((TESTED, 16))
    image_ids, text_ids = np.arange(TRAINED, TRAINED + TESTED), np.arange(2 * TRAINED, 2 * (TRAINED + TESTED))
    embeddings = Embeddings(
        _unit(truth + 0.3 * noise * generator.standard_normal(truth.shape)),
        _unit(truth.repeat(2, 0) + noise * generator.standard_normal((2 * TESTED, 16))),
        image_ids,
        text_ids,
        text_ids // 2,
    )
    with publish(run / "model", made_by="test") as draft, (draft / "history.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["epoch", "loss/total", "val/rsum", "val/i2i/ndcg@10", "val/t2t/ndcg@10"])
        writer.writerows(
            [epoch, noise / (epoch + 1), 100 / noise + 5 * epoch**0.5, 60 - epoch, 80 - epoch]
            for epoch in range(6)
        )
    with publish(run / "embeddings", made_by="test") as draft:
        write_embeddings(draft, embeddings)
    measured = measure_recall(embeddings, ks=params.evaluate.recall_at)
    graded = 100 * np.clip(generator.normal(0.9 - noise / 5, 0.1, TESTED), 0, 1)
    measured += [
        Measurement(f"{side}/ndcg@10", image_ids, image_ids, graded - place)
        for place, side in enumerate(("i2i", "t2t"))
    ]
    with publish(run / "evaluation", made_by="test") as draft:
        metrics = write_evaluation(draft, measured, {"geometry/modality_gap": noise}, params.evaluate)
    (run / "metrics.json").write_text(json.dumps(metrics))


def _unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
