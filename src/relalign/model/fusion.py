"""A layer of the fusion encoder: a transformer layer that also returns its attention, block by block."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from relalign.errors import RelalignError
from relalign.model.dropout import Dropout
from relalign.objectives.similarity import at_least_float32


@dataclass(frozen=True)
class AttentionBlocks:
    """Attention of the last fusion layer, block by block: each block has its own softmax, heads are averaged.

    Every row of a real token sums to 1 over the real tokens of the block's columns; rows and columns of padding
    are 0. The fusion token is excluded (IAIS, arXiv 2105.13868; `lancopku/IAIS` model/layer.py).
    """

    text_text: Float[Tensor, "batch text text"]
    image_image: Float[Tensor, "batch image image"]
    text_image: Float[Tensor, "batch text image"]
    image_text: Float[Tensor, "batch image text"]
    text_mask: Bool[Tensor, "batch text"]
    image_mask: Bool[Tensor, "batch image"]


@dataclass(frozen=True)
class FusionShape:
    """What a layer looks like. `norm_last`: a norm after each residual sum (BERT), not before each part."""

    width: int
    heads: int
    inner_width: int
    norm_last: bool = False
    epsilon: float = 1e-5
    activation: str = "gelu"


class QuickGelu(nn.Module):
    """x * sigmoid(1.702 x), as the first CLIP has it."""

    def forward(self, values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Of each value."""
        return values * (1.702 * values).sigmoid()


def _activation(name: str) -> nn.Module:
    known = {"gelu": nn.GELU(), "gelu_pytorch_tanh": nn.GELU(approximate="tanh"), "quick_gelu": QuickGelu()}
    if name not in known:
        raise RelalignError(f"backbone.fusion_start: activation '{name}' is none of {', '.join(known)}.")
    return known[name]


def _attend_in_parts(
    query: Float[Tensor, "batch head 1 head_width"],
    keys: Sequence[Float[Tensor, "_ head _ head_width"]],
    values: Sequence[Float[Tensor, "_ head _ head_width"]],
    mask: Bool[Tensor, "batch 1 1 token"],
) -> Float[Tensor, "batch head 1 head_width"]:
    """Attention over the parts as over one; einsum reads a part of one row as it lies."""

    def with_part(given: Tensor, part: Tensor, given_axes: str, axes: str) -> Tensor:
        rows, part = ("", part[0]) if len(part) == 1 else ("b", part)
        return torch.einsum(f"{given_axes},{rows}htd->{axes}", given, part)

    scaled = query[:, :, 0] / query.shape[-1] ** 0.5
    logits = torch.cat([with_part(scaled, key, "bhd", "bht") for key in keys], dim=2)
    weights = logits.masked_fill(~mask[:, 0], -torch.inf).softmax(-1).split([key.shape[2] for key in keys], dim=2)
    parts = [with_part(weight, value, "bht", "bhd") for weight, value in zip(weights, values, strict=True)]
    return torch.stack(parts).sum(0)[:, :, None]


class FusionLayer(nn.Module):
    """A transformer layer that can also return its attention, block by block."""

    def __init__(self, shape: FusionShape, dropout: float) -> None:
        super().__init__()
        width, inner = shape.width, shape.inner_width
        self.heads, self.norm_last = shape.heads, shape.norm_last
        self.attention_norm = nn.LayerNorm(width, shape.epsilon)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.attention_output = nn.Linear(width, width)
        self.dropout = Dropout(dropout)
        self.feed_forward_norm = nn.LayerNorm(width, shape.epsilon)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, inner), _activation(shape.activation), Dropout(dropout), nn.Linear(inner, width)
        )

    def _query_key_value(self, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value = self._by_head(self.query_key_value(self._attended_to(hidden)), 3)
        return query, key, value

    def _attended_to(self, hidden: Tensor) -> Tensor:
        normed: Tensor = hidden if self.norm_last else self.attention_norm(hidden)
        return normed

    def _by_head(self, joint: Tensor, parts: int) -> Tensor:
        batch, length, width = joint.shape
        return joint.view(batch, length, parts, self.heads, width // parts // self.heads).permute(2, 0, 3, 1, 4)

    def _after_attention(self, hidden: Tensor, attended: Tensor) -> Tensor:
        hidden = hidden + self.dropout(self.attention_output(attended.transpose(1, 2).flatten(2)))
        if self.norm_last:
            hidden = self.attention_norm(hidden)
            last: Tensor = self.feed_forward_norm(hidden + self.dropout(self.feed_forward(hidden)))
            return last
        output: Tensor = hidden + self.dropout(self.feed_forward(self.feed_forward_norm(hidden)))
        return output

    def forward(
        self, hidden: Float[Tensor, "batch token width"], mask: Bool[Tensor, "batch token"]
    ) -> Float[Tensor, "batch token width"]:
        """One layer; padding (`mask` false) is never attended to."""
        query, key, value = self._query_key_value(hidden)
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None, :])
        return self._after_attention(hidden, attended)

    def first_token(
        self, hidden: Float[Tensor, "batch token width"], mask: Bool[Tensor, "batch token"]
    ) -> Float[Tensor, "batch width"]:
        """The first token of what `forward` gives, without the others: all that is asked of the last layer."""
        key, value = self.keys_and_values(hidden[:, 1:])
        return self.first_token_beside(hidden[:, 0], (key,), (value,), mask)

    def keys_and_values(
        self, hidden: Float[Tensor, "batch token width"]
    ) -> tuple[Float[Tensor, "batch head token head_width"], Float[Tensor, "batch head token head_width"]]:
        """What other tokens find at these."""
        width = hidden.shape[-1]
        weight, bias = self.query_key_value.weight[width:], self.query_key_value.bias[width:]
        key, value = self._by_head(F.linear(self._attended_to(hidden), weight, bias), 2)
        return key, value

    def first_token_beside(
        self,
        first: Float[Tensor, "batch width"],
        keys: Sequence[Float[Tensor, "_ head _ head_width"]],
        values: Sequence[Float[Tensor, "_ head _ head_width"]],
        mask: Bool[Tensor, "batch token"],
    ) -> Float[Tensor, "batch width"]:
        """`first_token` of `first` followed by others, of which keys and values are known; `mask` is of all.

        The others come in parts, one beside the next. A part of one row is the same for the whole batch, and is
        neither copied nor read once a row.
        """
        query, own_key, own_value = self._query_key_value(first[:, None])
        keys, values, mask = (own_key, *keys), (own_value, *values), mask[:, None, None, :]
        if len({len(key) for key in keys}) == 1:
            joint = torch.cat(keys, dim=2), torch.cat(values, dim=2)
            attended = F.scaled_dot_product_attention(query, *joint, attn_mask=mask)
        else:
            attended = _attend_in_parts(query, keys, values, mask)
        output: Tensor = self._after_attention(first[:, None], attended)[:, 0]
        return output

    def blocks(
        self, hidden: Float[Tensor, "batch token width"], mask: Bool[Tensor, "batch token"], text_length: int
    ) -> AttentionBlocks:
        """Attention among and between the text tokens (1 .. text_length) and the image tokens (the rest).

        In float32 under autocast, too: rows near uniform differ by less than bfloat16's steps.
        """
        query, key, _ = self._query_key_value(hidden)
        text, image = slice(1, 1 + text_length), slice(1 + text_length, None)
        with torch.autocast(hidden.device.type, enabled=False):
            query, key = at_least_float32(query), at_least_float32(key)
            logits = (query @ key.transpose(-1, -2)) / query.shape[-1] ** 0.5

        def block(rows: slice, columns: slice) -> Tensor:
            real = mask[:, None, None, columns]
            # A finite filler keeps rows without any real column free of NaN; they are zeroed below.
            weights = logits[:, :, rows, columns].masked_fill(~real, -1e4).softmax(-1)
            shown: Tensor = weights.mean(1) * mask[:, rows, None] * mask[:, None, columns]
            return shown

        return AttentionBlocks(
            text_text=block(text, text),
            image_image=block(image, image),
            text_image=block(text, image),
            image_text=block(image, text),
            text_mask=mask[:, text],
            image_mask=mask[:, image],
        )
