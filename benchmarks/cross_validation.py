"""How a method does with other settings: validation Rsum while it trains, mean over folds of train and val
together.

`python -m benchmarks.cross_validation --method covlr --set training.learning_rate=0.001 backbone.width=1024`,
after a run of the pipeline. Each fold is the validation split of one seed, as with `rotate_validation`; the test
split is never read. The settings of params.yaml for the default data were chosen with this.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import yaml

from relalign.layout import Layout
from relalign.methods.cca import start_from_cca
from relalign.methods.model_files import build_method
from relalign.settings import parse_params
from relalign.training.loop import fit
from relalign.training.process import prepare_process
from relalign.training.split_data import load_split, open_stores, widths_of
from relalign.training.validation import validation_metrics


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cross_validation", description=__doc__)
    parser.add_argument("--method", default="contrastive", help="a trained entry of method; default: %(default)s")
    parser.add_argument("--folds", type=int, default=8, help="how many; default: %(default)s, each image once")
    parser.add_argument(
        "--own-split", action="store_true", help="instead, the val split that the dataset came with"
    )
    parser.add_argument("--set", nargs="*", default=[], metavar="SECTION.KEY=VALUE", help="changes of params.yaml")
    chosen = parser.parse_args()

    raw = yaml.safe_load(Path("params.yaml").read_text())
    for change in chosen.set:
        key, _, value = change.partition("=")
        *path, last = key.split(".")
        section = raw
        for part in path:
            section = section.setdefault(part, {})
        section[last] = yaml.safe_load(value)
    raw["datasets"][raw["dataset"]]["rotate_validation"] = not chosen.own_split
    params = parse_params(raw)
    prepare_process(params)
    layout = Layout(Path.cwd(), params.dataset)

    curves, start = [], time.process_time()
    folds = 1 if chosen.own_split else chosen.folds
    for fold in range(folds):
        curves.append(curve(params, layout, chosen.method, fold))
    epochs, values = list(curves[0]), np.array([list(one.values()) for one in curves])
    gain = values[:, -1] - values[:, 0]
    error = gain.std(ddof=1) / folds**0.5 if folds > 1 else float("nan")
    print(f"{chosen.method} {' '.join(chosen.set)}")
    print("epoch  " + "  ".join(f"{epoch:6}" for epoch in epochs))
    print("Rsum   " + "  ".join(f"{value:6.1f}" for value in values.mean(axis=0)))
    print(f"gain {gain.mean():+.1f} (standard error {error:.1f}), worst fold {gain.min():+.1f}")
    print(f"{(time.process_time() - start) / folds:.1f} CPU seconds a fold")


def curve(params, layout, method, fold):
    """Validation Rsum by epoch of one fold."""
    device = torch.device("cpu")
    train, validation = (load_split(params, layout, split, device=device, seed=fold) for split in ("train", "val"))
    widths = widths_of(*open_stores(params, layout))
    built = build_method(params.settings_of(method), params.backbone, widths, seed=fold)
    start_from_cca(built.backbone, train, params.backbone)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "checkpoint"
        found = fit(
            built,
            train,
            lambda: validation_metrics(built.backbone, validation),
            params.training,
            seed=fold,
            checkpoint=checkpoint,
            key="",
        )
    return {row["epoch"]: row["val/rsum"] for row in found.history if "val/rsum" in row}


if __name__ == "__main__":
    main()
