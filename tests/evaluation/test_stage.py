"""The evaluation stage on tiny trained runs, from features to metrics.json."""

import json
import re
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch

from relalign.errors import RelalignError
from relalign.evaluation.phrase_regions import Phrase, phrase_masks, read_tokeniser
from relalign.evaluation.stage import evaluate
from relalign.methods.model_files import load_model
from relalign.metrics.isd import annotated_attention_distance
from relalign.retrieval.embeddings import load_embeddings, write_embeddings
from relalign.retrieval.relevance_files import make_relevance
from relalign.system.artifacts import publish, read_manifest
from relalign.training.runs import export, train
from relalign.training.split_data import load_split
from tests.features.encoders.checkpoints import save_text
from tests.tiny_project import make_features, tiny_params

SETTINGS = {"bootstrap_samples": 20, "rerank_depth": 8, "ndcg_at": [5]}
FILES = ["metrics.json", *(f"evaluation/{name}" for name in ("queries.parquet", "summary.csv", "manifest.json"))]


@pytest.fixture(scope="module")
def params():
    return tiny_params(evaluate=SETTINGS)


@pytest.fixture(scope="module")
def layout(params, tmp_path_factory):
    """Both methods trained and exported once; the tests of this file only evaluate."""
    torch.set_num_threads(1)
    layout = make_features(tmp_path_factory.mktemp("project"), params)
    make_relevance(layout)
    for method in ("cca", "contrastive"):
        train(params, layout, method=method, seed=0)
        export(params, layout, method=method, seed=0)
    return layout


def metrics_of(params, layout, method):
    evaluate(params, layout, method=method, seed=0)
    return json.loads((layout.run(method, 0) / "metrics.json").read_text())


def test_a_trained_method_has_every_family_of_metrics(params, layout):
    metrics = metrics_of(params, layout, "contrastive")
    assert {
        "i2t/recall@1",
        "t2i/median_rank",
        "rsum",
        "i2t/map@r",
        "i2i/ndcg@5",
        "t2t/ndcg@5",
        "mixed/i2it/ndcg@5",
        "mixed_calibrated/t2it/ndcg@5",
        "geometry/modality_gap",
        "geometry/image_neighbours@10",
        "isd/singular",
        "isd/distributed",
        "rerank/i2t/recall@1",
        "rerank/rsum",
        "rerank/fusion_share",
    } <= set(metrics)
    assert not any(name.startswith(("released/", "folds", "i2i/map")) for name in metrics)


def test_cca_has_no_fusion_and_so_no_rerank_and_no_isd(params, layout):
    metrics = metrics_of(params, layout, "cca")
    assert "i2i/ndcg@5" in metrics
    assert not any(name.startswith(("rerank/", "isd/")) for name in metrics)


@pytest.mark.parametrize("method", ["cca", "contrastive"])
def test_evaluating_again_gives_the_same_bytes(params, layout, method):
    contents = []
    for _ in range(2):
        evaluate(params, layout, method=method, seed=0)
        contents.append([(layout.run(method, 0) / name).read_bytes() for name in FILES])
    assert contents[0] == contents[1]


def test_the_manifest_names_all_that_was_read(params, layout):
    evaluate(params, layout, method="contrastive", seed=0)
    manifest = read_manifest(layout.run("contrastive", 0) / "evaluation")
    assert set(manifest["inputs"]) == {
        "embeddings",
        "model",
        "relevance",
        "pairs",
        "image_features",
        "text_features",
    }


def test_options_add_numbers_under_names_of_their_own(layout):
    plain = metrics_of(tiny_params(evaluate=SETTINGS), layout, "contrastive")
    more = tiny_params(evaluate=SETTINGS | {"released_protocol": True, "fold_size": 10})
    metrics = metrics_of(more, layout, "contrastive")
    added = {re.split("/", name)[0] for name in set(metrics) - set(plain)}
    assert added == {"released", "folds10", "first10"}
    assert {name: metrics[name] for name in plain} == plain


def test_rerank_depth_zero_turns_the_second_stage_off(layout):
    metrics = metrics_of(tiny_params(evaluate=SETTINGS | {"rerank_depth": 0}), layout, "contrastive")
    assert "isd/singular" in metrics
    assert not any(name.startswith("rerank/") for name in metrics)


def test_labels_of_the_pairs_table_are_used(params, tmp_path):
    layout = make_features(tmp_path, params)
    pairs = pd.read_parquet(layout.pairs / "pairs.parquet")
    pairs["label"] = (pairs["image_id"] % 3).map({0: "cat", 1: "dog", 2: None})
    with publish(layout.pairs, made_by="tests") as draft:
        pairs.to_parquet(draft / "pairs.parquet")
    make_relevance(layout)
    train(params, layout, method="cca", seed=0)
    export(params, layout, method="cca", seed=0)
    metrics = metrics_of(params, layout, "cca")
    assert 0 < metrics["i2i/map@r"] <= 100
    table = pd.read_parquet(layout.run("cca", 0) / "evaluation/queries.parquet")
    asked = table.loc[table["metric"] == "i2i/map@r", "query_id"]
    assert set(asked % 3) == {0, 1}


def test_coco_ids_of_the_pairs_table_serve_judgements_and_folds(tmp_path):
    files = {side: f"judged/{side}.json" for side in ("image_to_caption", "caption_to_image")}
    params = tiny_params(
        evaluate=SETTINGS
        | {
            "judgements": {"eccv": files},
            "graded_judgements": ["judged/sts.csv"],
            "fold_size": 10,
            "recall_at": [1],
        }
    )
    layout = make_features(tmp_path, params)
    pairs = pd.read_parquet(layout.pairs / "pairs.parquet")
    pairs["coco_image_id"], pairs["coco_caption_id"] = 5000 - pairs["image_id"], 9000 + 2 * pairs["caption_id"]
    pairs["coco_place"] = -pairs["image_id"]
    with publish(layout.pairs, made_by="tests") as draft:
        pairs.to_parquet(draft / "pairs.parquet")
    test = pairs[pairs["split"] == "test"]
    positives = {
        "image_to_caption": test.groupby("coco_image_id")["coco_caption_id"].apply(list).to_dict(),
        "caption_to_image": {
            caption: [image] for caption, image in zip(test.coco_caption_id, test.coco_image_id, strict=True)
        },
    }
    (tmp_path / "judged").mkdir()
    for side, content in positives.items():
        (tmp_path / files[side]).write_text(json.dumps(content))
    names = [f"COCO_val2014:sentid:{caption}" for caption in test.coco_caption_id]
    lines = [f"{a},{b},{grade % 5},x" for grade, (a, b) in enumerate(pairwise(names))]
    (tmp_path / "judged/sts.csv").write_text("caption1,caption2,agg_score,sampling_method\n" + "\n".join(lines))
    make_relevance(layout)
    train(params, layout, method="cca", seed=0)
    export(params, layout, method="cca", seed=0)
    metrics = metrics_of(params, layout, "cca")
    assert metrics["eccv/i2t/recall@1"] == pytest.approx(metrics["i2t/recall@1"])
    assert metrics["eccv/t2i/recall@1"] == pytest.approx(metrics["t2i/recall@1"])
    assert -1 <= metrics["cxc/sts"] <= 1
    table = pd.read_parquet(layout.run("cca", 0) / "evaluation/queries.parquet")
    first = table.loc[table["metric"] == "first10/i2t/recall@1", "image_id"]
    assert sorted(first) == sorted(test["image_id"].unique())[10:]


@pytest.fixture(scope="module")
def annotated(params, tmp_path_factory):
    """A trained run whose image tokens are a grid of 2 x 2, and the content of a file of phrase regions.

    Of three test captions one has no second phrase that can be compared; a fourth caption is of another split.
    """
    layout = make_features(tmp_path_factory.mktemp("annotated"), params, image_tokens=4)
    pairs = pd.read_parquet(layout.pairs / "pairs.parquet")
    pairs["caption"] = [f"a dog sleeps on the red mat number {i}" for i in pairs["caption_id"]]  # 9 tokens
    with publish(layout.pairs, made_by="tests") as draft:
        pairs.to_parquet(draft / "pairs.parquet")
    save_text("bert", layout.encoder(params.encoders.text))
    make_relevance(layout)
    train(params, layout, method="contrastive", seed=0)
    export(params, layout, method="contrastive", seed=0)
    data = load_split(params, layout, "test", device=torch.device("cpu"))
    lengths = data.text.table.lengths[data.text.rows]
    long, short = data.caption_ids[lengths > 5].tolist(), data.caption_ids[lengths < 4].tolist()
    dog = {"start": 2, "text": "dog", "boxes": [[0, 0, 0.6, 1]]}
    mat = {"start": 20, "text": "red mat", "boxes": [[0.5, 0.5, 1, 1]]}
    captions = [long[2], short[0], long[5], 0]
    return layout, [{"caption_id": caption, "phrases": [mat, dog]} for caption in captions]


def with_phrases(layout, content):
    (layout.root / "phrases.json").write_text(json.dumps(content))
    return tiny_params(evaluate=SETTINGS | {"phrase_regions": "phrases.json"})


def test_phrase_regions_add_the_annotated_distance_and_change_no_other_number(params, annotated):
    layout, content = annotated
    plain = metrics_of(params, layout, "contrastive")
    metrics = metrics_of(with_phrases(layout, content), layout, "contrastive")
    assert set(metrics) - set(plain) == {"isd/annotated"}
    assert {name: metrics[name] for name in plain} == plain
    table = pd.read_parquet(layout.run("contrastive", 0) / "evaluation/queries.parquet")
    found = table[table["metric"] == "isd/annotated"]
    assert sorted(found["query_id"]) == sorted([content[0]["caption_id"], content[2]["caption_id"]])
    assert (found["image_id"] == found["query_id"] // 2).all()


def test_the_annotated_distance_is_that_of_each_pair_on_its_own(annotated):
    layout, content = annotated
    params = with_phrases(layout, content)
    metrics_of(params, layout, "contrastive")
    table = pd.read_parquet(layout.run("contrastive", 0) / "evaluation/queries.parquet")
    model = load_model(layout.run("contrastive", 0) / "model", device=torch.device("cpu"))
    data = load_split(params, layout, "test", device=torch.device("cpu"))
    tokeniser = read_tokeniser(layout.encoder(params.encoders.text))
    phrases = [Phrase.model_validate(phrase) for phrase in content[0]["phrases"]]
    for row in table[table["metric"] == "isd/annotated"].itertuples():
        caption = torch.nonzero(data.caption_ids == row.query_id)[0]
        text = data.text.take(caption)
        with torch.inference_mode():
            image = model.encode_image(data.image.take(data.image_of_caption[caption]))
            blocks = model.fuse(image, model.encode_text(text), attention=True).attention
        length = text.tokens()[0].shape[1]
        words, texts = {row.query_id: length}, {row.query_id: f"a dog sleeps on the red mat number {row.query_id}"}
        masks = phrase_masks({row.query_id: phrases}, texts, words, regions=4, tokeniser=tokeniser)[row.query_id]
        expected = annotated_attention_distance(
            blocks.text_text[0], blocks.image_image[0], masks.words, masks.regions
        )
        assert row.value == pytest.approx(expected, rel=1e-4)


def test_methods_without_fusion_need_no_phrase_regions(layout):
    params = tiny_params(evaluate=SETTINGS | {"phrase_regions": "absent.json"})
    assert "isd/annotated" not in metrics_of(params, layout, "cca")
    with pytest.raises(RelalignError, match=r"absent\.json"):
        evaluate(params, layout, method="contrastive", seed=0)


def test_an_annotated_caption_that_the_pairs_lack_is_an_error(annotated):
    layout, content = annotated
    params = with_phrases(layout, [*content, {"caption_id": 999, "phrases": []}])
    with pytest.raises(RelalignError, match=r"phrases\.json: \[4\]: there is no caption 999"):
        evaluate(params, layout, method="contrastive", seed=0)


def test_a_bad_embedding_is_an_error_naming_its_id_and_leaves_nothing_behind(params, tmp_path):
    layout = make_features(tmp_path, params)
    make_relevance(layout)
    train(params, layout, method="cca", seed=0)
    export(params, layout, method="cca", seed=0)
    run = layout.run("cca", 0)
    embeddings = load_embeddings(run / "embeddings")
    embeddings.text[4] = np.nan
    with publish(run / "embeddings", made_by="tests") as draft:
        write_embeddings(draft, embeddings)
    with pytest.raises(RelalignError, match=f"ids {embeddings.text_ids[4]}"):
        evaluate(params, layout, method="cca", seed=0)
    assert sorted(path.name for path in run.iterdir()) == ["embeddings", "model"]
