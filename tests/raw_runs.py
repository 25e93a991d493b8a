"""Trained runs of every kind there is, over tiny real pictures and captions."""

from pathlib import Path

import pandas as pd

from relalign.layout import Layout
from relalign.settings import Params
from relalign.training.runs import export, train
from tests.trained_project import CUTS, make_project, trained_params

FROZEN: dict[str, str | None] = {"image": None, "text": None}
# Of each kind of run: its method, its cuts, and the joint model of both encoders.
RUNS = {
    "frozen": ("contrastive", FROZEN, None),
    "cut": ("contrastive", CUTS, None),
    "one side cut": ("contrastive", {**FROZEN, "text": "input"}, None),
    "cca": ("cca", FROZEN, None),
    "cca over a cut": ("cca", CUTS, None),
    "zero shot": ("zero-shot", FROZEN, "clip"),
    "zero shot, padded": ("zero-shot", FROZEN, "siglip"),
}


def trained_run(root: Path, kind: str) -> tuple[Params, Layout, str]:
    """A project in which the run of this kind is trained and exported, and the run's method."""
    method, cuts, joint = RUNS[kind]
    methods = {"zero-shot": {"algorithm": "zero_shot"}} if method == "zero-shot" else {}
    params = trained_params(**cuts, method=methods, training={"epochs": 2})
    layout = make_project(root, params, joint=joint)
    train(params, layout, method=method, seed=0)
    export(params, layout, method=method, seed=0)
    return params, layout, method


def raw(layout: Layout, *, split: str = "test") -> tuple[list[Path], list[str]]:
    """The files of a split's images and its captions, in the order of their ids."""
    pairs = pd.read_parquet(layout.pairs / "pairs.parquet").query("split == @split").sort_values("caption_id")
    images = pairs.drop_duplicates("image_id").sort_values("image_id")["image_path"]
    return [layout.root / path for path in images], pairs["caption"].tolist()
