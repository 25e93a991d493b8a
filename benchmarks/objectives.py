"""What a training step of each method costs relative to the baseline's: `python benchmarks/objectives.py`.

Random features in the shapes of the default encoders (49 image tokens of 1280, up to 24 words of 384), the default
backbone and batch size. A step is the loss and its gradient. Methods take turns, and each figure is the median
over the rounds of the ratio to the same round's baseline step, so that a busy machine slows all alike; the ratio
of floating-point operations beside it does not depend on the machine.
"""

import argparse
import statistics
import time

import torch
from pydantic import TypeAdapter
from torch.utils.flop_counter import FlopCounterMode

from relalign.features.batches import Batch
from relalign.features.table import Features, features_of
from relalign.methods import TRAINED
from relalign.methods.method import TrainedMethod
from relalign.model.backbone import Backbone, Widths
from relalign.settings.backbone import Backbone as BackboneSettings
from relalign.settings.methods import Method

WIDTHS = Widths(1280, 1280, 2 * 1280, 384, 384, 7 * 384)
BASELINE = "contrastive"
VARIANTS: dict[str, dict[str, object]] = {
    "contrastive": {"algorithm": "contrastive"},
    "covlr, plain sum": {"algorithm": "covlr", "meta_order": "none"},
    "covlr, first order": {"algorithm": "covlr", "meta_order": "first"},
    "covlr, second order": {"algorithm": "covlr", "meta_order": "second"},
    "covlr, cosine relations": {"algorithm": "covlr", "relation": "cosine"},
    "covlr, cluster relations": {"algorithm": "covlr", "relation": "cluster"},
    "rebalanced, stage 1": {"algorithm": "rebalanced", "stage_one": 1.0},
    "rebalanced, stage 2": {"algorithm": "rebalanced", "stage_one": 0.0},
    "rebalanced, wasserstein": {"algorithm": "rebalanced", "stage_one": 0.0, "distance": "wasserstein"},
    "iais, singular": {"algorithm": "iais"},
    "iais, distributed": {"algorithm": "iais", "alignment": "distributed"},
    "consensus": {"algorithm": "consensus"},
    "iais, ranking": {"algorithm": "iais", "task": "ranking"},
    "iais, ranking of 128 near": {"algorithm": "iais", "task": "ranking", "ranking_prefilter": 128},
}
BUDGETS = {"covlr, first order": 2.2, "covlr, second order": 4.0, "iais, singular": 1.5, "iais, distributed": 1.5}
BUDGETS |= {"iais, ranking of 128 near": 1.5}


def random_features(
    generator: torch.Generator, rows: int, tokens: int, width: int, summary: int, shortest: int
) -> Features:
    lengths = torch.randint(shortest, tokens + 1, (rows,), generator=generator)
    values = torch.randn(rows, tokens, width, generator=generator).half()
    vectors = (torch.randn(rows, size, generator=generator) for size in (width, summary))
    return features_of(values, lengths, *vectors)


def random_batch(rows: int) -> Batch:
    generator = torch.Generator().manual_seed(0)
    ids = torch.arange(rows)
    texts = [random_features(generator, rows, 24, WIDTHS.text_tokens, WIDTHS.text_summary, 6) for _ in range(5)]
    return Batch(
        ids,
        ids,
        random_features(generator, rows, 49, WIDTHS.image_tokens, WIDTHS.image_summary, 49),
        *texts[:2],
        unmixed_text=texts[0],
        further_texts=tuple(texts[2:]),
    )


def build(settings: dict[str, object]) -> TrainedMethod:
    chosen = TypeAdapter(Method).validate_python(settings)
    torch.manual_seed(0)
    backbone = Backbone(BackboneSettings(), WIDTHS, temperature=chosen.temperature)
    return TRAINED[chosen.algorithm](backbone, chosen, widths=WIDTHS).train()


def step(method: TrainedMethod, batch: Batch) -> float:
    generator = torch.Generator().manual_seed(0)
    started = time.perf_counter()
    terms = method.loss(batch, progress=0.5, generator=generator)
    torch.stack(list(terms.values())).sum().backward()
    seconds = time.perf_counter() - started
    method.zero_grad(set_to_none=True)
    return seconds


def operations(method: TrainedMethod, batch: Batch) -> int:
    counter = FlopCounterMode(display=False)
    with counter:
        step(method, batch)
    return counter.get_total_flops()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--batch-size", type=int, default=1024)
    arguments.add_argument("--threads", type=int, default=1)
    given = arguments.parse_args()
    torch.set_num_threads(given.threads)
    batch = random_batch(given.batch_size)
    methods = {name: build(settings) for name, settings in VARIANTS.items()}
    counts = {name: operations(method, batch) for name, method in methods.items()}  # also warms up
    rounds = [{name: step(method, batch) for name, method in methods.items()} for _ in range(given.rounds)]
    print(f"{'method':26} {'seconds':>8} {'time x':>7} {'flop x':>7} {'budget x':>8}")
    for name in methods:
        seconds = statistics.median(row[name] for row in rounds)
        ratio = statistics.median(row[name] / row[BASELINE] for row in rounds)
        budget = f"{BUDGETS[name]:8.1f}" if name in BUDGETS else ""
        print(f"{name:26} {seconds:8.3f} {ratio:7.2f} {counts[name] / counts[BASELINE]:7.2f} {budget}".rstrip())


if __name__ == "__main__":
    main()
