"""How far CoVLR's inner step moves the towers, beside an update of the optimiser.

`python -m benchmarks.meta_step`, after a run of the pipeline; `--dataset` and `--model` look at another run, of
the study for example, `--learning-rate` at another rate than that of params.yaml. A trained model is trained on,
at that rate; the distances are Euclidean, over the weights that take the inner step, and the last half of the
steps counts (AdamW has its moments by then).
"""

import argparse
import statistics
from pathlib import Path

import torch

from relalign.layout import Layout
from relalign.methods.covlr import CovlrMethod
from relalign.methods.model_files import build_method, load_model
from relalign.settings import load_params
from relalign.training.split_data import load_split, open_stores, widths_of


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.meta_step", description=__doc__)
    parser.add_argument("--dataset", help="an entry of datasets in params.yaml; default: its dataset")
    parser.add_argument("--model", type=Path, help="a trained model; default: the pipeline's covlr, first seed")
    parser.add_argument("--learning-rate", type=float, help="default: that of params.yaml")
    parser.add_argument("--steps", type=int, default=20)
    chosen = parser.parse_args()

    params = load_params(Path("params.yaml"))
    params = params.on(chosen.dataset or params.dataset)
    rate = chosen.learning_rate or params.training.learning_rate
    params = params.model_copy(update={"training": params.training.model_copy(update={"learning_rate": rate})})
    layout = Layout(Path.cwd(), params.dataset)
    model = chosen.model or layout.run("covlr", params.seeds[0]) / "model"
    method = build_method(params.method["covlr"], params.backbone, widths_of(*open_stores(params, layout)), seed=0)
    assert isinstance(method, CovlrMethod)
    method.backbone.load_state_dict(load_model(model).state_dict())

    found = list(_distances(method.train(), params, layout, chosen.steps))[chosen.steps // 2 :]
    inner, update = (statistics.median(one) for one in zip(*found, strict=True))
    size = method.settings.step_size
    print(f"{model}: medians over {len(found)} steps")
    print(f"inner step of {size:g}: {inner:.2e}   update: {update:.2e}   share: {inner / update:.3f}")
    print(f"as far as an update: an inner step of {size * update / inner:.2g}")


def _distances(method, params, layout, steps):
    """Of each step of training: how far the inner step goes, and how far the update."""
    settings = params.training
    data = load_split(params, layout, "train", device=torch.device("cpu"))
    optimizer = torch.optim.AdamW(
        method.parameters(), settings.learning_rate, betas=(0.9, 0.98), weight_decay=settings.weight_decay
    )
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)  # dropout
    fast = [parameter for name, parameter in method.named_parameters() if method._is_fast(name)]
    done = 0
    while True:
        for batch in data.epoch(
            settings.batch_size, generator, caption_mixing=settings.caption_mixing, captions=method.captions
        ):
            task = method._cross_modal_task(batch, generator)
            gradients = torch.autograd.grad(task, fast, allow_unused=True)
            inner = method.settings.step_size * _norm([one for one in gradients if one is not None])
            before = [parameter.detach().clone() for parameter in fast]
            optimizer.zero_grad(set_to_none=True)
            sum(method.loss(batch, progress=1.0, generator=generator).values()).backward()
            torch.nn.utils.clip_grad_norm_(method.parameters(), settings.gradient_clip)
            optimizer.step()
            yield inner, _norm([parameter.detach() - old for parameter, old in zip(fast, before, strict=True)])
            done += 1
            if done == steps:
                return


def _norm(tensors):
    return torch.stack([one.norm() for one in tensors]).norm().item()


if __name__ == "__main__":
    main()
