"""Settings of `relalign.methods.cca`."""

from typing import Literal

from relalign.settings.section import Count, NonNegative, Positive, Section


class Cca(Section):
    """Regularised linear CCA on the summaries that the towers read; no gradient step."""

    algorithm: Literal["cca"]
    """Which method an entry is."""
    regularisation: Positive = 2.0
    """Of the covariances, times width over images. Source: Gong et al., IJCV 2014."""
    width: Count = 384
    """Canonical directions kept. Unit: dimensions."""
    power: NonNegative = 1.0
    """Of each direction's correlation, by which it is weighted. Source: Gong et al., IJCV 2014, section 3.3."""
