"""AdamW (Loshchilov & Hutter, 2019) over groups of parameters with learning rates of their own.

`torch.optim.AdamW` computes the same by the same kernel, but making one imports torch's compiler, which takes
longer (2.5 s) than a short training.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

BETAS, EPSILON = (0.9, 0.98), 1e-8


@dataclass(frozen=True)
class Group:
    """Parameters with one peak of the learning rate and one weight decay."""

    parameters: list[nn.Parameter]
    peak: float
    weight_decay: float


class AdamW:
    """Keeps two moments and a count of steps for each parameter that has had a gradient.

    A parameter is known by its place over all groups; `state` holds `step`, `exp_avg` and `exp_avg_sq` of it.
    """

    def __init__(self, groups: Iterable[Group]) -> None:
        self.groups = list(groups)
        self.state: dict[int, dict[str, Tensor]] = {}

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for group in self.groups:
            for parameter in group.parameters:
                parameter.grad = None

    @torch.no_grad()
    def step(self, scale: float) -> None:
        """Move the parameters that have a gradient, each group at `scale` times its peak."""
        place = 0
        for group in self.groups:
            moved: list[nn.Parameter] = []
            states = []
            for parameter in group.parameters:
                if parameter.grad is not None:
                    moved.append(parameter)
                    states.append(self._state_of(place, parameter))
                place += 1
            if moved:
                adamw(
                    list(moved),
                    [parameter.grad for parameter in moved if parameter.grad is not None],
                    exp_avgs=[state["exp_avg"] for state in states],
                    exp_avg_sqs=[state["exp_avg_sq"] for state in states],
                    max_exp_avg_sqs=[],
                    state_steps=[state["step"] for state in states],
                    fused=True,
                    amsgrad=False,
                    beta1=BETAS[0],
                    beta2=BETAS[1],
                    lr=scale * group.peak,
                    weight_decay=group.weight_decay,
                    eps=EPSILON,
                    maximize=False,
                )

    def tensors(self) -> dict[str, Tensor]:
        """The whole state, by `<place>/<name>`."""
        return {f"{place}/{name}": tensor for place, state in self.state.items() for name, tensor in state.items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back what `tensors` gave, on the parameters' devices."""
        devices = [parameter.device for group in self.groups for parameter in group.parameters]
        self.state = {}
        for key, tensor in tensors.items():
            place, _, name = key.partition("/")
            self.state.setdefault(int(place), {})[name] = tensor.to(devices[int(place)])

    def _state_of(self, place: int, parameter: nn.Parameter) -> dict[str, Tensor]:
        if place not in self.state:
            self.state[place] = {
                "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
                "exp_avg": torch.zeros_like(parameter, memory_format=torch.preserve_format),
                "exp_avg_sq": torch.zeros_like(parameter, memory_format=torch.preserve_format),
            }
        return self.state[place]
