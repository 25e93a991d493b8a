"""What the processes of one training do together (`training.processes`); with one process, nothing.

Every process runs the same program on the same batch with the same random numbers, so that all hold the same
weights. Only what is dear is divided, by rows of the batch (`by_rows`): each process computes its own rows, and
all get those of all. Losses, and so negatives, are of the whole batch.

Gradients are exact. Behind the division every process has the gradient of the same loss: what comes back to its
own rows is their slice of it. Before the division, the gradient of what all have (weights, inputs) is the sum
over the processes. Both rules are differentiable again, as a meta step of second order asks for: inner gradients
are whole on every process, and no method needs to know of any of this.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from math import prod
from typing import Any, TypeVar

import torch
import torch.distributed as group
import torch.nn.functional as F
from jaxtyping import Shaped
from torch import Tensor, nn
from torch.func import functional_call

from relalign.errors import RelalignError

LOST = "Another process of this training has ended, and this one with it. Run the same command again."

Value = TypeVar("Value")
Shapes = list[tuple[int, ...]]


def number() -> int:
    """How many processes train together."""
    return group.get_world_size() if group.is_available() and group.is_initialized() else 1


def own_place() -> int:
    """Which of them this is, from 0 on; 0 alone writes files and logs."""
    return group.get_rank() if number() > 1 else 0


def by_rows(
    module: nn.Module, work: Callable[..., Sequence[Tensor]], rows: int, given: Sequence[Tensor] = ()
) -> Sequence[Shaped[Tensor, "rows ..."]]:
    """`work(call, own, *given)` for all rows, of which each process does its `own`.

    `work` uses weights only through `call`, which is `module`, and no other tensors with a gradient than `given`.
    What it returns has a row for each of `own`; where processes differ in another dimension, the shorter is filled
    up with zeros. Too few rows to give one to each process are done by all.

    Dropout differs between the processes, as it does between rows: it is the same each time, but not that of one
    process.
    """
    device = next(module.parameters()).device
    every = torch.arange(rows, device=device)
    if rows < number():
        return work(module, every, *given)
    weights = {name: value for name, value in module.named_parameters() if value.requires_grad}
    learned = [value for value in given if value.requires_grad]
    copies = iter(_applied(_Shared, *weights.values(), *learned))
    replaced = {name: next(copies) for name in weights}
    inputs = [next(copies) if value.requires_grad else value for value in given]
    own = every.tensor_split(number())[own_place()]
    with _own_randomness(device):
        parts = work(lambda *arguments: functional_call(module, replaced, arguments), own, *inputs)
    whole: Sequence[Tensor] = _applied(_All, _shapes(parts), *parts)
    return whole


def agree(tensors: Iterable[Tensor]) -> None:
    """Give all processes the first one's values, in place: the last bits may differ on a GPU, and would drift."""
    if number() > 1:
        _together(tensors, lambda values: group.broadcast(values, 0))


def agreed(value: Value) -> Value:
    """The first process's value, for all of them."""
    if number() == 1:
        return value
    box = [value]
    with _all_there():
        group.broadcast_object_list(box, 0)
    return box[0]


def _applied(function: type[torch.autograd.Function], *arguments: Any) -> Any:
    return function.apply(*arguments)


class _Shared(torch.autograd.Function):
    """What all processes have, for each to use in its own way: its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> Any:
        ctx.set_materialize_grads(False)  # what nobody uses has no gradient, which is not the same as zero
        return tuple(tensor.view_as(tensor) for tensor in tensors)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> Any:
        sums = iter(_applied(_Sum, *(gradient for gradient in gradients if gradient is not None)))
        return tuple(None if gradient is None else next(sums) for gradient in gradients)


class _Sum(torch.autograd.Function):
    """The sum over the processes, which then all have: the gradient of each one's part is that of the sum."""

    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> Any:
        ctx.set_materialize_grads(False)
        sums = [tensor.clone() for tensor in tensors]
        _together(sums, group.all_reduce)
        return tuple(sums)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> Any:
        shared = iter(_applied(_Shared, *(gradient for gradient in gradients if gradient is not None)))
        return tuple(None if gradient is None else next(shared) for gradient in gradients)


class _All(torch.autograd.Function):
    """The rows of all processes, one's below the other's, filled up with zeros to the widest."""

    @staticmethod
    def forward(ctx: Any, shapes: list[Shapes], *parts: Tensor) -> Any:
        ctx.set_materialize_grads(False)
        ctx.shapes = shapes
        # All parts in one message: each message has its cost.
        own = torch.cat([part.contiguous().flatten().view(torch.uint8) for part in parts])
        sizes = [
            [prod(shape) * part.element_size() for shape in of_each]
            for part, of_each in zip(parts, shapes, strict=True)
        ]
        longest = max(map(sum, zip(*sizes, strict=True)))
        received = [own.new_empty(longest) for _ in range(number())]
        with _all_there():
            group.all_gather(received, F.pad(own, (0, longest - len(own))))
        streams = [
            iter(one.split([*lengths, longest - sum(lengths)]))
            for one, lengths in zip(received, zip(*sizes, strict=True), strict=True)
        ]
        return tuple(
            _below_each_other(
                # A copy begins where numbers of its kind may begin.
                [
                    next(stream).clone().view(part.dtype).view(shape)
                    for stream, shape in zip(streams, of_each, strict=True)
                ]
            )
            for part, of_each in zip(parts, shapes, strict=True)
        )

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> Any:
        own = [
            None if gradient is None else _applied(_Own, gradient, of_each)
            for gradient, of_each in zip(gradients, ctx.shapes, strict=True)
        ]
        return None, *own


def _below_each_other(parts: Sequence[Tensor]) -> Tensor:
    widest = [max(widths) for widths in zip(*(part.shape[1:] for part in parts), strict=True)]
    whole = parts[0].new_zeros((sum(map(len, parts)), *widest))
    for rows, part in zip(whole.split(list(map(len, parts))), parts, strict=True):
        rows[(slice(None), *map(slice, part.shape[1:]))] = part
    return whole


class _Own(torch.autograd.Function):
    """This process's rows of what all have."""

    @staticmethod
    def forward(ctx: Any, every: Tensor, shapes: Shapes) -> Tensor:
        ctx.shapes = shapes
        rows, *widths = shapes[own_place()]
        first = sum(shape[0] for shape in shapes[: own_place()])
        return every[(slice(first, first + rows), *map(slice, widths))].clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return *_applied(_All, [ctx.shapes], gradient), None


def _shapes(parts: Sequence[Tensor]) -> list[Shapes]:
    """For each part, its shape in each process."""
    own = torch.tensor([size for part in parts for size in part.shape])
    found = [torch.empty_like(own) for _ in range(number())]
    with _all_there():
        group.all_gather(found, own)
    sizes = [iter(one.tolist()) for one in found]
    return [[tuple(next(one) for _ in part.shape) for one in sizes] for part in parts]


@torch.no_grad()
def _together(tensors: Iterable[Tensor], exchange: Callable[[Tensor], Any]) -> None:
    """Change tensors in place by one exchange for all of a kind."""
    kinds: dict[Any, list[Tensor]] = {}
    for tensor in tensors:
        kinds.setdefault((tensor.dtype, tensor.device), []).append(tensor)
    for members in kinds.values():
        joint = torch.cat([member.flatten() for member in members])
        with _all_there():
            exchange(joint)
        for member, values in zip(members, joint.split([member.numel() for member in members]), strict=True):
            member.copy_(values.view_as(member))


@contextmanager
def _own_randomness(device: torch.device) -> Iterator[None]:
    """Random numbers that differ between processes and follow from those that all share, which go on the same."""
    seed = int(torch.randint(2**62, ())) + own_place()
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


@contextmanager
def _all_there() -> Iterator[None]:
    """What a message to a process that is gone raises, as a sentence."""
    try:
        yield
    except RuntimeError as error:
        raise RelalignError(LOST) from error
