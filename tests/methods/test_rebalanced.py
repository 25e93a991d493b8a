from dataclasses import replace

import pytest
import torch

from relalign.errors import RelalignError
from relalign.objectives.contrastive import one_way_contrastive_loss
from relalign.objectives.distillation import relation_structure_loss, structure_loss
from relalign.objectives.similarity import cosine_matrix, off_diagonal
from tests.methods.batches import gradients, loss_of, make_batch, make_method

SEVEN = {
    "contrastive",
    "matching",
    "image_distillation",
    "text_distillation",
    "structure",
    "image_structure",
    "text_structure",
}


def test_two_terms_in_stage_one_and_seven_in_stage_two():
    method = make_method("rebalanced", stage_one=0.4)
    assert set(loss_of(method, progress=0.39)) == {"contrastive", "matching"}
    assert set(loss_of(method, progress=0.4)) == SEVEN


@pytest.mark.parametrize("term", sorted(SEVEN))
def test_each_term_scales_with_its_weight(term):
    once, thrice = (loss_of(make_method("rebalanced", **{f"{term}_weight": weight})) for weight in (1.0, 3.0))
    torch.testing.assert_close(thrice, once | {term: 3 * once[term]})


def test_teacher_terms_reach_only_the_mix_and_the_second_temperature():
    method = make_method("rebalanced", learn_structure_temperature=True)
    terms = loss_of(method)
    found = gradients(method, {name: terms[name] for name in ("image_structure", "text_structure")})
    assert set(found) == {"raw_mix", "log_structure_temperature"}


def test_the_students_term_alone_moves_a_mix_within_its_bounds():
    """The teachers' two terms together are flat there."""
    method = make_method("rebalanced")
    student, teachers = (
        gradients(method, {name: loss_of(method)[name] for name in names})["raw_mix"].abs()
        for names in (["structure"], ["image_structure", "text_structure"])
    )
    assert student > 0.1
    assert teachers < 1e-5


def test_text_term_has_the_closed_form_in_the_mix():
    method, batch = make_method("rebalanced", mix=0.8, text_structure_weight=1.0), make_batch()
    teachers = [cosine_matrix(side.pooled, side.pooled) for side in (batch.image, batch.unmixed_text)]
    apart = off_diagonal(teachers[0] - teachers[1]).abs().mean() / 0.07
    terms = loss_of(method, batch)
    torch.testing.assert_close(terms["text_structure"], 0.2 * apart)
    torch.testing.assert_close(terms["image_structure"], 0.8 * apart)


def test_teachers_are_row_aligned_with_the_students():
    """Permuting the batch permutes students and teachers alike: no term may notice."""
    batch, method = make_batch(), make_method("rebalanced", relations=["image", "text", "cross"])
    order = torch.tensor([3, 1, 7, 0, 2, 6, 5, 4])
    permuted = type(batch)(
        batch.image_ids[order],
        batch.caption_ids[order],
        *(side.take(order) for side in (batch.image, batch.text, batch.other_text, batch.unmixed_text)),
    )
    first, second = loss_of(method, batch), loss_of(method, permuted)
    for name in SEVEN - {"matching"}:
        torch.testing.assert_close(first[name], second[name])
    mixed = replace(batch, unmixed_text=batch.unmixed_text.take(order))
    assert not torch.isclose(loss_of(method, mixed)["structure"], first["structure"])


@pytest.mark.parametrize(("bound", "kept"), [("clamp", (1.0, 0.0)), ("none", (1.3, -0.3))])
def test_only_a_clamped_mix_is_brought_back_to_its_bounds_after_an_update(bound, kept):
    method = make_method("rebalanced", mix_bound=bound)
    for raw, expected in zip((1.3, -0.3), kept, strict=True):
        method.raw_mix.data.fill_(raw)
        method.project()
        assert method.scalars()["mix"] == pytest.approx(expected)


def test_a_mix_driven_out_of_its_clamp_comes_back_within_an_update_once_the_student_prefers_it_inside():
    method = make_method("rebalanced")
    method.raw_mix.data.fill_(0.0)
    optimizer = torch.optim.SGD([method.raw_mix], lr=0.1)
    for outward in (1.0,) * 50 + (-1.0,):
        method.raw_mix.grad = torch.tensor(outward)
        optimizer.step()
        method.project()
    assert method.scalars()["mix"] == pytest.approx(0.1)


def test_an_unbounded_mix_beyond_one_extrapolates_as_the_released_code_does():
    method, batch = make_method("rebalanced", mix=1.3, mix_bound="none", relations=["image"]), make_batch()
    image = method.backbone.encode_image(batch.image).embedding
    expected = structure_loss(image, batch.image.pooled, batch.unmixed_text.pooled, mix=1.3, temperature=0.07)
    torch.testing.assert_close(loss_of(method, batch)["structure"], 2 * expected.student)


@pytest.mark.parametrize("bound", ["none", "clamp", "sigmoid"])
def test_every_bound_starts_at_the_mix_that_was_asked_for(bound):
    method = make_method("rebalanced", mix=0.8547, mix_bound=bound, learn_mix=False)
    assert method.scalars()["mix"] == pytest.approx(0.8547, abs=1e-6)
    assert "raw_mix" not in gradients(method, loss_of(method))


def test_a_mix_outside_its_bound_is_refused():
    with pytest.raises(RelalignError, match="mix"):
        make_method("rebalanced", mix=1.0, mix_bound="sigmoid")
    with pytest.raises(RelalignError, match="mix"):
        make_method("rebalanced", mix=-0.1)


def test_a_learned_second_temperature_stays_bounded():
    method = make_method("rebalanced", learn_structure_temperature=True)
    for raw, bound in ((9.0, 1.0), (-9.0, 0.01)):
        method.log_structure_temperature.data.fill_(raw)
        method.project()
        assert method.scalars()["structure_temperature"] == pytest.approx(bound)
        found = gradients(method, {"structure": loss_of(method)["structure"]})
        assert found["log_structure_temperature"] < 0  # not stuck at the bound


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"structure_temperature": 3.0, "learn_structure_temperature": True}, "structure_temperature"),
        ({"relations": ["fused", "fused"]}, "relations"),
        ({"mix": float("nan"), "mix_bound": "none"}, "mix"),
        ({"matching_pairs": 1}, "matching_pairs"),
        ({"temperature": 2.0}, "temperature"),
    ],
)
def test_settings_that_could_not_do_what_they_say_are_refused(settings, named):
    with pytest.raises(RelalignError, match=named):
        make_method("rebalanced", **settings)


@pytest.mark.parametrize("distance", ["mae", "mse", "cumulative", "wasserstein"])
@pytest.mark.parametrize("relations", [["fused"], ["image", "text", "cross"], ["fused", "cross"]])
def test_every_distance_works_on_every_relation(distance, relations):
    terms = loss_of(make_method("rebalanced", distance=distance, relations=relations, matching_pairs=5))
    assert terms["structure"].isfinite()
    assert terms["structure"] > 0


def test_image_relations_alone_are_the_structure_loss_of_image_embeddings():
    method, batch = make_method("rebalanced", relations=["image"]), make_batch()
    image = method.backbone.encode_image(batch.image).embedding
    expected = structure_loss(image, batch.image.pooled, batch.unmixed_text.pooled, mix=0.5, temperature=0.07)
    torch.testing.assert_close(loss_of(method, batch)["structure"], 2 * expected.student)


def test_the_structure_terms_of_several_relations_are_the_mean_of_each_alone():
    names = ("fused", "image", "cross")
    several, *each = (
        loss_of(make_method("rebalanced", relations=relations, matching_pairs=5))
        for relations in (names, *((name,) for name in names))
    )
    for term in ("structure", "image_structure", "text_structure"):
        torch.testing.assert_close(several[term], sum(terms[term] for terms in each) / 3)


@pytest.mark.parametrize("relations", ["fused", "image", "text", "cross"])
@pytest.mark.parametrize("distance", ["mae", "wasserstein"])
def test_each_kind_of_relation_is_compared_with_both_teachers_as_they_were_before_mixing(relations, distance):
    """For "wasserstein" pairs weigh by how unlike the text tower finds their captions (released: `1 - cos`)."""
    settings = {"relations": [relations], "distance": distance, "matching_pairs": 5}
    method, batch = make_method("rebalanced", **settings), make_batch()
    first = torch.arange(5 if relations == "fused" else 8)
    image = method.backbone.encode_image(batch.image).take(first)
    text = method.backbone.encode_text(batch.text).take(first)
    teachers = [side.take(first).pooled for side in (batch.image, batch.unmixed_text)]
    fused = method.backbone.fuse(image, text).pooled
    rows, columns = {
        "fused": (fused, fused),
        "image": (image.embedding, image.embedding),
        "text": (text.embedding, text.embedding),
        "cross": (image.embedding, text.embedding),
    }[relations]
    expected = relation_structure_loss(
        cosine_matrix(rows, columns),
        *(cosine_matrix(teacher, teacher) for teacher in teachers),
        mix=0.5,
        temperature=0.07,
        distance=distance,
        weights=1 - cosine_matrix(text.embedding, text.embedding),
    )
    terms = loss_of(method, batch)
    torch.testing.assert_close(terms["structure"], 2 * expected.student)
    torch.testing.assert_close(terms["image_structure"], expected.image)


def test_the_weights_of_pairs_are_held():
    """Relations of images, weighed by how unlike their captions are, move the image tower only."""
    method = make_method("rebalanced", relations=["image"], distance="wasserstein")
    found = gradients(method, {"structure": loss_of(method)["structure"]})
    moved = [name for name, gradient in found.items() if gradient.abs().sum() > 0]
    assert any(name.startswith("backbone.image.") for name in moved)
    assert not any(name.startswith("backbone.text.") for name in moved)


def test_representations_are_distilled_from_projected_teachers_whose_projections_learn():
    method = make_method("rebalanced", image_distillation_weight=3.0)
    batch = replace(make_batch(), image_ids=torch.tensor([5, 6, 5, 7, 8, 9, 10, 11]))  # two captions of one image
    image, text = method.backbone.encode_image(batch.image), method.backbone.encode_text(batch.text)
    terms = loss_of(method, batch)
    expected = {
        "image_distillation": (3, image, method.image_teacher(batch.image.pooled)),
        "text_distillation": (2, text, method.text_teacher(batch.unmixed_text.pooled)),
    }
    for name, (weight, student, teacher) in expected.items():
        one_way = one_way_contrastive_loss(
            student.embedding, teacher, temperature=method.backbone.temperature, ids=batch.image_ids
        )
        torch.testing.assert_close(terms[name], weight * one_way)
        side = name.split("_")[0]
        found = gradients(method, {name: loss_of(method, batch)[name]})
        assert {key for key in found if "teacher" in key} == {f"{side}_teacher.weight", f"{side}_teacher.bias"}
        assert found[f"{side}_teacher.weight"].abs().sum() > 0
