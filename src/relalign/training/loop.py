"""One training loop for every method and teacher: same data order, schedule and selection; only `loss` differs.

AdamW with linear warm-up and cosine decay, an exponential average of the weights, early stopping, and selection of
the epoch with the best score on the validation split (a method's is its Rsum), among those of the last part of the
training. With `pretrained_share` what is evaluated, selected and left is so far on the way from the averaged
weights back to the start, where that is a model of its own (WiSE-FT, arXiv 2109.01903). The history begins with
the start (a method's is the closed-form CCA solution), which is not selected: what is trained is trained. The test
split is never read here.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import cos, pi
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from tqdm import tqdm

from relalign.errors import RelalignError
from relalign.features.batches import Batch, SplitData
from relalign.features.encoders.trained import TrainedEncoder
from relalign.methods.learner import Learner
from relalign.model.precision import in_precision
from relalign.settings.training import Training
from relalign.system import processes
from relalign.system.timer import Every
from relalign.training.checkpoint import (
    Checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from relalign.training.history import Row
from relalign.training.optimizer import AdamW, Group

logger = logging.getLogger(__name__)


@dataclass
class Progress:
    """All that changes from epoch to epoch and is not a weight."""

    epoch: int = 0
    best_epoch: int = 0
    best_score: float = -1.0
    history: list[Row] = field(default_factory=list)


class State(NamedTuple):
    """Everything a checkpoint holds."""

    method: Learner
    average: dict[str, Tensor]
    best: dict[str, Tensor]
    optimizer: AdamW
    progress: Progress


def fit(
    method: Learner,
    train: SplitData,
    measure: Callable[[], Row],
    settings: Training,
    *,
    seed: int,
    checkpoint: Path,
    key: str,
    score: str = "val/rsum",
    on_epoch: Callable[[Row], None] = lambda row: None,
) -> Progress:
    """Train in place, leaving the best epoch's (averaged) weights in `method`; resumes from `checkpoint`.

    `measure` gives the validation metrics of `method` as it is; `score` names the one that selects. `key` says
    which work a checkpoint belongs to. Every row of the history, of which the first is the start, is passed to
    `on_epoch`, those of epochs before a resume included. Only epochs after `select_from` of the training can be
    selected, and only they count for stopping: alike for all methods, so that none is ahead for having been taken
    later. Raises `RelalignError` if the method's objective is not complete by then, or if the loss stops
    being finite.
    """
    if method.complete_from > settings.select_from:
        raise RelalignError(
            f"training.select_from is {settings.select_from:g}, but the objective of {type(method).__name__} "
            f"is complete only from {method.complete_from:g} of it on: an epoch without it could be selected. "
            "Raise training.select_from, or let the method's stage or annealing end earlier."
        )
    start = _start_of(method) if settings.pretrained_share else {}
    state = _start(method, settings, checkpoint, key)
    progress = state.progress
    if not progress.history:
        method.eval()
        progress.history.append({"epoch": 0, **processes.agreed(measure())})
    for row in progress.history:
        on_epoch(row)
    due = Every(settings.checkpoint_seconds)
    first = processes.own_place() == 0
    bar = tqdm(
        total=settings.epochs,
        initial=progress.epoch,
        desc="training",
        unit="epoch",
        mininterval=5,
        disable=not first,
    )
    not_before = settings.select_from * settings.epochs
    while progress.epoch < settings.epochs and (
        progress.best_epoch == 0 or progress.epoch - progress.best_epoch < settings.patience
    ):
        row = _run_epoch(state, train, settings, seed=seed)
        progress.epoch += 1
        if progress.epoch % settings.validate_every == 0 or progress.epoch == settings.epochs:
            evaluated = _towards(start, state.average, settings.pretrained_share)
            with _weights(method, evaluated):
                row |= processes.agreed(measure())
            if row[score] > progress.best_score and progress.epoch > not_before:
                progress.best_epoch, progress.best_score = progress.epoch, float(row[score])
                state.best.update({name: tensor.clone() for name, tensor in evaluated.items()})
        progress.history.append(row)
        on_epoch(row)
        bar.update()
        bar.set_postfix(loss=f"{row['loss/total']:.3f}", best=f"{progress.best_score:.1f}")
        if first and due():
            _save(state, checkpoint, key)
    bar.close()
    method.load_state_dict(state.best)
    return progress


def _start(method: Learner, settings: Training, checkpoint: Path, key: str) -> State:
    processes.agree(method.state_dict().values())
    optimizer = AdamW(_groups(method, settings))
    saved = load_checkpoint(checkpoint, key=key)
    if saved is None:
        return State(method, _copy(method), _copy(method), optimizer, Progress())
    progress = Progress(**saved.values)
    logger.info("resuming after epoch %d from %s", progress.epoch, checkpoint)
    method.load_state_dict(saved.tensors["model"])
    optimizer.restore(saved.tensors.get("optimizer", {}))
    device = next(method.parameters()).device
    average, best = ({n: t.to(device) for n, t in saved.tensors[g].items()} for g in ("average", "best"))
    return State(method, average, best, optimizer, progress)


def _groups(method: Learner, settings: Training) -> list[Group]:
    """Each with the peak of its learning rate; matrices alone decay.

    AdamW moves a parameter by about the learning rate a step, whatever its gradient. At the weights' rate a
    temperature or a teacher mix would stay where it started; and a rate at which layers learn that start at random
    soon takes those away from a good start that have one.
    """
    rates = dict.fromkeys(method.started_parameters(), settings.learning_rate)
    rates |= dict.fromkeys(method.language_parameters(), settings.encoder_learning_rate)
    for encoder in method.trained_encoders.values():
        rates |= encoder_rates(encoder, settings)
    fresh = settings.fresh_learning_rate or settings.learning_rate
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter in method.parameters():
        rate = rates.get(parameter, fresh)
        key = (
            settings.scalar_learning_rate if parameter.ndim == 0 else rate,
            settings.weight_decay if parameter.ndim >= 2 else 0.0,
        )
        groups.setdefault(key, []).append(parameter)
    return [Group(members, peak, decay) for (peak, decay), members in groups.items()]


def encoder_rates(encoder: TrainedEncoder, settings: Training) -> dict[nn.Parameter, float]:
    """The peak of each weight of an encoder: `encoder_learning_rate` for the last layer's and for what is in no
    layer; each layer below has `layer_decay` of the one above it."""
    rates = dict.fromkeys(encoder.parameters(), settings.encoder_learning_rate)
    for below, layer in enumerate(reversed(encoder.trained_layers())):
        rates |= dict.fromkeys(layer.parameters(), settings.encoder_learning_rate * settings.layer_decay**below)
    return rates


def _start_of(method: Learner) -> dict[str, Tensor]:
    """The weights, as they are now, of what is a model of its own before any training; by name."""
    own = {id(weight) for module in method.pretrained_modules() for weight in module.parameters()}
    return {name: weight.detach().clone() for name, weight in method.named_parameters() if id(weight) in own}


def _towards(start: Mapping[str, Tensor], weights: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """`weights` with those of `start` mixed in by a share."""
    return weights | {name: weights[name].lerp(value, share) for name, value in start.items()}


def _save(state: State, folder: Path, key: str) -> None:
    tensors: Mapping[str, Mapping[str, Tensor]] = {
        "model": state.method.state_dict(),
        "average": state.average,
        "best": state.best,
        "optimizer": state.optimizer.tensors(),
    }
    save_checkpoint(folder, Checkpoint(tensors, vars(state.progress)), key=key)


def _copy(method: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in method.state_dict().items()}


@contextmanager
def _weights(method: nn.Module, weights: Mapping[str, Tensor]) -> Iterator[None]:
    own = _copy(method)
    method.load_state_dict(weights)
    try:
        yield
    finally:
        method.load_state_dict(own)


def _run_epoch(state: State, train: SplitData, settings: Training, *, seed: int) -> Row:
    """One pass over the training images; everything random follows from the seed and the epoch's number."""
    method, progress = state.method, state.progress
    steps = train.batches(settings.batch_size)
    device = train.image_ids.device
    # The data order has a generator of its own, so that it is the same for every method.
    order, draws = (torch.Generator().manual_seed(2 * (seed * 1_000_003 + progress.epoch) + i) for i in (0, 1))
    sums: dict[str, float] = {}
    method.train()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed * 1_000_003 + progress.epoch)  # dropout knows only the global generator
        batches = train.epoch(
            settings.batch_size,
            order,
            caption_mixing=0.0 if "text" in method.trained_encoders else settings.caption_mixing,
            captions=max(method.captions, settings.captions_per_step),
            contrasted=settings.captions_per_step,
        )
        for index, batch in enumerate(batches):
            done = (progress.epoch * steps + index) / (settings.epochs * steps)
            for name, value in _step(state, batch, settings, done, draws).items():
                sums[name] = sums.get(name, 0.0) + value
    method.eval()
    rate = settings.learning_rate * _schedule(settings, done)
    losses = {f"loss/{name}": total / (index + 1) for name, total in sums.items()}
    return {"epoch": progress.epoch + 1, "learning_rate": rate, **losses, **method.scalars()}


def _step(state: State, batch: Batch, settings: Training, done: float, draws: torch.Generator) -> dict[str, float]:
    with in_precision(batch.image_ids.device, settings.precision):
        terms = state.method.loss(batch, progress=done, generator=draws)
    total = torch.stack([term.float() for term in terms.values()]).sum()
    if not total.isfinite():
        values = {name: term.item() for name, term in terms.items()}
        raise RelalignError(
            f"The loss is not finite after epoch {state.progress.epoch}: {values}. "
            "Lower training.learning_rate or the weight of that term."
        )
    state.optimizer.zero_grad()
    total.backward()
    processes.agree(parameter.grad for parameter in state.method.parameters() if parameter.grad is not None)
    nn.utils.clip_grad_norm_(state.method.parameters(), settings.gradient_clip)
    state.optimizer.step(_schedule(settings, done))
    state.method.project()
    _update_average(state, settings.average_decay)
    return {"total": total.item(), **{name: term.item() for name, term in terms.items()}}


@torch.no_grad()
def _update_average(state: State, decay: float) -> None:
    # Numbers that are no weights, such as places in a window, stay.
    current = {name: value for name, value in state.method.state_dict().items() if value.is_floating_point()}
    torch._foreach_lerp_([state.average[name] for name in current], list(current.values()), 1 - decay)


def _schedule(settings: Training, done: float) -> float:
    """The share of its peak that a learning rate has: linear warm-up, then half a cosine."""
    if done < settings.warmup:
        return min((done + 1e-3) / settings.warmup, 1.0)
    return 0.5 * (1 + cos(pi * (done - settings.warmup) / max(1 - settings.warmup, 1e-9)))
