from dataclasses import replace

import pytest
import torch

from relalign.errors import RelalignError
from relalign.objectives.annealing import annealed_weight
from relalign.objectives.attention_alignment import distributed
from relalign.objectives.consensus import calibrated_relation_kl, calibrated_relations, softened_targets, trust
from relalign.objectives.contrastive import contrastive_loss, symmetric_cross_entropy
from relalign.objectives.relation import standardised_rows
from relalign.objectives.similarity import cosine_matrix, off_diagonal
from tests.methods.batches import gradients, loss_of, make_batch, make_method


def test_without_its_own_terms_it_is_the_baseline():
    own = {"soft_share": 0.0, "image_relation_weight": 0.0, "text_relation_weight": 0.0, "attention_weight": 0.0}
    ours = make_method("consensus", temperature=0.07, captions=1, **own)
    baseline = make_method("contrastive", temperature=0.07)
    terms, expected = loss_of(ours), loss_of(baseline)
    for name in ("contrastive", "matching"):
        torch.testing.assert_close(terms[name], expected[name])
    found, wanted = gradients(ours, terms), gradients(baseline, expected)
    for name, gradient in wanted.items():
        torch.testing.assert_close(found[name], gradient)


def test_the_consensus_is_not_rounded_under_autocast():
    method, batch = make_method("consensus", soft_share=0.2), make_batch()
    with torch.autocast("cpu", torch.bfloat16):
        rounded = method._consensus(batch)
        assert all(term.isfinite() for term in loss_of(method, batch).values())
    torch.testing.assert_close(rounded, method._consensus(batch))


def test_attention_without_fused_pairs_is_refused():
    with pytest.raises(RelalignError, match="attention_weight"):
        make_method("consensus", matching_weight=0.0, attention_weight=1.0)


@pytest.mark.parametrize("captions", [2, 3, 4])
def test_all_captions_are_contrasted_with_the_image_and_two_with_each_other(captions):
    method = make_method("consensus", soft_share=0.0, sibling_weight=2.0, captions=captions)
    batch = replace(make_batch(), further_texts=(make_batch(seed=1).text, make_batch(seed=2).text)[: captions - 2])
    image = method.backbone.encode_image(batch.image).embedding
    views = [
        method.backbone.encode_text(text).embedding
        for text in (batch.text, batch.other_text, *batch.further_texts)
    ]
    temperature = method.backbone.temperature
    terms = loss_of(method, batch)
    each = [contrastive_loss(image, view, temperature=temperature) for view in views]
    assert method.captions == len(each) == captions
    torch.testing.assert_close(terms["contrastive"], sum(each) / captions)
    torch.testing.assert_close(terms["sibling"], 2 * contrastive_loss(*views[:2], temperature=temperature))


@pytest.mark.parametrize("term", ["sibling", "image_relation", "text_relation", "matching", "attention"])
def test_each_weighted_term_scales_with_its_weight(term):
    once, thrice = (loss_of(make_method("consensus", **{f"{term}_weight": weight})) for weight in (1.0, 3.0))
    torch.testing.assert_close(thrice, once | {term: 3 * once[term]})


@pytest.mark.parametrize("mix", ["consensus", "equal", "text", "image"])
def test_the_mixed_teachers_soften_the_contrast_and_are_kept_by_both_towers(mix):
    settings = {"soft_share": 0.3, "sharpness": 2.0, "captions": 2, "sibling_weight": 1.0}
    weights = {"image_relation_weight": 1.0, "text_relation_weight": 1.0}
    method, batch = make_method("consensus", mix=mix, **settings, **weights), make_batch()
    image = method.backbone.encode_image(batch.image).embedding
    own, other = (method.backbone.encode_text(text).embedding for text in (batch.text, batch.other_text))
    teachers = [calibrated_relations(s.pooled) for s in (batch.unmixed_text, batch.other_text, batch.image)]
    fixed = {"equal": (0.25, 0.25, 0.5), "text": (0.5, 0.5, 0.0), "image": (0.0, 0.0, 1.0)}
    shares = fixed[mix] if mix in fixed else trust(*teachers)
    relations = standardised_rows(sum(share * each for share, each in zip(shares, teachers, strict=True)))
    targets = softened_targets(relations, share=0.3, sharpness=2.0)

    def contrast(rows, columns):
        return symmetric_cross_entropy(cosine_matrix(rows, columns) / method.backbone.temperature, targets)

    def kept(vectors):
        return calibrated_relation_kl(off_diagonal(cosine_matrix(vectors, vectors)), relations, sharpness=2.0)

    expected = {
        "contrastive": (contrast(image, own) + contrast(image, other)) / 2,
        "image_relation": kept(image),
        "text_relation": (kept(own) + kept(other)) / 2,
        "sibling": contrast(own, other),
    }
    terms = loss_of(method, batch)
    torch.testing.assert_close({name: terms[name] for name in expected}, expected)


@pytest.mark.parametrize("side", ["image", "text"])
def test_each_relation_term_reaches_its_own_tower_only(side):
    method = make_method("consensus", text_relation_weight=0.5)
    found = gradients(method, {"relation": loss_of(method)[f"{side}_relation"]})
    assert {name.split(".")[1] for name in found} == {side}


@pytest.mark.parametrize("progress", [0.5, 1.0])
def test_attention_is_the_distributed_distance_grown_exponentially(progress):
    method, batch = make_method("consensus", attention_weight=3.0), make_batch()
    image, text = method.backbone.encode_image(batch.image), method.backbone.encode_text(batch.text)
    a = method.backbone.fuse(image, text, attention=True).attention
    blocks = (a.text_text, a.image_image, a.text_image, a.image_text)
    masks = {"text_mask": a.text_mask, "image_mask": a.image_mask}
    anchored = [distributed(*blocks, anchor=anchor, **masks) for anchor in ("text", "image")]
    expected = 3 * annealed_weight(progress, "exp") * sum(anchored) / 2
    torch.testing.assert_close(loss_of(method, batch, progress=progress)["attention"], expected)


@pytest.mark.parametrize("mix", ["consensus", "equal", "text", "image"])
def test_the_image_teachers_share_is_reported(mix):
    method = make_method("consensus", mix=mix)
    loss_of(method)
    share = method.scalars()["image_trust"]
    expected = {"equal": 0.5, "text": 0.0, "image": 1.0}
    assert share == expected[mix] if mix in expected else 0 < share < 1


def test_corrupted_images_lose_the_consensus_trust():
    generator, shares = torch.Generator().manual_seed(0), []
    latent = torch.randn(64, 7, generator=generator)
    for noise in (0.2, 2.0):
        batch = make_batch(size=64)
        for features, own in ((batch.unmixed_text, 0.5), (batch.other_text, 0.5)):
            features.pooled.copy_(latent + own * torch.randn(64, 7, generator=generator))
        batch.image.pooled[:, :7] = latent + noise * torch.randn(64, 7, generator=generator)
        batch.image.pooled[:, 7:] = 0
        method = make_method("consensus")
        loss_of(method, batch)
        shares.append(method.scalars()["image_trust"])
    assert shares[0] > 0.5 > 2 * shares[1]
