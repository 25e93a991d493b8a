"""Settings of `relalign.methods.zero_shot`, which has none."""

from typing import Literal

from relalign.settings.section import Section


class ZeroShot(Section):
    """The encoders' own vectors, for encoders of one joint model (CLIP, SigLIP); nothing is trained."""

    algorithm: Literal["zero_shot"]
    """Which method an entry is."""
