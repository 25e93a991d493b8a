from dataclasses import replace

import pytest
import torch

from relalign.features.table import Features
from relalign.objectives.consistency import nt_xent_loss
from relalign.objectives.matching import listwise_matching_loss, matching_loss
from relalign.objectives.relation import cluster_kl, cosine_relation_kl, relation_kl
from relalign.objectives.similarity import off_diagonal
from tests.methods.batches import gradients, loss_of, make_batch, make_method

RELATIONS = ("distance", "cosine", "cluster")


def _total(terms):
    return torch.stack(list(terms.values())).sum()


@pytest.mark.parametrize("order", ["first", "second"])
@pytest.mark.parametrize("settings", [{}, {"matching_weight": 0.0}, {"relation_of": "fused", "matching_pairs": 5}])
def test_step_size_zero_is_the_plain_sum_dropout_included(order, settings):
    plain = make_method("covlr", meta_order="none", dropout=0.3, **settings)
    meta = make_method("covlr", meta_order=order, step_size=0.0, dropout=0.3, **settings)
    plain_terms, meta_terms = loss_of(plain), loss_of(meta)
    torch.testing.assert_close(_total(meta_terms), _total(plain_terms))
    plain_gradients, meta_gradients = gradients(plain, plain_terms), gradients(meta, meta_terms)
    assert plain_gradients.keys() == meta_gradients.keys()
    for name, gradient in plain_gradients.items():
        torch.testing.assert_close(meta_gradients[name], gradient, atol=1e-5, rtol=1e-4)


def _doubled(side):
    return replace(side, table=replace(side.table, tokens=side.table.tokens.double()))


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("relation", ["distance", "cosine"])
def test_second_order_gradient_of_the_whole_method_matches_finite_differences(relation, swapped):
    """Along random directions, in float64, with all terms but matching, part of which is held constant."""
    settings = {
        "relation": relation,
        "relation_weight": 30.0,
        "fast": "all",
        "step_size": 0.1,
        "matching_weight": 0.0,
        "swap_roles_every": 1,
    }
    method = make_method("covlr", meta_order="second", **settings).double()
    method.updates += swapped
    # A part of the gradient that is held back on purpose would differ from what is measured.
    method.backbone.fused_gradient = 1.0
    batch = make_batch(dtype=torch.float64)
    sides = {name: _doubled(side) for name, side in vars(batch).items() if isinstance(side, Features)}
    batch = replace(batch, further_texts=tuple(map(_doubled, batch.further_texts)), **sides)
    found = gradients(method, loss_of(method, batch))
    generator, step = torch.Generator().manual_seed(1), 1e-6
    for _ in range(4):
        moved = {
            name: (value, torch.randn(value.shape, generator=generator, dtype=torch.float64))
            for name, value in method.named_parameters()
        }
        values = []
        for change in (step, -2 * step, step):  # the last one moves back
            for value, direction in moved.values():
                value.data += change * direction
            values.append(_total(loss_of(method, batch)).item())
        slope = sum((found[name] * moved[name][1]).sum().item() for name in found)
        assert (values[0] - values[1]) / (2 * step) == pytest.approx(slope, rel=1e-5)


@pytest.mark.parametrize("swapped", [False, True])
def test_first_order_gradient_is_that_of_one_task_here_and_of_the_other_after_a_step_by_hand(swapped):
    settings = {"consistency_weight": 0.0, "matching_weight": 0.0, "fast": "all", "swap_roles_every": 1}
    method, batch, step = make_method("covlr", step_size=0.5, **settings), make_batch(), 0.5
    method.updates += swapped
    found = gradients(method, loss_of(method, batch))
    plain = make_method("covlr", meta_order="none", **settings)
    first, second = ("relation", "contrastive") if swapped else ("contrastive", "relation")

    def slopes(term):
        plain.zero_grad()
        return gradients(plain, {term: loss_of(plain, batch)[term]})

    here = slopes(first)
    for name, value in plain.named_parameters():
        if name in here and name.startswith(("backbone.image.", "backbone.text.")):
            value.data -= step * here[name]
    there = slopes(second)
    for name in here.keys() | there.keys():
        expected = sum(side[name] for side in (here, there) if name in side)
        torch.testing.assert_close(found[name], expected, rtol=1e-4, atol=1e-6)


def test_second_order_differs_from_first_and_both_from_the_plain_sum():
    found = {}
    for order, step in (("first", 0.0), ("first", 0.5), ("second", 0.5)):
        method = make_method("covlr", meta_order=order, step_size=step)
        found[order, step] = gradients(method, loss_of(method))["backbone.text.linear.weight"]
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
    method = make_method("covlr", step_size=0.5, swap_roles_every=1)
    kept = loss_of(method)
    method.project()
    swapped = loss_of(method)
    assert list(kept) == ["cross_modal", "intra_modal"]
    assert list(swapped) == ["intra_modal", "cross_modal"]
    unmoved = loss_of(make_method("covlr", step_size=0.0))
    torch.testing.assert_close(kept["cross_modal"], unmoved["cross_modal"])
    torch.testing.assert_close(swapped["intra_modal"], unmoved["intra_modal"])
    assert not torch.isclose(swapped["cross_modal"], unmoved["cross_modal"], rtol=1e-6)


@pytest.mark.parametrize(("every", "roles"), [(0, "ccccccc"), (1, "cicicic"), (2, "cciicci"), (3, "ccciiic")])
def test_roles_change_after_so_many_updates_and_in_step_after_a_resume(every, roles):
    settings = {"swap_roles_every": every, "matching_weight": 0.0, "consistency_weight": 0.0}
    method, batch, found = make_method("covlr", **settings), make_batch(size=2), ""
    for _ in roles:
        found += next(iter(loss_of(method, batch)))[0]
        method.project()
        resumed = make_method("covlr", **settings)
        resumed.load_state_dict(method.state_dict())
        method = resumed
    assert found == roles


@pytest.mark.parametrize("term", ["matching", "relation", "consistency"])
def test_each_weighted_term_scales_with_its_weight(term):
    once, thrice = (
        loss_of(make_method("covlr", meta_order="none", **{f"{term}_weight": weight})) for weight in (1.0, 3.0)
    )
    torch.testing.assert_close(thrice, once | {term: 3 * once[term]})


@pytest.mark.parametrize(("matching", "size"), [("binary", 2), ("listwise", 3)])
def test_matching_is_the_loss_that_was_asked_for(matching, size):
    """In so small a batch every other image and every other text is a negative, whatever is drawn."""
    method, batch = make_method("covlr", meta_order="none", matching=matching), make_batch(size=size)
    image, text = method.backbone.encode_image(batch.image), method.backbone.encode_text(batch.text)
    rows, columns = torch.cartesian_prod(torch.arange(size), torch.arange(size)).T
    logits = method.backbone.fuse(image.take(rows), text.take(columns)).matching_logit.view(size, size)
    positive, negatives = logits.diagonal(), [off_diagonal(side) for side in (logits, logits.T)]
    if matching == "listwise":
        expected = sum(listwise_matching_loss(positive, negative) for negative in negatives)
    else:
        expected = matching_loss(positive, torch.cat(negatives).flatten())
    torch.testing.assert_close(loss_of(method, batch)["matching"], expected)


@pytest.mark.parametrize("relation", RELATIONS)
def test_the_strong_modality_alone_feels_the_relation_loss(relation):
    settings = {"meta_order": "none", "consistency_weight": 0.0, "relation": relation, "clusters": 3}
    for strong, feels in (("text", {"text"}), ("image", {"image"}), ("both", {"text", "image"})):
        method = make_method("covlr", strong=strong, **settings)
        found = gradients(method, {"relation": loss_of(method)["relation"]})
        assert {name.split(".")[1] for name in found} == feels


def _kl(relation, student, teacher):
    if relation == "distance":
        return len(student) * relation_kl(student, teacher)
    if relation == "cosine":
        return cosine_relation_kl(student, teacher, student_temperature=0.2, teacher_temperature=0.2)
    return cluster_kl(student, teacher, clusters=3, temperature=0.2)


@pytest.mark.parametrize("relation", RELATIONS)
def test_relation_is_weight_times_squared_temperature_times_the_kl_from_the_unmixed_captions_encoder(relation):
    settings = {"relation": relation, "relation_temperature": 0.2, "clusters": 3}
    method = make_method("covlr", meta_order="none", relation_weight=3.0, **settings)
    batch = make_batch()
    divergence = _kl(relation, method.backbone.encode_text(batch.text).embedding, batch.unmixed_text.pooled)
    expected = 3 * (1 if relation == "distance" else 0.2**2) * divergence
    torch.testing.assert_close(loss_of(method, batch)["relation"], expected)


@pytest.mark.parametrize("relation_of", ["embedding", "fused"])
@pytest.mark.parametrize("strong", ["text", "image", "both"])
def test_relation_is_the_mean_kl_from_the_strong_modalities_encoders_of_the_same_rows(strong, relation_of):
    settings = {"strong": strong, "relation_of": relation_of, "relation_weight": 3.0, "matching_pairs": 5}
    method, batch = make_method("covlr", meta_order="none", **settings), make_batch()
    rows = torch.arange(5 if relation_of == "fused" else 8)
    image = method.backbone.encode_image(batch.image).take(rows)
    text = method.backbone.encode_text(batch.text).take(rows)
    students = {"image": image.embedding, "text": text.embedding}
    if relation_of == "fused":
        students = dict.fromkeys(students, method.backbone.fuse(image, text).pooled)
    teachers = {"image": batch.image.take(rows).pooled, "text": batch.unmixed_text.take(rows).pooled}
    sides = ("image", "text") if strong == "both" else (strong,)
    divergences = [_kl("distance", students[side], teachers[side]) for side in sides]
    torch.testing.assert_close(loss_of(method, batch)["relation"], 3 * sum(divergences) / len(sides))


@pytest.mark.parametrize("relation", RELATIONS)
def test_a_relations_weight_holds_for_a_batch_of_any_size(relation):
    method = make_method("covlr", meta_order="none", relation=relation, clusters=4)
    small, large = (loss_of(method, make_batch(size=size))["relation"].item() for size in (16, 128))
    assert 0.4 < large / small < 2.5  # of eight times the rows


def test_consistency_is_that_of_the_fused_pairs_with_their_other_captions_and_the_bands_mean():
    settings = {
        "consistency_weight": 3.0,
        "consistency_temperature": 0.3,
        "band_weight": 20.0,
        "matching_pairs": 5,
    }
    method, batch = make_method("covlr", meta_order="none", **settings), make_batch()
    assert method.captions == 2 + len(batch.further_texts)
    method.backbone.fusion_norm.weight.data.fill_(0.15)  # inner products within the band
    first = torch.arange(5)
    image = method.backbone.encode_image(batch.image.take(first))
    own, other = (
        method.backbone.fuse(image, method.backbone.encode_text(text.take(first))).pooled
        for text in (batch.text, batch.further_texts[0])
    )
    inner = (own @ own.T).flatten().tolist()
    band = sum(abs(min((s - 0.1) * (s - 0.5), 0)) for s in inner) / len(inner)
    assert band > 1e-3
    expected = 3 * (nt_xent_loss(own, other, temperature=0.3) + 20 * band)
    torch.testing.assert_close(loss_of(method, batch)["consistency"], expected)


def test_temperature_and_matching_head_never_take_the_inner_step():
    """The relations do not depend on them: they are what MetaAlign's scheme calls heads of the other task."""
    for fast, moved in (
        ("all", {"image", "text", "to_fusion", "product_to_fusion", "modality", "fusion", "fusion_norm"}),
        ("towers", {"image", "text"}),
        ("image", {"image"}),
        ("text", {"text"}),
    ):
        method = make_method("covlr", fast=fast)
        assert {name.split(".")[1] for name, _ in method.named_parameters() if method._is_fast(name)} == moved


def test_a_last_batch_of_two_rows_is_learnt_from():
    for order in ("none", "first"):
        terms = loss_of(make_method("covlr", meta_order=order, matching="listwise"), make_batch(size=2))
        assert _total(terms).isfinite()


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


def test_without_its_meta_step_and_consistency_it_is_the_baseline_with_plain_distillation_of_relations():
    """What the study calls `contrastive-distilled`."""
    asked = {"relation": "cosine", "relation_temperature": 0.2, "relation_weight": 3.0, "matching_pairs": 5}
    distilled = make_method("covlr", meta_order="none", strong="both", consistency_weight=0.0, **asked)
    baseline, batch = make_method("contrastive", matching_pairs=5), make_batch()
    terms = loss_of(distilled, batch)
    generator = torch.Generator().manual_seed(0)
    torch.randint(2**62, (), generator=generator)  # CoVLR's own draw
    plain = baseline.loss(batch, progress=0.5, generator=generator)
    assert terms.keys() == {*plain, "relation"}
    assert all(torch.equal(terms[name], value) for name, value in plain.items())
    image, text = (
        side(of).embedding
        for side, of in (
            (baseline.backbone.encode_image, batch.image),
            (baseline.backbone.encode_text, batch.text),
        )
    )
    kept = [
        _kl("cosine", student, teacher.pooled)
        for student, teacher in ((image, batch.image), (text, batch.unmixed_text))
    ]
    torch.testing.assert_close(terms["relation"], 3.0 * 0.2**2 * sum(kept) / 2)
