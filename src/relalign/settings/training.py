"""The section `training`: the budget and schedule that all trained methods share (`relalign.training.loop`)."""

from typing import Annotated

from pydantic import Field, model_validator

from relalign.settings.section import (
    BelowOne,
    Count,
    Device,
    Fraction,
    NonNegative,
    NonNegativeCount,
    Positive,
    Precision,
    Section,
)


class Training(Section):
    """AdamW, warm-up and cosine decay, averaged weights, selection on the validation split."""

    device: Device = "auto"
    """`auto` is a GPU where there is one."""
    threads: Count = 1
    """Of a job; not taken from the machine, as the last bits of sums depend on it. Unit: threads."""
    processes: Count = 1
    """That train together, each its rows of a batch, with `threads` or a GPU of its own. They must divide
    `batch_size`. Unit: processes."""
    precision: Precision = "float32"
    """Of the arithmetic in training."""
    epochs: Count = 50
    """Length of the training. Unit: passes over the training images."""
    batch_size: Annotated[int, Field(ge=2)] = 1024
    """Of an update. Unit: image-caption pairs."""
    caption_mixing: Annotated[float, Field(ge=0, le=0.5)] = 0.5
    """How far a caption's vectors may move towards another caption of its image; without effect on a text encoder
    that trains. Unit: fraction."""
    captions_per_step: Count = 1
    """How many captions of each image a step contrasts it with. Unit: captions."""
    encode_rows: NonNegativeCount = 0
    """Of a batch, how many rows go through the trained layers of an encoder at once; only their outputs are kept,
    and computed again for the gradient. 0: all, once. Unit: rows. Source: GradCache (arXiv 2101.06983)."""
    learning_rate: Positive = 1e-3
    """Of the weights, at its peak."""
    fresh_learning_rate: Positive | None = None
    """Of the weights that start at random, where the towers' linear maps start at CCA; none: `learning_rate`."""
    encoder_learning_rate: Positive = 2e-4
    """Of the last trained layer of an encoder, at its peak."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 0.8
    """Share of the rate of the layer above it that a trained layer has. Unit: fraction. Source: ELECTRA, BEiT."""
    lora_rank: NonNegativeCount = 0
    """Of the change that each linear map of a trained layer learns, all else of the encoders being frozen; 0: all
    their weights are trained. Source: LoRA (arXiv 2106.09685)."""
    pretrained_share: BelowOne = 0.0
    """How far the weights that are evaluated return to the start: the pretrained encoders and the towers at CCA.
    Unit: fraction. Source: WiSE-FT (arXiv 2109.01903)."""
    scalar_learning_rate: Positive = 0.01
    """Of temperatures and teacher mixes, at its peak."""
    warmup: Fraction = 0.1
    """Over which the rates rise from 0. Unit: fraction of the training."""
    weight_decay: NonNegative = 0.1
    """Of matrices; biases, norms and scalars have none. Source: AdamW (Loshchilov & Hutter, 2019)."""
    gradient_clip: Positive = 2.0
    """The gradient's largest norm."""
    average_decay: BelowOne = 0.95
    """Of the averaged weights, a step; those are evaluated."""
    validate_every: Count = 5
    """Between validations. Unit: epochs."""
    select_from: BelowOne = 0.8
    """The best epoch is one of those after it. Unit: fraction of the training."""
    patience: Count = 25
    """Without a better validation Rsum among those, training stops. Unit: epochs."""
    checkpoint_seconds: NonNegative = 20.0
    """Between checkpoints. Unit: seconds."""

    @model_validator(mode="after")
    def _processes_divide_the_batch(self) -> "Training":
        if self.batch_size % self.processes:
            raise ValueError(f"processes: {self.processes} do not divide batch_size, which is {self.batch_size}")
        return self

    @model_validator(mode="after")
    def _low_rank_or_a_share(self) -> "Training":
        if self.lora_rank and self.pretrained_share:
            raise ValueError(
                "pretrained_share: a change of low rank has no weights between it and the start; leave lora_rank 0"
            )
        return self
