"""Settings of `relalign.methods.contrastive`."""

from typing import Literal

from relalign.settings.section import Count, NonNegative, Section, Temperature


class Contrastive(Section):
    """Baseline: contrastive loss with soft targets over equal ids, plus hard-negative matching."""

    algorithm: Literal["contrastive"]
    """Which method an entry is."""
    temperature: Temperature = 0.05
    """Of the contrastive softmax, at the start; it is learned. Source: X-VLM has 0.07."""
    matching_weight: NonNegative = 1.0
    """Of the matching loss. Source: ALBEF (2107.07651), X-VLM (2111.08276)."""
    matching_pairs: Count = 32
    """Of a batch, how many pairs are fused. Unit: pairs."""
