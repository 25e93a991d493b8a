"""The settings of the methods: for `relalign/methods/<name>.py` the file of that name here."""

from typing import Annotated

from pydantic import Field

from relalign.settings.methods.cca import Cca
from relalign.settings.methods.consensus import Consensus
from relalign.settings.methods.contrastive import Contrastive
from relalign.settings.methods.covlr import Covlr
from relalign.settings.methods.iais import Iais
from relalign.settings.methods.rebalanced import Rebalanced
from relalign.settings.methods.zero_shot import ZeroShot

__all__ = ["Cca", "Consensus", "Contrastive", "Covlr", "Iais", "Method", "Rebalanced", "ZeroShot"]

Method = Annotated[
    Cca | ZeroShot | Contrastive | Covlr | Rebalanced | Iais | Consensus, Field(discriminator="algorithm")
]
