"""The section `backbone`: the one model that all trained methods share (`relalign.model.backbone`)."""

from typing import Literal

from relalign.settings.section import BelowOne, Count, Fraction, Positive, Section


class Backbone(Section):
    """Two towers over the encoders' summaries, and a fusion encoder."""

    width: Count = 1024
    """Of the towers' residual path. Unit: units."""
    embedding_width: Count = 384
    """Of the shared space. Unit: dimensions."""
    cca_regularisation: Positive = 2.0
    """Of the CCA solution at which training starts. Source: Gong et al., IJCV 2014."""
    summary_dropout: BelowOne = 0.7
    """On what the towers read. Unit: fraction."""
    dropout: BelowOne = 0.5
    """Inside the residual path. Unit: fraction."""
    fusion_start: Literal["random", "text_encoder"] = "random"
    """Where the fusion layers start: at random, or as the last layers of the text encoder, whose width and heads
    they then have. Source: UNITER, ALBEF: BERT's."""
    fusion_width: Count = 256
    """Of the fusion encoder, if it starts at random. Unit: units."""
    fusion_layers: Count = 1
    """Transformer layers over both modalities' tokens. Unit: layers."""
    fusion_dropout: BelowOne = 0.1
    """Inside the fusion encoder. Unit: fraction. Source: BERT."""
    fused_gradient: Fraction = 0.1
    """Share of the gradient that passes from fused vectors to the towers, which otherwise overfit to the few fused
    pairs. Unit: fraction."""
    heads: Count = 8
    """Of attention in fusion, if it starts at random. Unit: heads."""
