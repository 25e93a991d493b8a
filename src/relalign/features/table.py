"""Features of one modality: a table of all rows, read from disk when they are asked for, and some rows of it."""

import mmap
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from relalign.objectives.similarity import at_least_float32


@dataclass(frozen=True)
class Table:
    """What the store holds of every row, memory-mapped: memory does not grow with the number of rows.

    `tokens` are an encoder's token features or, `below_cut`, the activations at its cut, which the trained part
    still has to read (token numbers and pixels are integers). `content` then says which tokens are kept in the
    end: words, not what the tokenizer adds. An image may have several `views`, row after row. `lengths` lies where
    batches are wanted; what is read goes there.
    """

    tokens: Shaped[Tensor, "row token width"]
    lengths: Int[Tensor, " row"]
    pooled: Float[Tensor, "row pooled_width"]
    summary: Float[Tensor, "row summary_width"]
    content: Bool[Tensor, "row token"] | None = None
    below_cut: bool = False
    views: int = 1
    mapped: tuple[np.memmap, ...] = ()

    def gather(
        self, rows: Int[Tensor, " batch"]
    ) -> tuple[Shaped[Tensor, "batch token width"], Bool[Tensor, "batch token"]]:
        """Tokens of the given rows, cut to the longest of them, and the mask of real ones.

        Features are in float32 at least.
        """
        lengths = self.lengths[rows]
        longest = max(int(lengths.max()), 1) if len(rows) else 1
        mask = torch.arange(longest, device=lengths.device) < lengths[:, None]
        tokens = self.tokens[rows.to(self.tokens.device), :longest].to(lengths.device)
        return at_least_float32(tokens) if tokens.is_floating_point() else tokens, mask

    def let_go(self) -> None:
        """Forget the pages that were read of memory-mapped arrays: they stay in the system's cache, for anyone who
        needs the memory."""
        for array in self.mapped:
            array._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]

    def vectors(self, name: str, rows: Int[Tensor, " batch"]) -> Float[Tensor, "batch width"]:
        """`pooled` or `summary` of the given rows, in float32 at least."""
        array: Tensor = getattr(self, name)
        return at_least_float32(array[rows.to(array.device)].to(self.lengths.device))


@dataclass(frozen=True)
class Features:
    """Some rows of a table. `pooled` is the encoder's own vector, the single-modal teacher's; `summary` is what
    towers read. Both may have been moved (`mixed_with`), and are then held here."""

    table: Table
    rows: Int[Tensor, " batch"]
    moved: tuple[Float[Tensor, "batch pooled_width"], Float[Tensor, "batch summary_width"]] | None = None

    @cached_property
    def pooled(self) -> Float[Tensor, "batch pooled_width"]:
        """The encoder's own vector of each row."""
        return self.table.vectors("pooled", self.rows) if self.moved is None else self.moved[0]

    @cached_property
    def summary(self) -> Float[Tensor, "batch summary_width"]:
        """What towers read of each row."""
        return self.table.vectors("summary", self.rows) if self.moved is None else self.moved[1]

    def take(self, chosen: Int[Tensor, " chosen"]) -> "Features":
        """The features at the given positions (repeats allowed)."""
        moved = None if self.moved is None else (self.moved[0][chosen], self.moved[1][chosen])
        return Features(self.table, self.rows[chosen], moved)

    def mixed_with(self, other: "Features", fraction: Float[Tensor, " batch"]) -> "Features":
        """Move each row's `summary` and `pooled` by `fraction` towards the other row; tokens stay its own."""
        moved = (
            torch.lerp(self.pooled, other.pooled, fraction[:, None]),
            torch.lerp(self.summary, other.summary, fraction[:, None]),
        )
        return Features(self.table, self.rows, moved)

    def tokens(self) -> tuple[Shaped[Tensor, "batch token width"], Bool[Tensor, "batch token"]]:
        """Tokens, features in float32, and the mask of real ones."""
        return self.table.gather(self.rows)

    def content(self, mask: Bool[Tensor, "batch token"]) -> Bool[Tensor, "batch token"]:
        """Which of these tokens, of which `mask` says which are real, are the input's own."""
        if self.table.content is None:
            return mask
        own = self.table.content[self.rows.to(self.table.content.device), : mask.shape[1]]
        return own.to(mask.device) & mask

    def in_view(self, view: Int[Tensor, " batch"]) -> "Features":
        """Another cached version of each row, of `table.views`; this must be the first."""
        return Features(self.table, self.rows + view)

    def __len__(self) -> int:
        return len(self.rows)


def features_of(
    tokens: Shaped[Tensor, "row token width"],
    lengths: Int[Tensor, " row"],
    pooled: Float[Tensor, "row pooled_width"],
    summary: Float[Tensor, "row summary_width"],
) -> Features:
    """All rows of finished features in memory."""
    return Features(Table(tokens, lengths, pooled, summary), torch.arange(len(lengths), device=lengths.device))
