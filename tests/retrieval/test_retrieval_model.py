"""Raw images and texts come to the embeddings that the pipeline has exported."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from relalign.errors import RelalignError
from relalign.layout import Layout
from relalign.methods.model_files import load_model
from relalign.model.backbone import Backbone
from relalign.retrieval.embeddings import embed, load_embeddings
from relalign.retrieval.finished import finished
from relalign.retrieval.given import checked_texts, upright_image
from relalign.retrieval.retrieval_model import RetrievalModel, paired
from relalign.retrieval.two_stage import fused_pairs
from relalign.settings import Params
from relalign.training.split_data import load_split
from tests.raw_runs import RUNS, raw, trained_run
from tests.retrieval.conftest import RunOf
from tests.trained_project import trained_params

CPU = torch.device("cpu")


@pytest.mark.parametrize("kind", RUNS)
def test_embeddings_are_those_that_the_pipeline_exported(run_of: RunOf, kind: str) -> None:
    params, layout, method = run_of(kind)
    model = RetrievalModel.of_run(params, layout, method=method, seed=0)
    images, texts = raw(layout)
    exported = load_embeddings(layout.run(method, 0) / "embeddings")
    np.testing.assert_allclose(model.encode_images(images, batch_size=3), exported.image, atol=1e-5)
    np.testing.assert_allclose(model.encode_texts(texts, batch_size=3), exported.text, atol=1e-5)


@pytest.fixture(scope="module")
def project(run_of: RunOf) -> tuple[Params, Layout, str]:
    return run_of("cut")


@pytest.fixture(scope="module")
def model(project: tuple[Params, Layout, str]) -> RetrievalModel:
    params, layout, method = project
    return RetrievalModel.of_run(params, layout, method=method, seed=0)


def test_paths_names_pictures_and_arrays_of_one_image_have_one_embedding(model, project) -> None:
    path = raw(project[1])[0][0]
    with Image.open(path) as opened:
        given = [path, str(path), opened, opened.convert("RGBA"), np.asarray(opened)]
        found = model.encode_images(given)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, found[:1].repeat(len(given), axis=0), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


def test_an_embedding_does_not_depend_on_what_is_encoded_beside_it(model, project) -> None:
    images, texts = raw(project[1])
    for encode, given in ((model.encode_images, images), (model.encode_texts, texts)):
        alone = np.concatenate([encode([one]) for one in given])
        np.testing.assert_allclose(encode(given, batch_size=5), alone, atol=1e-6)


@pytest.mark.parametrize("kind", ["cut", "cca", "zero shot"])
def test_vectors_that_are_not_normalised_point_where_the_others_do(run_of: RunOf, kind: str) -> None:
    params, layout, method = run_of(kind)
    model = RetrievalModel.of_run(params, layout, method=method, seed=0)
    images, texts = raw(layout)
    for encode, given in ((model.encode_images, images), (model.encode_texts, texts)):
        long = encode(given, normalize=False)
        lengths = np.linalg.norm(long, axis=1, keepdims=True)
        assert np.abs(lengths - 1).max() > 0.01
        np.testing.assert_allclose(long / lengths, encode(given), atol=1e-6)
    cosines = model.similarity(model.encode_texts(texts, normalize=False), model.encode_images(images))
    assert cosines.shape == (len(texts), len(images))
    np.testing.assert_allclose(cosines, model.encode_texts(texts) @ model.encode_images(images).T, atol=1e-6)


def test_several_threads_get_what_one_gets(model, project) -> None:
    images, texts = raw(project[1])
    alone = model.encode_images(images), model.encode_texts(texts)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # so that threads meet in the middle of an encoder
    try:
        with ThreadPoolExecutor(8) as pool:
            pictures = [pool.submit(model.encode_images, [image]) for image in images]
            sentences = [pool.submit(model.encode_texts, [text]) for text in texts]
    finally:
        sys.setswitchinterval(interval)
    for rows, found in zip(alone, (pictures, sentences), strict=True):
        np.testing.assert_allclose(np.concatenate([each.result() for each in found]), rows, atol=1e-6)


def test_white_space_of_texts_is_collapsed_as_validation_does(model) -> None:
    np.testing.assert_array_equal(model.encode_texts([" a \n dog "]), model.encode_texts(["a dog"]))


@pytest.mark.parametrize("kind", ["frozen", "cut"])
def test_features_fuse_to_the_logits_of_the_pipelines_own(run_of: RunOf, kind: str) -> None:
    params, layout, method = run_of(kind)
    model = RetrievalModel.of_run(params, layout, method=method, seed=0)
    images, texts = raw(layout)
    own = paired(model.image_features(images, batch_size=3), model.text_features(texts, batch_size=3))
    backbone = load_model(layout.run(method, 0) / "model")
    assert isinstance(backbone, Backbone)
    split = finished(backbone, load_split(params, layout, "test", device=CPU))
    pairs = torch.cartesian_prod(torch.arange(len(images)), torch.arange(len(texts)))  # captions: grouped, by id
    logits = []
    with torch.inference_mode():
        for network, data in ((model.embedder, own), (backbone, split)):
            sides = (torch.from_numpy(side) for side in embed(network, data))
            found = torch.zeros(len(pairs))
            for places, fused in fused_pairs(network, data, *sides, pairs):
                found[places] = fused.matching_logit
            logits.append(found)
    assert logits[0].std() > 0.01
    torch.testing.assert_close(logits[0], logits[1], atol=1e-3, rtol=0)


def test_the_share_of_fusion_is_the_one_that_evaluation_chose(project) -> None:
    params, layout, method = project
    metrics = layout.run(method, 0) / "metrics.json"
    metrics.write_text('{"rerank/fusion_share": 0.4}')
    share = RetrievalModel.of_run(params, layout, method=method, seed=0).embedder.fusion_share
    metrics.unlink()
    assert share.item() == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([Path("absent.png")], "absent.png: the image is missing"),
        (["absent.png"], "absent.png"),
        ([np.zeros((4, 4, 2), dtype=np.uint8)], r"shape \(4, 4, 2\)"),
        ([np.zeros((0, 4, 3), dtype=np.uint8)], r"shape \(0, 4, 3\)"),
        ([Image.new("L", (9000, 9000))], r"images\[0\]: the image is too large: 9000 x 9000"),
        ("absent.png", r"give \['absent.png'\]"),
        ([], "no images"),
    ],
)
def test_what_is_no_image_is_one_sentence(model, given, said: str) -> None:
    with pytest.raises(RelalignError, match=said):
        model.encode_images(given)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["a dog", "  "], r"texts\[1\] is empty"),
        ("a dog", r"give \['a dog'\]"),
        ([], "no texts"),
    ],
)
def test_what_is_no_text_is_one_sentence(model, given, said: str) -> None:
    with pytest.raises(RelalignError, match=said):
        model.encode_texts(given)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (np.zeros((4, 4, 3)), r"images\[0\] is an array of float64 of shape \(4, 4, 3\); uint8"),
        (7, "is a int; give"),
    ],
)
def test_what_is_of_a_wrong_type_is_one_sentence(given, said: str) -> None:
    with pytest.raises(RelalignError, match=said):
        upright_image(given, 100, name="images[0]")
    with pytest.raises(RelalignError, match=r"texts\[1\] is not text"):
        checked_texts(["a dog", given])


def test_a_run_that_is_not_trained_or_unknown_is_one_sentence(project) -> None:
    params, layout, _ = project
    with pytest.raises(RelalignError, match="'covlr' is not trained with seed 5. Run `relalign stage train"):
        RetrievalModel.of_run(params, layout, method="covlr", seed=5)
    with pytest.raises(RelalignError, match=r"'clip' is not an entry of 'method'.*covlr"):
        RetrievalModel.of_run(params, layout, method="clip", seed=0)


def test_a_run_of_other_encoders_than_those_there_is_refused(tmp_path: Path) -> None:
    params, layout, method = trained_run(tmp_path, "frozen")
    with pytest.raises(RelalignError, match=r"another image encoder.*than encoder.tiny-image"):
        RetrievalModel.of_run(trained_params(text=None), layout, method=method, seed=0)
    manifest = layout.encoder("tiny-text") / "manifest.json"
    manifest.write_text(manifest.read_text().replace("download-encoder", "somebody"))
    with pytest.raises(RelalignError, match=r"another text encoder.*than encoder.tiny-text"):
        RetrievalModel.of_run(params, layout, method=method, seed=0)
