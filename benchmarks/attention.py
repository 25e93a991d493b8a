"""How flat attention is: the entropy of its rows relative to that of uniform ones, over matching test pairs.

`python -m benchmarks.attention results/openmoji/iais/seed0/model ...`, after a run of the pipeline or the study;
a row a model, 1 is uniform. The attention distance (ISD) of uniform attention is 0: read one beside the other.
"""

import argparse
from pathlib import Path

import torch

from relalign.layout import Layout
from relalign.methods.model_files import load_model
from relalign.metrics.isd import attention_distance
from relalign.settings import load_params
from relalign.training.split_data import load_split

PAIRS = 256
BLOCKS = {"words": "text_text", "regions": "image_image", "words to regions": "text_image", "back": "image_text"}


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attention", description=__doc__)
    parser.add_argument("--dataset", help="an entry of datasets in params.yaml; default: its dataset")
    parser.add_argument("models", nargs="+", type=Path)
    chosen = parser.parse_args()

    params = load_params(Path("params.yaml"))
    params = params.on(chosen.dataset or params.dataset)
    data = load_split(params, Layout(Path.cwd(), params.dataset), "test", device=torch.device("cpu"))
    images = torch.arange(min(PAIRS, len(data.image_ids)))
    pairs = data.image.take(images), data.text.take(data.first_caption[images])
    print(
        f"{'entropy relative to uniform of attention among':64}" + "".join(f"{name:>18}" for name in BLOCKS),
        end="",
    )
    print(f"{'ISD, singular':>16}")
    for path in chosen.models:
        model = load_model(path)
        with torch.inference_mode():
            image, text = model.encode_image(pairs[0]), model.encode_text(pairs[1])
            blocks = model.fuse(image, text, attention=True).attention
        flatness = [_relative_entropy(getattr(blocks, name)) for name in BLOCKS.values()]
        distance = attention_distance(**vars(blocks))[0].mean().item()
        print(f"{path!s:64}" + "".join(f"{value:18.4f}" for value in flatness) + f"{distance:16.6f}")


def _relative_entropy(block):
    """Mean over the rows of real tokens that have more than one column to attend to."""
    entropy = -torch.special.xlogy(block, block).sum(-1)
    columns = (block > 0).sum(-1)
    return (entropy / columns.float().log())[columns > 1].mean().item()


if __name__ == "__main__":
    main()
