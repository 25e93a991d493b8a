import numpy as np
import pytest
import torch

from relalign.methods.model_files import load_model
from relalign.model.backbone import Backbone
from relalign.retrieval import two_stage as module
from relalign.retrieval.embeddings import load_embeddings
from relalign.retrieval.two_stage import caption_positions, two_stage
from relalign.training.runs import export, train
from relalign.training.split_data import load_split
from tests.tiny_project import make_features, tiny_params


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    torch.set_num_threads(1)
    params = tiny_params()
    layout = make_features(tmp_path_factory.mktemp("project"), params)
    train(params, layout, method="contrastive", seed=0)
    export(params, layout, method="contrastive", seed=0)
    folder = layout.run("contrastive", 0)
    model = load_model(folder / "model")
    assert isinstance(model, Backbone)
    data = load_split(params, layout, "test", device=torch.device("cpu"))
    return model, data, load_embeddings(folder / "embeddings"), folder / "embeddings"


def test_candidates_are_the_best_of_the_first_stage_and_logits_those_of_one_pair_at_a_time(run):
    model, data, embeddings, folder = run
    i2t, t2i = two_stage(model, data, embeddings, folder, k=6)
    scores = embeddings.image @ embeddings.text.T
    positions = caption_positions(data, embeddings)
    for direction, matrix in ((i2t, scores), (t2i, scores.T)):
        np.testing.assert_array_equal(np.sort(direction.candidates), np.sort(np.argsort(-matrix)[:, :6]))
    with torch.inference_mode():
        for query, place in ((0, 0), (7, 3), (19, 5)):
            image, caption = torch.tensor([query]), int(i2t.candidates[query, place])
            fused = model.fuse(
                model.encode_image(data.image.take(image)),
                model.encode_text(data.text.take(positions[[caption]])),
            )
            assert i2t.logits[query, place].item() == pytest.approx(fused.matching_logit.item(), abs=1e-4)


def test_both_directions_agree_about_a_pair(run):
    i2t, t2i = two_stage(*run, k=20)
    for image, captions in enumerate(i2t.candidates):
        for place, caption in enumerate(captions):
            back = np.flatnonzero(t2i.candidates[caption] == image)
            assert t2i.logits[caption, back].tolist() == [i2t.logits[image, place].item()]


def test_a_depth_beyond_the_gallery_takes_all_of_it(run):
    i2t, t2i = two_stage(*run, k=1000)
    assert i2t.candidates.shape == (20, 40)
    assert t2i.candidates.shape == (40, 20)


def test_low_precision_changes_logits_by_little_and_by_something(run):
    chosen = run[0].fusion_share.item()
    run[0].fusion_share.fill_(1.0)
    exact, low = (two_stage(*run, k=6, precision=precision)[0].logits for precision in ("float32", "bfloat16"))
    run[0].fusion_share.fill_(chosen)
    assert low.dtype == torch.float32
    difference = (exact - low).abs().max().item()
    assert 0 < difference < 0.1


@pytest.mark.parametrize("pairs_at_once", [1, 13])
def test_how_many_pairs_are_taken_at_once_changes_no_logit_and_each_image_is_fused_once(
    run, monkeypatch, pairs_at_once
):
    whole = two_stage(*run, k=6)
    monkeypatch.setattr(module, "PAIRS_AT_ONCE", pairs_at_once)
    model, fused = run[0], []
    fuse = model.fuse
    monkeypatch.setattr(model, "fuse", lambda image, text: fused.append(len(text.embedding)) or fuse(image, text))
    parts = two_stage(*run, k=6)
    assert len(fused) == len(run[2].image)
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(one.candidates, other.candidates)
        torch.testing.assert_close(one.logits, other.logits)


def test_what_a_caller_does_between_batches_keeps_its_own_precision(run):
    model, data, embeddings, _ = run
    sides = torch.from_numpy(embeddings.image), torch.from_numpy(embeddings.text)
    pairs = torch.stack([torch.arange(5), torch.arange(5)], dim=1)
    answered = []
    with torch.inference_mode():
        for places, fused in module.fused_pairs(model, data, *sides, pairs, precision="bfloat16"):
            assert not torch.is_autocast_enabled("cpu")
            assert len(fused.matching_logit) == len(places)
            answered += places.tolist()
    assert sorted(answered) == list(range(5))


def test_no_pairs_have_no_logits(run):
    model, data, embeddings, _ = run
    assert module.matching_logits(model, data, embeddings, np.zeros((0, 2), dtype=np.int64)).shape == (0,)
