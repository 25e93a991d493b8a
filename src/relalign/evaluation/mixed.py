"""Mixed retrieval: an image or a caption asks one pool of images and captions together."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from relalign.evaluation.single_modal import graded_measurements
from relalign.evaluation.test_set import GradedTestSet
from relalign.metrics.measurement import Measurement
from relalign.metrics.ndcg import ndcg
from relalign.metrics.similarity import cosine, leave_out, query_blocks


def measure_mixed(test: GradedTestSet, *, ks: Sequence[int], calibrated: bool = False) -> list[Measurement]:
    """`mixed/i2it/ndcg@k` (images ask) and `mixed/t2it/ndcg@k` (first captions ask) over N + M candidates.

    All similarities are cosines of the one learned space. Relevance is that of single-modal and of cross-modal
    retrieval; the query itself is taken out. With `calibrated` (names `mixed_calibrated/`) each query's scores
    are first brought to mean 0 and deviation 1 within each modality, so that a gap between the modalities does
    not decide which of them comes first.
    """
    found: dict[str, list[dict[int, Tensor]]] = {"i2it": [], "t2it": []}
    for block in query_blocks(len(test.captioned), len(test.image) + len(test.text)):
        image, caption = test.captioned[block], test.first_caption[block]
        gains = torch.cat((test.image_relevance(block), test.caption_relevance(block)), dim=1)
        for side, query, own in (
            ("i2it", test.image[image], torch.from_numpy(image)),
            ("t2it", test.text[caption], torch.from_numpy(caption) + len(test.image)),
        ):
            scores = torch.cat((cosine(query, test.image), cosine(query, test.text)), dim=1)
            if calibrated:
                _calibrate(scores, own, len(test.image))
            kept = gains.clone()
            leave_out(scores, kept, own)
            found[side].append(ndcg(scores, kept, ks=ks))
    prefix = "mixed_calibrated" if calibrated else "mixed"
    return _measurements(prefix, found, test)


def measure_mixed_released(
    test: GradedTestSet,
    cross_i2t: Float[Tensor, "image caption"],
    cross_t2i: Float[Tensor, "caption image"],
    *,
    ks: Sequence[int],
) -> list[Measurement]:
    """Mixed retrieval exactly as the released scripts of CoVLR and RVLR do it, as `released/mixed/...`.

    The query stays among its own candidates, cosines stand uncalibrated beside the cross-modal scores of
    re-ranking, and for captions the image block is transposed: entry (a, b) is caption b's score for image a.
    """
    found: dict[str, list[dict[int, Tensor]]] = {"i2it": [], "t2it": []}
    first = torch.from_numpy(test.first_caption)
    for block in query_blocks(len(test.captioned), len(test.image) + len(test.text)):
        image, caption = torch.from_numpy(test.captioned[block]), first[block]
        to_images, to_captions = test.image_relevance(block), test.caption_relevance(block)
        scores = torch.cat((cosine(test.image[image], test.image), cross_i2t[image].double()), dim=1)
        found["i2it"].append(ndcg(scores, torch.cat((to_images, to_captions), dim=1), ks=ks))
        transposed = cross_t2i[first][:, image].T.double()
        scores = torch.cat((cosine(test.text[caption], test.text), transposed), dim=1)
        gains = torch.cat((to_captions, to_captions[:, first]), dim=1)
        found["t2it"].append(ndcg(scores, gains, ks=ks))
    return _measurements("released/mixed", found, test)


def _calibrate(scores: Float[Tensor, "query candidate"], own: Tensor, images: int) -> None:
    """Standardise each query's image and caption scores apart, in place, the query itself not counted."""
    scores[torch.arange(len(own)), own] = torch.nan
    for part in (scores[:, :images], scores[:, images:]):
        centred = part - part.nanmean(1, keepdim=True)
        deviation = centred.square().nanmean(1, keepdim=True).sqrt()
        part.copy_(torch.where(deviation > 0, centred / deviation, 0.0))


def _measurements(
    prefix: str, found: dict[str, list[dict[int, Tensor]]], test: GradedTestSet
) -> list[Measurement]:
    ids = {"i2it": test.embeddings.image_ids[test.captioned], "t2it": test.embeddings.text_ids[test.first_caption]}
    return [
        measurement
        for side, blocks in found.items()
        for measurement in graded_measurements(f"{prefix}/{side}", blocks, ids[side], test)
    ]
