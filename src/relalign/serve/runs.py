"""The trained runs that are searched: each with its model, its exported embeddings and an index of each side."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from relalign.errors import RelalignError
from relalign.features.batches import SplitData
from relalign.features.table import Features
from relalign.layout import Layout
from relalign.model.backbone import Backbone
from relalign.retrieval.embeddings import Embeddings, load_embeddings
from relalign.retrieval.retrieval_model import RetrievalModel
from relalign.retrieval.two_stage import caption_positions
from relalign.serve.search_index import SearchIndex, build_index
from relalign.settings import Params
from relalign.training.split_data import load_split

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """One run, ready to be asked. `indexes` are of "image" and "text"; rows are those of `embeddings`."""

    method: str
    seed: int
    model: RetrievalModel
    embeddings: Embeddings
    indexes: dict[str, SearchIndex]
    params: Params
    layout: Layout

    @property
    def reranks(self) -> bool:
        """Whether the run has a fusion encoder."""
        return isinstance(self.model.embedder, Backbone)

    def encoders(self, side: str) -> object:
        """Runs of which this is equal finish a query of that side ("image" or "text") to the same features."""
        backbone = self.model.embedder
        own = isinstance(backbone, Backbone) and side in backbone.encoders
        return (getattr(self.model, f"{side}_encoder"), self.method if own else None)

    def row(self, side: str, id_: int) -> int:
        """The row of an image's or a caption's id, which must be one of the test split's."""
        return int(np.searchsorted(getattr(self.embeddings, f"{side}_ids"), id_))

    @cached_property
    def split(self) -> SplitData:
        """The test split's cached features, as the pipeline has them; read from disk where they are asked for."""
        return load_split(self.params, self.layout, "test", device=self.model.device)

    @cached_property
    def caption_position(self) -> torch.Tensor:
        """The place in `split` of each caption row."""
        return caption_positions(self.split, self.embeddings)

    def features(self, side: str, rows: Sequence[int]) -> Features:
        """What the fusion encoder reads of rows of the test split."""
        positions = torch.tensor(rows)
        if side == "text":
            positions = self.caption_position[positions]
        cached: Features = getattr(self.split, side).take(positions.to(self.model.device))
        backbone = self.model.embedder
        return backbone.finished(side, cached) if isinstance(backbone, Backbone) else cached


def open_runs(params: Params, layout: Layout, methods: Sequence[str], *, seed: int) -> dict[str, Run]:
    """The runs of the given methods; they share encoders. Raises `RelalignError` for one that cannot be used."""
    loaded: dict[Any, Any] = {}
    return {method: _open(params, layout, method, seed, loaded) for method in methods}


def _open(params: Params, layout: Layout, method: str, seed: int, loaded: dict[Any, Any]) -> Run:
    model = RetrievalModel.of_run(params, layout, method=method, seed=seed, loaded=loaded)
    embeddings = load_embeddings(layout.run(method, seed) / "embeddings")
    indexes = {
        "image": build_index(embeddings.image, embeddings.text),
        "text": build_index(embeddings.text, embeddings.image),
    }
    return Run(method, seed, model, embeddings, indexes, params, layout)


def usable_methods(params: Params, layout: Layout, *, seed: int) -> list[str]:
    """The methods of params.yaml whose run with this seed is exported, in their order; none is an error."""
    exported = {
        method: (layout.run(method, seed) / "embeddings" / "manifest.json").is_file() for method in params.methods
    }
    missing = [method for method, there in exported.items() if not there]
    if len(missing) == len(exported):
        raise RelalignError(
            f"There is nothing to search in {layout.results}: no method of params.yaml is trained and exported "
            f"with seed {seed}. Run `snakemake --cores all` first, or choose another --seed."
        )
    if missing:
        log.warning("left out, as not exported with seed %d: %s", seed, ", ".join(missing))
    return [method for method in params.methods if method not in missing]
