"""Answers are those of the exported embeddings, however a query comes and whatever is asked beside it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from relalign.errors import RelalignError
from relalign.retrieval.embeddings import load_embeddings
from relalign.retrieval.finished import finished
from relalign.retrieval.given import upright_image
from relalign.retrieval.two_stage import two_stage
from relalign.serve.answers import Answer, Query
from relalign.serve.collection import UnknownItemError
from relalign.serve.service import NotAskableError, Service
from relalign.training.split_data import load_split
from tests.serve.served_project import METHODS, make_served

ONE = ("contrastive",)


def ask(service: Service, query: Query) -> Answer:
    return service.answer([service.checked(query)])[0]


def picture(service: Service, image_id: int):
    return upright_image(service.collection.file(image_id), 10**6, name="")


def a_caption(service: Service, place: int = 3) -> int:
    return sorted(service.collection.captions)[place]


@pytest.mark.parametrize("side", ["image", "text"])
def test_what_is_nearest_is_what_a_product_of_exported_embeddings_says(service, project, side) -> None:
    embeddings = load_embeddings(project[1].run("contrastive", 0) / "embeddings")
    caption = a_caption(service)
    row = np.searchsorted(embeddings.text_ids, caption)
    scores = embeddings.text[row] @ getattr(embeddings, side).T
    if side == "text":
        scores[row] = -np.inf
    ids = getattr(embeddings, f"{side}_ids")[np.argsort(-scores)][:5]
    found = ask(service, Query(ONE, caption_id=caption, top=5)).methods[0]
    got = found.images if side == "image" else found.texts
    assert [getattr(each, "image_id" if side == "image" else "caption_id") for each in got] == ids.tolist()
    np.testing.assert_allclose([each.score for each in got], -np.sort(-scores)[:5], atol=1e-4)


def test_a_typed_text_and_a_given_image_find_what_their_ids_find(service) -> None:
    caption = a_caption(service)
    image = service.collection.image_of[caption]
    typed = ask(service, Query(METHODS, text=service.collection.captions[caption], top=30))
    chosen = ask(service, Query(METHODS, caption_id=caption, top=30))
    for own, known in zip(typed.methods, chosen.methods, strict=True):
        assert own.texts[0].caption == service.collection.captions[caption]
        assert [each.image_id for each in own.images] == [each.image_id for each in known.images]
        assert {each.right for each in own.images} == {None}
    given = ask(service, Query(METHODS, picture=picture(service, image), top=30))
    chosen = ask(service, Query(METHODS, image_id=image, top=30))
    for own, known in zip(given.methods, chosen.methods, strict=True):
        assert own.images[0].image_id == image
        assert [each.caption_id for each in own.texts] == [each.caption_id for each in known.texts]


def test_right_answers_of_test_queries_are_ticked_and_the_query_is_not_among_its_answers(service) -> None:
    collection, caption = service.collection, a_caption(service)
    image = collection.image_of[caption]
    found = ask(service, Query(ONE, caption_id=caption, top=100)).methods[0]
    assert {each.image_id for each in found.images if each.right} == {image}
    assert {each.caption_id for each in found.texts if each.right} == {*collection.captions_of[image]} - {caption}
    assert caption not in {each.caption_id for each in found.texts}
    assert len(found.texts) == len(collection.captions) - 1
    found = ask(service, Query(ONE, image_id=image, top=100)).methods[0]
    assert {each.caption_id for each in found.texts if each.right} == {*collection.captions_of[image]}
    assert image not in {each.image_id for each in found.images}
    assert {each.right for each in found.images} == {None}


@pytest.mark.parametrize("mix", [0.0, 0.3, 1.0])
def test_a_mixed_query_is_the_weighted_sum_of_both_vectors(service, project, mix) -> None:
    embeddings = load_embeddings(project[1].run("contrastive", 0) / "embeddings")
    caption, image = int(embeddings.text_ids[5]), int(embeddings.image_ids[0])
    answer = ask(service, Query(ONE, caption_id=caption, image_id=image, mix=mix, top=4))
    vector = mix * embeddings.text[5] + (1 - mix) * embeddings.image[0]
    scores = embeddings.image @ (vector / np.linalg.norm(vector))
    scores[0] = -np.inf
    assert answer.kind == "mixed"
    np.testing.assert_allclose([each.score for each in answer.methods[0].images], -np.sort(-scores)[:4], atol=1e-4)


@pytest.mark.parametrize("cut", [False, True])
def test_re_ranking_is_that_of_the_two_stage_search(tmp_path: Path, cut: bool) -> None:
    params, layout = make_served(tmp_path, cut=cut)
    service = Service.of_project(params, layout, ONE, seed=0)
    run = service.runs["contrastive"]
    split = finished(run.model.embedder, load_split(params, layout, "test", device=torch.device("cpu")))
    folder = layout.run("contrastive", 0) / "embeddings"
    i2t, t2i = two_stage(run.model.embedder, split, run.embeddings, folder, k=params.evaluate.rerank_depth)
    for side, ids, expected in (
        ("caption", run.embeddings.text_ids, t2i),
        ("image", run.embeddings.image_ids, i2t),
    ):
        row = 4
        found = ask(service, Query(ONE, **{f"{side}_id": int(ids[row])}, top=5, rerank=True)).methods[0]
        got = found.images if side == "caption" else found.texts
        order = expected.logits[row].argsort(descending=True, stable=True)[:5]
        np.testing.assert_allclose([each.matching for each in got], expected.logits[row][order], atol=2e-3)
        assert found.reranked
        assert found.note == ""
    typed = ask(
        service, Query(ONE, text=service.collection.captions[int(run.embeddings.text_ids[4])], rerank=True)
    )
    expected = t2i.logits[4].sort(descending=True).values[:5]
    np.testing.assert_allclose([each.matching for each in typed.methods[0].images][:5], expected, atol=2e-3)


def test_what_cannot_be_re_ranked_says_why_and_is_answered_all_the_same(service) -> None:
    found = ask(service, Query(METHODS, text="red", rerank=True)).methods
    assert [each.reranked for each in found] == [True, False]
    assert "cca has no fusion encoder" in found[1].note
    mixed = ask(service, Query(ONE, text="red", image_id=min(service.collection.paths), rerank=True)).methods[0]
    assert "one text with one image" in mixed.note
    assert mixed.images


def test_without_cached_features_re_ranking_says_so(tmp_path: Path) -> None:
    params, layout = make_served(tmp_path)
    service = Service.of_project(params, layout, ONE, seed=0)
    (layout.features("tiny-image") / "manifest.json").rename(tmp_path / "elsewhere")
    found = ask(service, Query(ONE, text="red", rerank=True)).methods[0]
    assert "data/features" in found.note
    assert found.images


def test_many_queries_at_once_are_answered_as_each_alone(service) -> None:
    collection = service.collection
    images = sorted(collection.paths)
    queries = [
        *(Query(METHODS, text=collection.captions[caption], top=4) for caption in sorted(collection.captions)),
        *(Query(ONE, picture=picture(service, image), top=2) for image in images),
        Query(ONE, image_id=images[2], top=9, rerank=True),
        Query(("cca",), text="red", picture=picture(service, images[0]), mix=0.2),
    ]
    queries = [service.checked(query) for query in queries]
    together = service.answer(queries)
    for query, answer in zip(queries, together, strict=True):
        alone = service.answer([query])[0]
        for one, other in zip(alone.methods, answer.methods, strict=True):
            assert len(one.images) == min(query.top, len(images) - (query.image_id is not None))
            for first, second in zip([*one.images, *one.texts], [*other.images, *other.texts], strict=True):
                assert first.score == pytest.approx(second.score, abs=2e-4)


def test_methods_share_their_encoders(service) -> None:
    first, second = (service.runs[method].model for method in METHODS)
    assert first.image_encoder is second.image_encoder
    assert first.text_encoder is second.text_encoder


@pytest.mark.parametrize(
    ("query", "said"),
    [
        (Query(("clip",), text="red"), "'clip' is not among the methods here: contrastive, cca"),
        (Query(ONE), "Nothing is asked"),
        (Query(ONE, text=" \0 \n"), "Nothing is asked"),
        (Query(ONE, text="red", caption_id=3), "not both"),
        (Query(ONE, text="\ud800"), "not valid Unicode"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(service, query, said) -> None:
    with pytest.raises(NotAskableError, match=said):
        service.checked(query)


def test_ids_of_other_splits_are_unknown(service) -> None:
    for query in (Query(ONE, image_id=0), Query(ONE, caption_id=10**12)):
        with pytest.raises(UnknownItemError, match="test split of openmoji has no"):
            service.checked(query)


def test_white_space_of_a_text_is_collapsed(service) -> None:
    assert service.checked(Query(ONE, text="  a \n dog ")) == Query(ONE, text="a dog")


def test_embeddings_of_another_test_split_are_refused(service) -> None:
    fewer = replace(service.collection, paths=dict([*service.collection.paths.items()][1:]))
    with pytest.raises(RelalignError, match="is not of the test split"):
        Service(fewer, service.runs)
