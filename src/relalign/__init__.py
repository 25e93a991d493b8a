"""relalign: vision-language retrieval that keeps the relations within each modality."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from os import PathLike

    import torch

    from relalign.retrieval.exported import RetrievalModel

__version__ = "0.1.0"


def load(folder: "str | PathLike[str]", device: "str | torch.device | None" = None) -> "RetrievalModel":
    """The model of a folder that `relalign export` has made, as a `RetrievalModel`; nothing else is needed.

    Without `device` a GPU is used where there is one. Raises `RelalignError` for any other folder, and for a
    damaged one.
    """
    from relalign.retrieval.exported import load_exported  # here, so that the import of relalign stays quick

    return load_exported(folder, device)
