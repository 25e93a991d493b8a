import math

import pytest
import torch

from relalign.errors import RelalignError
from relalign.objectives.attention_alignment import distributed, singular
from tests.methods.batches import gradients, loss_of, make_batch, make_method


def test_alignment_grows_by_the_exponential_schedule_times_lambda():
    method = make_method("iais", lambda_iais=8.0)
    early, late = (loss_of(method, progress=progress)["alignment"] for progress in (0.0, 1.0))
    torch.testing.assert_close(early, late * math.exp(-5))
    torch.testing.assert_close(loss_of(make_method("iais", lambda_iais=2.0), progress=1.0)["alignment"], late / 4)


@pytest.mark.parametrize("alignment", ["singular", "distributed"])
def test_alignment_is_the_mean_of_both_anchors_over_the_positive_pairs(alignment):
    method, batch = make_method("iais", alignment=alignment, annealing="constant", lambda_iais=1.0), make_batch()
    image, text = method.backbone.encode_image(batch.image), method.backbone.encode_text(batch.text)
    a = method.backbone.fuse(image, text, attention=True).attention
    masks = {"text_mask": a.text_mask, "image_mask": a.image_mask}
    if alignment == "distributed":
        blocks = (a.text_text, a.image_image, a.text_image, a.image_text)
        anchored = [distributed(*blocks, anchor=anchor, **masks) for anchor in ("text", "image")]
    else:
        anchored = [
            singular(a.text_text, a.image_image, cross, anchor=anchor, **masks)
            for anchor, cross in (("text", a.text_image), ("image", a.image_text))
        ]
    torch.testing.assert_close(loss_of(method, batch)["alignment"], sum(anchored) / 2)


@pytest.mark.parametrize(
    "settings", [{"alignment": "soft"}, {"renormalise": True}, {"anchors": ["text"]}, {"anchors": ["image"]}]
)
def test_every_variant_trains_the_attention_and_the_shared_projection(settings):
    method = make_method("iais", annealing="constant", **settings)
    found = gradients(method, {"alignment": loss_of(method)["alignment"]})
    assert found["backbone.fusion.0.query_key_value.weight"].abs().sum() > 0
    assert found["backbone.text.trunk.project.1.weight"].abs().sum() > 0


RANKING = {"task": "ranking", "ranking_queries": 2, "ranking_candidates": 8, "ranking_negatives": 3}


def test_ranking_equals_a_loop_over_queries_and_candidates():
    method, batch = make_method("iais", **RANKING).eval(), make_batch()
    value = loss_of(method, batch)["ranking"]
    image, text = method.backbone.encode_image(batch.image), method.backbone.encode_text(batch.text)

    def score(i, t):
        rows = torch.tensor([i]), torch.tensor([t])
        return method.backbone.fuse(image.take(rows[0]), text.take(rows[1])).matching_logit.sigmoid().item()

    losses = []
    for query in range(2):
        others = [j for j in range(8) if j != query]
        for scores in ([score(query, j) for j in others], [score(j, query) for j in others]):
            hardest = sorted(scores, reverse=True)[:3]
            losses += [max(0.0, 0.2 + negative - score(query, query)) for negative in hardest]
    assert value.item() == pytest.approx(sum(losses) / len(losses), abs=1e-5)


def test_hard_negatives_are_chosen_as_in_evaluation_and_training_goes_on():
    method = make_method("iais", dropout=0.5, **RANKING).train()
    loss_of(method)
    assert all(module.training for module in method.modules())


def test_more_negatives_than_the_batch_holds_is_an_error():
    with pytest.raises(RelalignError, match="training.batch_size"):
        loss_of(make_method("iais", task="ranking"))
