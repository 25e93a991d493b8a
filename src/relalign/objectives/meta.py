"""One meta step: prefer the way of learning a first task that also serves a second (MetaAlign; CoVLR's abstract).

    theta' = theta - step_size * gradient of meta_train at theta
    minimise  meta_train(theta) + meta_test(theta')

To first order in the step size this is `meta_train + meta_test - step_size <gradient, gradient>`: the two tasks'
gradients are made to agree.
"""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, Literal, TypeVar, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

Order = Literal["first", "second"]
Model = TypeVar("Model", bound=nn.Module)


def meta_step(
    model: Model,
    meta_train: Callable[[Model], Tensor],
    meta_test: Callable[[Model], Tensor],
    *,
    step_size: float,
    order: Order,
    fast: Callable[[str], bool] = lambda name: True,
) -> Float[Tensor, ""]:
    """`meta_train(theta) + meta_test(theta')` as a scalar whose `backward` gives the outer gradient.

    Each task maps the model to its scalar loss. `fast` says which named parameters take the inner step; the
    others, and those `meta_train` does not use, are in theta' as they are in theta. "second" differentiates
    through the inner gradient: `grad tr(theta) + (1 - step_size * Hessian tr(theta)) grad te(theta')`; "first"
    holds it constant: `grad tr(theta) + grad te(theta')`, and only parameters of `model` get gradients. Step
    size 0 is the plain sum of the losses.

    Dropout drops the same units in both passes: the second replays the global random generators from where the
    first began, and they are left where the first ended. The tasks must then draw in the same shapes.

    Example: tr = te = theta^2 / 2 at theta = 1, step size 0.1: value 0.905, gradient 1.9 (first), 1.81 (second).
    """
    parameters = {name: value for name, value in model.named_parameters() if value.requires_grad}
    devices = sorted({value.device for value in parameters.values() if value.is_cuda}, key=str)
    random_states = [torch.get_rng_state(), *map(torch.cuda.get_rng_state, devices)]
    # The fused attention kernels have no second derivative.
    with sdpa_kernel(SDPBackend.MATH) if order == "second" else nullcontext():
        train_loss = meta_train(model)
        # A backward pass under autocast would round what the forward pass kept in float32.
        with torch.autocast(train_loss.device.type, enabled=False):
            gradients = torch.autograd.grad(
                train_loss, list(parameters.values()), create_graph=order == "second", allow_unused=True
            )
        used = {name: g for name, g in zip(parameters, gradients, strict=True) if g is not None}
        moved = {name: parameters[name] - step_size * g for name, g in used.items() if fast(name)}
        with torch.random.fork_rng(devices):
            for state, device in zip(random_states, ["cpu", *devices], strict=True):
                _set_random_state(state, device)
            test_loss = _call_with(model, moved, meta_test)
    if order == "first":
        train_loss = _with_gradients(train_loss, [(parameters[name], g) for name, g in used.items()])
    return train_loss + test_loss


def _set_random_state(state: Tensor, device: Any) -> None:
    if device == "cpu":
        torch.set_rng_state(state)
    else:
        torch.cuda.set_rng_state(state, device)


class _Applied(nn.Module):
    """Makes any function of a model the `forward` that `functional_call` insists on."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, function: Callable[[Any], Tensor]) -> Tensor:
        return function(self.model)


def _call_with(model: nn.Module, replaced: dict[str, Tensor], function: Callable[[Any], Tensor]) -> Tensor:
    named = {f"model.{name}": value for name, value in replaced.items()}
    return cast(Tensor, functional_call(_Applied(model), named, (function,)))


def _with_gradients(loss: Tensor, gradients: list[tuple[Tensor, Tensor]]) -> Tensor:
    """`loss` with gradients already known, so that its graph is not walked (and kept) a second time."""
    zeros = [((parameter - parameter.detach()) * gradient).sum() for parameter, gradient in gradients]
    return loss.detach() + sum(zeros)
