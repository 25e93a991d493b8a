"""The weight of the study's control `iais-entropy`: the one whose attention ends as flat as that of `iais`.

`python -m benchmarks.entropy_control --weights 8 32 128`, after a run of the pipeline: trains `iais` and
`iais-off` as the study does (study.yaml, as tuned in docs/search), and IAIS with `alignment: entropy` at each
weight, and prints how flat attention is on the *validation* split, means over seeds. The test split is not read.
"""

import argparse
from pathlib import Path

import torch

from benchmarks.attention import BLOCKS, flatness
from relalign.methods.model_files import load_model
from relalign.settings import load_params
from relalign.study.layout import SEARCH, StudyLayout
from relalign.study.record import kept_path, read_search
from relalign.study.settings import changed, load_study, only
from relalign.training.runs import train
from relalign.training.split_data import load_split


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.entropy_control", description=__doc__)
    parser.add_argument("--dataset", help="default: that of params.yaml")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--weights", nargs="+", type=float, required=True, help="values of lambda_iais to try")
    chosen = parser.parse_args()

    params, root = load_params(Path("params.yaml")), Path.cwd()
    study, dataset = load_study(root / "study.yaml", params), chosen.dataset or params.dataset
    tuned = read_search(kept_path(root, dataset)).chosen("iais")
    tries = {"iais-off": {"lambda_iais": 0.0}, "iais": {}}
    tries |= {f"entropy-{w:g}": {"alignment": "entropy", "lambda_iais": w} for w in chosen.weights}
    layout = StudyLayout.of(root, dataset, SEARCH, params)
    print(f"{'relative entropy':24}" + "".join(f"{name:>18}" for name in BLOCKS) + f"{'ISD, singular':>16}")
    for name, change in tries.items():
        made_with = changed(params, study, "iais", {**tuned, **change}, where=name)
        one = only(params, dataset, name, made_with)
        data = load_split(one, layout, "val", device=torch.device("cpu"))
        found = []
        for seed in chosen.seeds:
            folder = layout.run(name, seed) / "model"
            if not folder.exists():
                train(one, layout, method=name, seed=seed)
            found.append(flatness(load_model(folder), data))
        *flat, distance = torch.tensor(found).mean(dim=0).tolist()
        print(f"{name:24}" + "".join(f"{value:18.5f}" for value in flat) + f"{distance:16.6f}", flush=True)


if __name__ == "__main__":
    main()
