"""How flat attention is: the entropy of its rows relative to that of uniform ones, over matching test pairs.

`python -m benchmarks.attention results/openmoji/iais/seed0/model ...`, after a run of the pipeline or the study;
a row a model, 1 is uniform. The attention distance (ISD) of uniform attention is 0: read one beside the other.
"""

import argparse
from pathlib import Path

import torch

from relalign.layout import Layout
from relalign.methods.model_files import load_model
from relalign.metrics.attention_entropy import relative_entropy
from relalign.metrics.isd import attention_distance
from relalign.retrieval.finished import finished
from relalign.settings import load_params
from relalign.training.runs import starting_method
from relalign.training.split_data import load_split

PAIRS = 256
BLOCKS = {"words": "text_text", "regions": "image_image", "words to regions": "text_image", "back": "image_text"}


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attention", description=__doc__)
    parser.add_argument("--dataset", help="an entry of datasets in params.yaml; default: its dataset")
    parser.add_argument("--start", metavar="METHOD", help="also as training of this method starts, with seed 0")
    parser.add_argument("models", nargs="+", type=Path)
    chosen = parser.parse_args()

    params = load_params(Path("params.yaml"))
    params = params.on(chosen.dataset or params.dataset)
    layout = Layout(Path.cwd(), params.dataset)
    data = load_split(params, layout, "test", device=torch.device("cpu"))
    rows = (
        []
        if chosen.start is None
        else [(f"{chosen.start} as training starts", _start(params, layout, chosen.start))]
    )
    print(
        f"{'entropy relative to uniform of attention among':64}" + "".join(f"{name:>18}" for name in BLOCKS),
        end="",
    )
    print(f"{'ISD, singular':>16}")
    for path in chosen.models:
        rows.append((str(path), load_model(path)))
    for label, model in rows:
        *flat, distance = flatness(model, data)
        print(f"{label:64}" + "".join(f"{value:18.4f}" for value in flat) + f"{distance:16.6f}")


def flatness(model, data):
    """Relative entropy of each of BLOCKS, and the singular ISD: means over the first pairs of a split."""
    images = torch.arange(min(PAIRS, len(data.image_ids)))
    whole = finished(model, data)
    pairs = whole.image.take(images), whole.text.take(whole.first_caption[images])
    with torch.inference_mode():
        image, text = model.encode_image(pairs[0]), model.encode_text(pairs[1])
        blocks = model.fuse(image, text, attention=True).attention
    masks = {"text": blocks.text_mask, "image": blocks.image_mask}
    flat = (
        relative_entropy(getattr(blocks, name), *(masks[side] for side in name.split("_")))
        for name in BLOCKS.values()
    )
    return [*(one.mean().item() for one in flat), attention_distance(**vars(blocks))[0].mean().item()]


def _start(params, layout, method):
    device = torch.device("cpu")
    data = load_split(params, layout, "train", device=device, seed=0)
    return starting_method(params, layout, params.settings_of(method), data, seed=0)[0].backbone.eval()


if __name__ == "__main__":
    main()
