import pytest

from relalign.evaluation.cross_modal import measure_recall
from relalign.evaluation.languages import measure_languages
from relalign.retrieval.embeddings import Embeddings
from tests.runs_on_disk import random_embeddings


def test_a_language_is_measured_as_if_it_were_alone():
    both = random_embeddings(images=12, captions=2)
    languages = ["de", "en"] * 12
    measured = {item.name: item for item in measure_languages(both, languages, ks=(1, 5))}
    assert len(measured) == 2 * len(measure_recall(both, ks=(1, 5)))
    for place, name in enumerate(("de", "en")):
        alone = Embeddings(
            both.image, both.text[place::2], both.image_ids, both.text_ids[place::2], both.text_image_ids[place::2]
        )
        for item in measure_recall(alone, ks=(1, 5)):
            assert measured[f"language_{name}/{item.name}"].value == pytest.approx(item.value)


def test_one_language_says_nothing_new():
    both = random_embeddings(images=12, captions=2)
    assert measure_languages(both, ["de", ""] * 12, ks=(1,)) == []


def test_images_without_a_caption_in_it_are_candidates_that_do_not_ask():
    both = random_embeddings(images=4, captions=1)
    measured = {m.name: m for m in measure_languages(both, ["a/b", "en", "en", "en"], ks=(1,))}
    assert len(measured["language_a-b/i2t/recall@1"].values) == 1
    assert len(measured["language_en/t2i/recall@1"].values) == 3
