"""Small random batches and methods for tests of methods."""

import torch

from relalign.features.batches import Batch
from relalign.features.table import Features, features_of
from relalign.methods import TRAINED
from relalign.model.backbone import Backbone, Widths
from tests.tiny_project import tiny_params

WIDTHS = Widths(12, 9, 15, 10, 7, 14)


def make_features(generator, rows, tokens, token_width, pooled_width, summary_width, dtype) -> Features:
    lengths = torch.randint(1, tokens + 1, (rows,), generator=generator)
    values = torch.randn(rows, tokens, token_width, generator=generator).to(dtype)
    pooled = torch.randn(rows, pooled_width, generator=generator)
    summary = torch.randn(rows, summary_width, generator=generator)
    features = features_of(values, lengths, pooled, summary)
    return Features(features.table, features.rows, (pooled.to(dtype), summary.to(dtype)))


def make_batch(size=8, seed=0, dtype=torch.float32) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    image = make_features(generator, size, 5, 12, 9, 15, dtype)
    text, other_text = (make_features(generator, size, 6, 10, 7, 14, dtype) for _ in range(2))
    mixed = text.mixed_with(other_text, torch.rand(size, generator=generator).to(dtype) / 2)
    return Batch(
        image_ids=torch.arange(size) + 100,
        caption_ids=torch.arange(size) * 5,
        image=image,
        text=mixed,
        other_text=other_text,
        unmixed_text=text,
        further_texts=(make_features(generator, size, 6, 10, 7, 14, dtype),),
    )


def make_method(algorithm, *, dropout=0.0, seed=0, **settings):
    """A tiny method of params.yaml's section type with the given settings."""
    params = tiny_params(method={"tested": {"algorithm": algorithm, **settings}})
    backbone = params.backbone.model_copy(
        update={
            "dropout": dropout,
            "summary_dropout": dropout,
            "fusion_dropout": dropout,
        }
    )
    chosen = params.method["tested"]
    torch.manual_seed(seed)
    return TRAINED[algorithm](Backbone(backbone, WIDTHS, temperature=chosen.temperature), chosen, widths=WIDTHS)


def loss_of(method, batch=None, *, progress=0.5, seed=0):
    """The terms of one step, with both kinds of randomness fixed."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    return method.loss(make_batch() if batch is None else batch, progress=progress, generator=generator)


def gradients(method, terms):
    """Gradient of the terms' sum by parameter name; parameters without one are left out."""
    method.zero_grad(set_to_none=True)
    torch.stack(list(terms.values())).sum().backward()
    return {name: value.grad.clone() for name, value in method.named_parameters() if value.grad is not None}
