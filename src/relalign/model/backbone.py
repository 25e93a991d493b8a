"""The one model that every trained method shares: two encoders, cut where training begins, two towers over what
they give, and a fusion encoder.

    activations at the cut --> trained layers --> tokens and summary of an image, and of a text; as cached, if all
                                                  of an encoder is frozen
    image summary --> tower --> image embedding (unit norm) --\\
                                                                > cosine: first-stage retrieval
    text summary  --> tower --> text embedding  (unit norm) --/
                                        |
    [FUSE: their product], text tokens, image tokens --> fusion encoder --> matching logit, attention blocks

An embedding is a linear map of the standardised summary, which starts at the closed-form CCA solution
(`relalign.methods.cca`), plus a residual path that starts at nothing: six thousand images reward short paths and a
good start more than depth. The fusion token starts from the product of both embeddings, and the matching logit is
the similarity plus what fusion has to say about it: re-ranking starts from the first stage, and what an objective
does to fused vectors reaches the embeddings, as in the papers' end-to-end models (X-VLM, UNITER).
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from relalign.features.encoders.trained import TrainedEncoder
from relalign.features.table import Features
from relalign.model.dropout import Dropout
from relalign.model.fusion import AttentionBlocks, FusionLayer, FusionShape
from relalign.settings.backbone import Backbone as BackboneSettings
from relalign.settings.section import TEMPERATURES
from relalign.system import processes


@dataclass(frozen=True)
class Widths:
    """The widths of the encoders' outputs."""

    image_tokens: int
    image_pooled: int
    image_summary: int
    text_tokens: int
    text_pooled: int
    text_summary: int


@dataclass(frozen=True)
class FusionTokens:
    """One modality's tokens as the fusion encoder takes them: some rows of a table, read when they are asked for.

    Keys and values are those of the first fusion layer. They do not depend on the pair that a row is fused in, so
    that they are computed once a row, where pairs are many times as many.
    """

    table: Float[Tensor, "row token width"]
    key_table: Float[Tensor, "row head token head_width"]
    value_table: Float[Tensor, "row head token head_width"]
    mask_table: Bool[Tensor, "row token"]
    rows: Int[Tensor, " batch"]

    def take(self, chosen: Int[Tensor, " chosen"]) -> "FusionTokens":
        """The given rows of these (repeats allowed)."""
        return FusionTokens(self.table, self.key_table, self.value_table, self.mask_table, self.rows[chosen])

    @property
    def tokens(self) -> Float[Tensor, "batch token width"]:
        """Of each row."""
        return self.table[self.rows]

    @property
    def mask(self) -> Bool[Tensor, "batch token"]:
        """Which tokens of each row are real."""
        return self.mask_table[self.rows]

    @property
    def key(self) -> Float[Tensor, "batch head token head_width"]:
        """The first layer's keys of each row."""
        return self.key_table[self.rows]

    @property
    def value(self) -> Float[Tensor, "batch head token head_width"]:
        """The first layer's values of each row."""
        return self.value_table[self.rows]


@dataclass(frozen=True)
class Side:
    """One tower's output: unit-norm embeddings beside the features that the fusion encoder starts from.

    `projected` is filled by `Backbone.project_image` and `project_text` for rows that are fused more than once.
    """

    embedding: Float[Tensor, "batch embedding"]
    features: Features
    projected: FusionTokens | None = None

    def take(self, rows: Int[Tensor, " chosen"]) -> "Side":
        """The given rows (repeats allowed), for example the hard negatives of a batch."""
        known = self.projected
        projected = None if known is None else known.take(rows)
        return Side(self.embedding[rows], self.features.take(rows), projected)

    def tensors(self) -> tuple[Tensor, ...]:
        """What fusion reads of a projected side, gradients included."""
        known = self.projected
        assert known is not None  # noqa: S101 (asked for)
        return self.embedding, known.table, known.key_table, known.value_table

    def with_tensors(self, tensors: Sequence[Tensor]) -> "Side":
        """The same with others in the place of `tensors`."""
        embedding, table, key_table, value_table = tensors
        assert self.projected is not None  # noqa: S101 (asked for)
        known = replace(self.projected, table=table, key_table=key_table, value_table=value_table)
        return Side(embedding, self.features, known)


@dataclass(frozen=True)
class Fused:
    """The fusion encoder's output for each pair."""

    pooled: Float[Tensor, "batch width"]
    matching_logit: Float[Tensor, " batch"]
    attention: AttentionBlocks | None


class Tower(nn.Module):
    """Summary of one modality -> unit-norm embedding; its tokens travel along for fusion."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, summary_width: int, settings: BackboneSettings) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(summary_width))
        self.register_buffer("deviation", torch.ones(summary_width))
        self.summary_dropout = Dropout(settings.summary_dropout)
        self.linear = nn.Linear(summary_width, settings.embedding_width)
        last = nn.Linear(settings.width, settings.embedding_width)
        nn.init.zeros_(last.weight)  # so that the start is the linear path's, whatever the seed
        nn.init.zeros_(last.bias)
        self.residual = nn.Sequential(
            nn.Linear(summary_width, settings.width), nn.GELU(), Dropout(settings.dropout), last
        )

    def forward(self, features: Features) -> Side:
        """Embed a batch."""
        summary = self.summary_dropout((features.summary - self.mean) / self.deviation)
        return Side(F.normalize(self.linear(summary) + self.residual(summary), dim=-1), features)

    @torch.no_grad()
    def start_at(
        self,
        mean: Float[Tensor, " summary_width"],
        deviation: Float[Tensor, " summary_width"],
        linear_map: Float[Tensor, "summary_width directions"],
    ) -> None:
        """Standardise by `mean` and `deviation`; the linear path becomes `linear_map`, spare dimensions 0."""
        self.mean.copy_(mean)
        self.deviation.copy_(deviation)
        self.linear.weight.zero_()
        self.linear.bias.zero_()
        self.linear.weight[: linear_map.shape[1]] = linear_map.T

    @torch.no_grad()
    def widen_deviations(self, share: float) -> None:
        """Raise deviations below `share` of their median to that, and the linear path's weights with them.

        The map stays as it is; but a dimension that hardly varied at the start does not swamp all others once its
        encoder trains.
        """
        widened = self.deviation.clamp(min=share * float(self.deviation.median()))
        self.linear.weight *= widened / self.deviation
        self.deviation.copy_(widened)


def clamp_log_temperature(log_temperature: Float[Tensor, ""]) -> None:
    """Bring the logarithm of a learned temperature back within its bounds, in place."""
    log_temperature.clamp_(*(math.log(bound) for bound in TEMPERATURES))


def _damped(values: Tensor, share: float) -> Tensor:
    """The same values, through which only a share of the gradient passes."""
    damped: Tensor = share * values + (1 - share) * values.detach()
    return damped


class Backbone(nn.Module):
    """Two towers and a single-stream fusion encoder (see the module's picture).

    `fusion_share` is how much fusion's own say counts beside the similarity when a trained model re-ranks: 1 in
    training, and chosen on the validation split before a model re-ranks (`relalign.retrieval.fusion_share`).
    """

    fusion_share: Tensor

    def __init__(
        self,
        settings: BackboneSettings,
        widths: Widths,
        *,
        temperature: float,
        encoders: Mapping[str, TrainedEncoder] = MappingProxyType({}),
        fusion: FusionShape | None = None,
    ) -> None:
        super().__init__()
        own = FusionShape(settings.fusion_width, settings.heads, 4 * settings.fusion_width)
        shape = fusion or own
        self.fused_gradient = settings.fused_gradient
        self.image = Tower(widths.image_summary, settings)
        self.text = Tower(widths.text_summary, settings)
        self.to_fusion = nn.ModuleDict(
            {
                side: nn.Sequential(nn.LayerNorm(width), nn.Linear(width, shape.width))
                for side, width in (("image", widths.image_tokens), ("text", widths.text_tokens))
            }
        )
        self.fusion_shape = fusion
        if fusion is not None:
            self.to_fusion["text"] = nn.Linear(widths.text_tokens, shape.width)
        self.product_to_fusion = nn.Linear(settings.embedding_width, shape.width)
        self.modality = nn.Parameter(0.02 * torch.randn(3, shape.width))  # fusion token, text, image
        self.fusion = nn.ModuleList(
            FusionLayer(shape, settings.fusion_dropout) for _ in range(settings.fusion_layers)
        )
        self.fusion_norm = nn.LayerNorm(shape.width)
        self.matching = nn.Sequential(nn.Linear(shape.width, shape.width), nn.Tanh(), nn.Linear(shape.width, 1))
        self.register_buffer("fusion_share", torch.tensor(1.0), persistent=False)
        self.matching_offset = nn.Parameter(torch.tensor(0.5))  # the cosine at which a pair is as likely as not
        self.log_temperature = nn.Parameter(torch.tensor(temperature).log())
        self.encoders = nn.ModuleDict(dict(encoders))  # last, so that what is drawn before does not depend on it

    def language_parameters(self) -> Iterator[nn.Parameter]:
        """The weights of a fusion encoder that starts from the text encoder."""
        if self.fusion_shape is not None:
            yield from self.fusion.parameters()
            yield from self.to_fusion["text"].parameters()

    def started_parameters(self) -> Iterator[nn.Parameter]:
        """The weights that start at the CCA solution, where all others start at random or at nothing."""
        for tower in (self.image, self.text):
            yield from tower.linear.parameters()

    @property
    def temperature(self) -> Float[Tensor, ""]:
        """The learnable softmax temperature."""
        return self.log_temperature.exp()

    @torch.no_grad()
    def project(self) -> None:
        """Bring the temperature back within [0.01, 1] (CLIP's bound on the logit scale), after an update.

        A clamp where it is read would have no gradient outside, so that it could never come back.
        """
        clamp_log_temperature(self.log_temperature)

    def encode_image(self, features: Features) -> Side:
        """Embed images."""
        side: Side = self.image(self.finished("image", features))
        return side

    def encode_text(self, features: Features) -> Side:
        """Embed captions."""
        side: Side = self.text(self.finished("text", features))
        return side

    def finished(self, side: str, features: Features) -> Features:
        """Features from below the cut as the trained layers of the encoder of that side make them; others as they
        are."""
        if not features.table.below_cut:
            return features
        finished: Features = cast(TrainedEncoder, self.encoders[side]).read(features)
        return finished

    def project_image(self, side: Side) -> Side:
        """Project the tokens once for rows that are about to be fused several times."""
        return self._project(side, "image")

    def project_text(self, side: Side) -> Side:
        """Project the tokens once for rows that are about to be fused several times."""
        return self._project(side, "text")

    def _project(self, side: Side, name: str) -> Side:
        if side.projected is not None:
            return side
        tokens, mask = side.features.tokens()
        table = self.to_fusion[name](tokens) + self.modality[{"text": 1, "image": 2}[name]]
        key, value = cast(FusionLayer, self.fusion[0]).keys_and_values(table)
        rows = torch.arange(len(table), device=table.device)
        return Side(side.embedding, side.features, FusionTokens(table, key, value, mask, rows))

    def fuse(self, image: Side, text: Side, *, attention: bool = False) -> Fused:
        """Run row i of `image` with row i of `text` through the fusion encoder; one image goes with all texts.

        Of processes that train together, each fuses its rows.
        """
        text, image = self.project_text(text), self.project_image(image)
        if processes.number() == 1:
            whole: Fused = self(image, text, attention)
            return whole

        def own_rows(call: Callable[[Side, Side, bool], Fused], own: Tensor, *tensors: Tensor) -> list[Tensor]:
            own_image = image.with_tensors(tensors[:4])
            own_image = own_image if len(image.embedding) == 1 else own_image.take(own)
            fused = call(own_image, text.with_tensors(tensors[4:]).take(own), attention)
            blocks = [] if fused.attention is None else list(vars(fused.attention).values())
            return [fused.pooled, fused.matching_logit, *blocks]

        given = [*image.tensors(), *text.tensors()]
        pooled, logit, *blocks = processes.by_rows(self, own_rows, len(text.embedding), given)
        return Fused(pooled, logit, AttentionBlocks(*blocks) if attention else None)

    def forward(self, image: Side, text: Side, attention: bool) -> Fused:
        """`fuse`, in one process, of sides that are projected."""
        words, regions = text.projected, image.projected
        assert words is not None and regions is not None  # noqa: S101, PT018 (for the type checker)
        text_mask = words.mask
        batch, text_length = text_mask.shape
        product = _damped(image.embedding * text.embedding, self.fused_gradient)
        scale = product.shape[-1]  # entries of a product of unit vectors are of the order of 1 / width
        first = self.modality[0] + self.product_to_fusion(scale * product)
        mask = torch.cat([text_mask.new_ones(batch, 1), text_mask, regions.mask.expand(batch, -1)], dim=1)
        last = cast(FusionLayer, self.fusion[-1])
        alone = len(self.fusion) == 1
        if attention or not alone:
            hidden = torch.cat([first[:, None], words.tokens, regions.tokens.expand(batch, -1, -1)], dim=1)
            for layer in self.fusion[:-1]:
                hidden = layer(hidden, mask)
        blocks = last.blocks(hidden, mask, text_length) if attention else None
        if alone:
            pooled = last.first_token_beside(first, (words.key, regions.key), (words.value, regions.value), mask)
        else:
            pooled = last.first_token(hidden, mask)
        pooled = self.fusion_norm(pooled)
        # No gradient: calibrating a matching probability must not fight the contrastive loss over scale.
        similarity = (product.sum(-1).detach() - self.matching_offset) / self.temperature.detach()
        return Fused(pooled, similarity + self.fusion_share * self.matching(pooled).squeeze(-1), blocks)
