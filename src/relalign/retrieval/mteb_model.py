"""A model in the shape that mteb 2 calls, for its tasks that retrieve images by text and texts by image.

>>> mteb.evaluate(as_mteb(relalign.load("exported/consensus"), "consensus"), tasks)  # doctest: +SKIP
"""

import hashlib
from collections.abc import Iterable
from functools import cached_property
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from relalign.errors import RelalignError
from relalign.retrieval.retrieval_model import RetrievalModel, Vectors

_Rows = Tensor | NDArray[np.float32]


class MtebModel:
    """What mteb calls an encoder. The model was trained without prompts, so a task's prompts are not used."""

    def __init__(self, model: RetrievalModel, name: str) -> None:
        self.model, self.name = model, name

    def encode(
        self, inputs: Iterable[dict[str, Any]], *, show_progress_bar: bool | None = None, **_: object
    ) -> Vectors:
        """Embed batches of mteb's data loader, to unit norm.

        Raises `RelalignError` for a batch that has both images and texts, or neither.
        """
        hidden = None if show_progress_bar is None else not show_progress_bar
        return np.concatenate([self._batch(batch) for batch in tqdm(inputs, desc="Encoding", disable=hidden)])

    def similarity(self, embeddings1: _Rows, embeddings2: _Rows) -> Float[Tensor, "first second"]:
        """The cosine of each row of one with each row of the other."""
        first, second = (F.normalize(torch.as_tensor(rows), dim=-1) for rows in (embeddings1, embeddings2))
        return first @ second.T

    def similarity_pairwise(self, embeddings1: _Rows, embeddings2: _Rows) -> Float[Tensor, " row"]:
        """The cosine of each row of one with the same row of the other."""
        return F.cosine_similarity(torch.as_tensor(embeddings1), torch.as_tensor(embeddings2))

    @cached_property
    def mteb_model_meta(self) -> Any:
        """mteb's record of a model; only mteb asks for it.

        mteb keeps results by name and revision, so the revision is a hash of what the model makes of one image
        and one text: another model never gets this one's results.
        """
        from mteb.models.model_meta import ModelMeta, ScoringFunction  # here, as mteb is no dependency

        image = self.model.encode_images([np.zeros((8, 8, 3), dtype=np.uint8)])
        text = self.model.encode_texts(["a dog in water"])
        return ModelMeta.create_empty(
            {
                "name": f"relalign/{self.name}",
                "revision": hashlib.sha256(image.tobytes() + text.tobytes()).hexdigest(),
                "embed_dim": image.shape[1],
                "modalities": ["image", "text"],
                "framework": ["PyTorch"],
                "similarity_fn_name": ScoringFunction.COSINE,
            }
        )

    def _batch(self, batch: dict[str, Any]) -> Vectors:
        if ("image" in batch) == ("text" in batch):
            raise RelalignError(
                "mteb gives both images and texts, or neither, where this model embeds one of them."
            )
        if "image" in batch:
            return self.model.encode_images(
                batch["image"], batch_size=len(batch["image"]), show_progress_bar=False
            )
        return self.model.encode_texts(batch["text"], batch_size=len(batch["text"]), show_progress_bar=False)


def as_mteb(model: RetrievalModel, name: str = "model") -> MtebModel:
    """The model as `mteb.evaluate` takes it; its results are those of `relalign/<name>`."""
    return MtebModel(model, name)
