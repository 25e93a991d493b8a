"""Against a loop over pairs: which negatives are drawn for which side, and what is scored with what."""

import math

import pytest
import torch

from relalign.methods import method as method_module
from relalign.methods.method import matching_term
from tests.methods.batches import make_batch, make_method


def _hardest(logits, *, query_ids, candidate_ids, generator, count):
    """In place of the random draw: the candidates of other images that it draws most often."""
    other = query_ids[:, None] != candidate_ids[None, :]
    return logits.masked_fill(~other, -torch.inf).topk(count, dim=1).indices


def _slow_matching(backbone, image, text, pairs, *, listwise):
    similarity = (image.embedding @ text.embedding.T).tolist()
    size, count = len(similarity), 2 if listwise else 1

    def logit(i, t):
        return backbone.fuse(image.take(torch.tensor([i])), text.take(torch.tensor([t]))).matching_logit.item()

    total = 0.0
    for row in range(pairs):
        others = [j for j in range(size) if j != row]
        images = sorted(others, key=lambda j, t=row: -similarity[j][t])[:count]
        texts = sorted(others, key=lambda j, i=row: -similarity[i][j])[:count]
        own = logit(row, row)
        with_images, with_texts = [logit(j, row) for j in images], [logit(row, j) for j in texts]
        if listwise:
            for rivals in (with_images, with_texts):
                total += (math.log(sum(map(math.exp, [own, *rivals]))) - own) / pairs
        else:
            losses = [math.log1p(math.exp(-own)), *(math.log1p(math.exp(z)) for z in with_images + with_texts)]
            total += sum(losses) / (3 * pairs)
    return total


@pytest.mark.parametrize("listwise", [False, True])
@pytest.mark.parametrize("seed", [0, 1])
def test_matching_equals_a_loop_over_pairs_and_their_hardest_negatives(monkeypatch, listwise, seed):
    monkeypatch.setattr(method_module, "sample_hard_negatives", _hardest)
    backbone, batch = make_method("contrastive", seed=seed).backbone, make_batch(seed=seed)
    backbone.matching[-1].weight.data.mul_(20)  # logits far enough apart to tell pairs apart
    image, text = backbone.encode_image(batch.image), backbone.encode_text(batch.text)
    value, positive = matching_term(
        backbone, image, text, batch, pairs=5, generator=torch.Generator(), listwise=listwise
    )
    expected = _slow_matching(backbone, image, text, 5, listwise=listwise)
    assert value.item() == pytest.approx(expected, rel=1e-4)
    first = torch.arange(5)
    torch.testing.assert_close(positive.pooled, backbone.fuse(image.take(first), text.take(first)).pooled)
