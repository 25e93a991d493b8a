from dataclasses import replace
from functools import partial

import pytest
import torch

from relalign.errors import RelalignError
from relalign.objectives.annealing import annealed_weight
from relalign.objectives.attention_alignment import distributed, entropy, singular, soft
from tests.methods.batches import gradients, loss_of, make_batch, make_method

RANKING = {"task": "ranking", "ranking_queries": 2, "ranking_candidates": 8, "ranking_negatives": 3}


@pytest.mark.parametrize("annealing", ["exp", "linear", "log", "constant"])
def test_alignment_grows_by_its_schedule(annealing):
    method, whole = (make_method("iais", annealing=schedule) for schedule in (annealing, "constant"))
    for progress in (0.0, 0.3, 1.0):
        expected = annealed_weight(progress, annealing) * loss_of(whole)["alignment"]
        torch.testing.assert_close(loss_of(method, progress=progress)["alignment"], expected)


@pytest.mark.parametrize(
    ("setting", "term", "task"),
    [
        ("task_weight", "matching", {}),
        ("task_weight", "ranking", RANKING),
        ("lambda_iais", "alignment", {}),
    ],
)
def test_each_weighted_term_scales_with_its_weight(setting, term, task):
    once, thrice = (loss_of(make_method("iais", **task, **{setting: weight})) for weight in (1.0, 3.0))
    torch.testing.assert_close(thrice, once | {term: 3 * once[term]})


@pytest.mark.parametrize("anchors", [("text",), ("image",), ("text", "image")])
@pytest.mark.parametrize(
    ("alignment", "renormalise"),
    [("singular", False), ("singular", True), ("distributed", False), ("soft", False), ("entropy", False)],
)
def test_alignment_is_the_mean_of_its_anchors_over_the_positive_pairs(alignment, renormalise, anchors):
    settings = {"alignment": alignment, "renormalise": renormalise, "anchors": anchors}
    method, batch = make_method("iais", annealing="constant", lambda_iais=1.0, **settings), make_batch()
    image, text = method.backbone.encode_image(batch.image), method.backbone.encode_text(batch.text)
    a = method.backbone.fuse(image, text, attention=True).attention
    masks = {"text_mask": a.text_mask, "image_mask": a.image_mask}
    across = {"text": (a.text_image,), "image": (a.image_text,)}
    distance = {"soft": soft, "entropy": entropy}.get(alignment, partial(singular, renormalise=renormalise))
    if alignment == "distributed":
        across, distance = dict.fromkeys(across, (a.text_image, a.image_text)), distributed
    anchored = [distance(a.text_text, a.image_image, *across[side], anchor=side, **masks) for side in anchors]
    torch.testing.assert_close(loss_of(method, batch)["alignment"], sum(anchored) / len(anchors))


@pytest.mark.parametrize(
    "settings",
    [
        {"alignment": "soft"},
        {"alignment": "entropy"},
        {"renormalise": True},
        {"anchors": ["text"]},
        {"anchors": ["image"]},
    ],
)
def test_every_variant_trains_the_attention_and_the_shared_projection(settings):
    method = make_method("iais", annealing="constant", **settings)
    found = gradients(method, {"alignment": loss_of(method)["alignment"]})
    assert found["backbone.fusion.0.query_key_value.weight"].abs().sum() > 0
    assert found["backbone.to_fusion.text.1.weight"].abs().sum() > 0


@pytest.mark.parametrize(
    ("settings", "negatives"),
    [
        ({}, 3),
        ({"ranking_queries": 5, "matching_pairs": 2}, 3),
        ({"ranking_negatives": 31, "ranking_candidates": 400}, 7),
        ({"ranking_margin": 0.4}, 3),
    ],
)
@pytest.mark.parametrize("prefilter", [0, 4])
def test_ranking_equals_a_loop_over_queries_and_candidates(settings, negatives, prefilter):
    """A batch with fewer candidates than negatives asked for gives as many as it has."""
    settings = RANKING | settings
    prefilter = prefilter and max(prefilter, settings["ranking_negatives"])
    method, batch = make_method("iais", **settings | {"ranking_prefilter": prefilter}).eval(), make_batch()
    value = loss_of(method, batch)["ranking"]
    image, text = method.backbone.encode_image(batch.image), method.backbone.encode_text(batch.text)
    similarity = (image.embedding @ text.embedding.T).tolist()

    def score(i, t):
        rows = torch.tensor([i]), torch.tensor([t])
        return method.backbone.fuse(image.take(rows[0]), text.take(rows[1])).matching_logit.sigmoid().item()

    losses, margin = [], settings.get("ranking_margin", 0.2)
    for query in range(method.settings.ranking_queries):
        others = [j for j in range(8) if j != query]
        for pairs in ([(query, j) for j in others], [(j, query) for j in others]):
            kept = sorted(pairs, key=lambda pair: -similarity[pair[0]][pair[1]])[: prefilter or None]
            hardest = sorted((score(*pair) for pair in kept), reverse=True)[:negatives]
            losses += [max(0.0, margin + negative - score(query, query)) for negative in hardest]
    assert value.item() == pytest.approx(sum(losses) / len(losses), abs=1e-5)


def test_both_tasks_align_the_attention_of_the_same_pairs():
    matching, ranking = (make_method("iais", **settings, matching_pairs=5) for settings in ({}, RANKING))
    torch.testing.assert_close(loss_of(ranking)["alignment"], loss_of(matching)["alignment"])


def test_a_last_batch_of_two_rows_is_learnt_from():
    method = make_method("iais", task="ranking", ranking_prefilter=128)
    assert all(term.isfinite() for term in loss_of(method, make_batch(size=2)).values())


def test_round_trips_through_the_other_modality_are_distributions():
    """What "distributed" compares: products of the blocks across have rows that sum to 1."""
    method, batch = make_method("iais"), make_batch()
    image, text = method.backbone.encode_image(batch.image), method.backbone.encode_text(batch.text)
    a = method.backbone.fuse(image, text, attention=True).attention
    for there, back, mask in (
        (a.text_image, a.image_text, a.text_mask),
        (a.image_text, a.text_image, a.image_mask),
    ):
        torch.testing.assert_close((there @ back).sum(2), mask.float())


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"renormalise": True, "alignment": "soft"}, "renormalise"),
        ({"ranking_negatives": 8, "ranking_candidates": 8}, "ranking_negatives"),
        ({"ranking_negatives": 3, "ranking_prefilter": 2}, "ranking_prefilter"),
    ],
)
def test_a_setting_that_could_have_no_effect_is_refused(settings, named):
    with pytest.raises(RelalignError, match=named):
        make_method("iais", **settings)


@pytest.mark.parametrize("prefilter", [0, 3])
def test_hard_negatives_are_chosen_as_in_evaluation_and_training_goes_on(prefilter):
    settings = RANKING | {"ranking_negatives": 2, "ranking_prefilter": prefilter}
    method, batch = make_method("iais", dropout=0.5, **settings), make_batch(size=32)
    rows = torch.arange(32)
    here, there = (method.train(mode)._hardest(batch, rows, rows) for mode in (True, False))
    assert all(torch.equal(*pair) for pair in zip(here, there, strict=True))
    loss_of(method.train())
    assert all(module.training for module in method.modules())


def test_a_query_that_is_its_only_candidate_is_an_error_that_names_the_remedy():
    method, batch = make_method("iais", **RANKING), make_batch()
    with pytest.raises(RelalignError, match="training.batch_size"):
        loss_of(method, replace(batch, image_ids=torch.zeros(8, dtype=torch.long)))
