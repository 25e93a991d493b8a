"""A tiny project whose trained teachers differ in how good they are: captions that a text teacher can read."""

from pathlib import Path

import numpy as np
import pandas as pd

from relalign.layout import Layout
from relalign.settings import Params
from relalign.system.artifacts import publish
from relalign.teachers.stage import train_teacher
from tests.tiny_project import make_features, tiny_params

TOPICS = ("red apple on table", "old car in street", "small dog runs fast", "two birds over sea")


def taught_params(**sections) -> Params:
    """Both teachers are trained, and CoVLR and Rebalanced ask for them."""
    encoders = ["efficientnet-lite0", "all-minilm-l6-v2"]
    teacher = {"encoders": encoders, "epochs": 4, "batch_size": 16} | sections.pop("teacher", {})
    taught = {"teacher": "trained"}
    method = {
        "covlr": {"algorithm": "covlr", **taught},
        "covlr-auto": {"algorithm": "covlr", "strong": "auto", **taught},
        "rebalanced": {"algorithm": "rebalanced", **taught},
        "rebalanced-auto": {"algorithm": "rebalanced", "strong": "auto", **taught},
        "consensus": {"algorithm": "consensus", **taught},
    }
    return tiny_params(teacher=teacher, method=method, **sections)


def make_teachers(params: Params, layout: Layout) -> None:
    for encoder in params.teacher.encoders:
        train_teacher(params, layout, encoder=encoder)


def make_topics(root: Path, params: Params, *, clear: str) -> Layout:
    """Captions of four topics, which only the vectors of the `clear` modality tell apart."""
    layout = make_features(root, params)
    pairs = pd.read_parquet(layout.pairs / "pairs.parquet")
    topic = (pairs["image_id"] % len(TOPICS)).to_numpy()
    pairs["caption"] = [TOPICS[number] for number in topic]
    with publish(layout.pairs, made_by="tests") as draft:
        pairs.to_parquet(draft / "pairs.parquet")
    random = np.random.default_rng(1)
    for side, name in params.encoders:
        folder = layout.features(name)
        arrays = {path.stem: np.load(path) for path in folder.glob("*.npy")}
        rows, width = arrays["pooled"].shape
        of_row = topic if side == "text" else topic[::2]
        centres = random.normal(size=(len(TOPICS), width))
        noise = random.normal(size=(rows, width))
        arrays["pooled"] = (noise + (8 * centres[of_row] if side == clear else 0)).astype(np.float32)
        with publish(folder, made_by="tests") as draft:
            for key, array in arrays.items():
                np.save(draft / f"{key}.npy", array)
    return layout
