"""Low precision as a setting: what `float32` and `bfloat16` mean for a computation."""

import torch

from relalign.settings.section import Precision


def in_precision(device: torch.device, precision: Precision) -> torch.autocast:
    """A context in which matrix products are in bfloat16 if asked for; norms and losses stay in float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")
