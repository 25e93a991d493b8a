import pytest
import torch

from relalign.objectives.relation import relation_kl
from tests.methods.batches import gradients, loss_of, make_batch, make_method

RELATIONS = ("distance", "cosine", "cluster")


def _total(terms):
    return torch.stack(list(terms.values())).sum()


@pytest.mark.parametrize("order", ["first", "second"])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_step_size_zero_is_the_plain_sum(order, dropout):
    plain = make_method("covlr", meta_order="none", dropout=dropout)
    meta = make_method("covlr", meta_order=order, step_size=0.0, dropout=dropout)
    # Fusion is called in another order in the two, so that only the towers drop the same units.
    for method in (plain, meta):
        for module in (*method.backbone.fusion.modules(), method.backbone.fusion):
            module.p = 0.0
    # The swap is drawn before the negatives; the plain sum draws none.
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    torch.rand((), generator=generator)
    plain_terms = plain.loss(make_batch(), progress=0.5, generator=generator)
    meta_terms = loss_of(meta)
    torch.testing.assert_close(_total(meta_terms), _total(plain_terms))
    plain_gradients, meta_gradients = gradients(plain, plain_terms), gradients(meta, meta_terms)
    assert plain_gradients.keys() == meta_gradients.keys()
    for name, gradient in plain_gradients.items():
        torch.testing.assert_close(meta_gradients[name], gradient, atol=1e-5, rtol=1e-4)


def test_second_order_differs_from_first_and_both_from_the_plain_sum():
    found = {}
    for order, step in (("first", 0.0), ("first", 0.5), ("second", 0.5)):
        method = make_method("covlr", meta_order=order, step_size=step)
        found[order, step] = gradients(method, loss_of(method))["backbone.text.head.weight"]
    values = list(found.values())
    assert not torch.allclose(values[0], values[1], atol=1e-6)
    assert not torch.allclose(values[1], values[2], atol=1e-6)


@pytest.mark.parametrize(("fast", "moves"), [("towers", True), ("text", True), ("image", False)])
def test_only_fast_parameters_take_the_inner_step(fast, moves):
    """The relation of texts sees the inner step only where the text tower takes it."""
    settings = {"meta_order": "first", "consistency_weight": 0.0, "fast": fast}
    here, there = (loss_of(make_method("covlr", step_size=step, **settings))["intra_modal"] for step in (0.0, 1.0))
    assert torch.equal(here, there) != moves


def test_swapped_roles_move_the_relations_first():
    kept, swapped = (loss_of(make_method("covlr", step_size=0.5, swap_roles=share)) for share in (0.0, 1.0))
    assert list(kept) == ["cross_modal", "intra_modal"]
    assert list(swapped) == ["intra_modal", "cross_modal"]
    unmoved = loss_of(make_method("covlr", step_size=0.0))
    torch.testing.assert_close(kept["cross_modal"], unmoved["cross_modal"])
    torch.testing.assert_close(swapped["intra_modal"], unmoved["intra_modal"])
    assert not torch.isclose(swapped["cross_modal"], unmoved["cross_modal"], rtol=1e-6)


@pytest.mark.parametrize("relation", RELATIONS)
def test_the_strong_modality_alone_feels_the_relation_loss(relation):
    settings = {"meta_order": "none", "consistency_weight": 0.0, "relation": relation, "clusters": 3}
    for strong, feels in (("text", {"text"}), ("image", {"image"}), ("both", {"text", "image"})):
        method = make_method("covlr", strong=strong, **settings)
        found = gradients(method, {"relation": loss_of(method)["relation"]})
        assert {name.split(".")[1] for name in found} == feels


def test_relation_is_the_weighted_distance_to_the_frozen_text_encoder():
    method = make_method("covlr", meta_order="none", relation_weight=3.0)
    batch = make_batch()
    expected = 3 * relation_kl(method.backbone.encode_text(batch.text).embedding, batch.text.pooled)
    torch.testing.assert_close(loss_of(method)["relation"], expected)


def test_fused_relations_are_those_of_the_fused_pairs():
    method = make_method("covlr", meta_order="none", relation_of="fused", matching_pairs=5)
    found = gradients(method, {"relation": loss_of(method)["relation"]})
    assert any(name.startswith("backbone.fusion") for name in found)


@pytest.mark.parametrize(
    "settings", [{"matching": "listwise"}, {"matching_weight": 0.0}, {"relation_of": "fused"}]
)
@pytest.mark.parametrize("order", ["none", "first"])
def test_other_switches_keep_the_loss_finite(settings, order):
    terms = loss_of(make_method("covlr", meta_order=order, **settings))
    assert _total(terms).isfinite()
    if order == "none":
        assert ("matching" in terms) == (settings.get("matching_weight") != 0.0)
