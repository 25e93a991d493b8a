"""The stage `evaluate`: one run's embeddings -> metrics.json, evaluation/queries.parquet and intervals."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from relalign.data.pairs import read_pairs
from relalign.evaluation.attention_example import attention_example
from relalign.evaluation.encoder_space import measure_encoders
from relalign.evaluation.fusion_metrics import measure_attention, measure_reranked
from relalign.evaluation.judgements import JudgedNames, read_graded_pairs, read_positives
from relalign.evaluation.phrase_regions import (
    PhraseMasks,
    check_whole_picture,
    phrase_masks,
    read_phrases,
    read_tokeniser,
)
from relalign.evaluation.result_files import ATTENTION_FILE, SUMMARY_METRICS, write_evaluation
from relalign.evaluation.suite import CrossScores, Knowledge, measure, released_scores
from relalign.features.batches import SplitData
from relalign.layout import Layout
from relalign.methods.model_files import load_model
from relalign.metrics.measurement import Measurement
from relalign.model.backbone import Backbone
from relalign.retrieval.embeddings import Embeddings, load_embeddings
from relalign.retrieval.finished import finished
from relalign.retrieval.fusion_share import choose_fusion_share
from relalign.retrieval.relevance_files import load_relevance
from relalign.retrieval.two_stage import caption_positions, two_stage
from relalign.settings import Params
from relalign.system.artifacts import pretty_json, publish, read_manifest, write_atomic
from relalign.training.process import choose_device, prepare_process
from relalign.training.runs import check_model
from relalign.training.split_data import load_split, model_inputs


def evaluate(params: Params, layout: Layout, *, method: str, seed: int) -> None:
    """Measure one run on the test split and publish `evaluation/` and `metrics.json`.

    Equal inputs give equal bytes: resampling is seeded by params.yaml. (MLflow gets the numbers when runs
    are compared.) A model without a fusion encoder (CCA) has no `rerank/` and `isd/` numbers.
    """
    prepare_process(params)
    run, settings = layout.run(method, seed), params.evaluate
    sources = model_inputs(params, layout)
    check_model(params, layout, sources, method=method, seed=seed)
    read_manifest(run / "embeddings", made_from={"model": run / "model"})
    read_manifest(layout.relevance, made_from={"pairs": layout.pairs})
    embeddings = load_embeddings(run / "embeddings")
    data = load_split(params, layout, "test", device=choose_device(params.training.device))
    measurements, cross, of_fusion, example = _fusion(params, layout, run, data, embeddings, seed)
    known = _knowledge(params, layout, embeddings, data, cross)
    without_fusion, numbers = measure(embeddings, settings, known)
    inputs = {
        "embeddings": run / "embeddings",
        "model": run / "model",
        "relevance": layout.relevance,
        **sources,
    }
    with publish(
        run / "evaluation",
        made_by="relalign evaluate",
        parameters=settings.model_dump(mode="json"),
        inputs=inputs,
    ) as draft:
        metrics = write_evaluation(draft, without_fusion + measurements, numbers | of_fusion, settings)
        if example is not None:
            (draft / ATTENTION_FILE).write_text(pretty_json(example), encoding="utf-8")
    write_atomic(run / "metrics.json", pretty_json(metrics))
    summary = {name: round(metrics[name], 4) for name in SUMMARY_METRICS if name in metrics}
    write_atomic(run / "summary.json", pretty_json(summary))


def _fusion(
    params: Params, layout: Layout, run: Path, data: SplitData, embeddings: Embeddings, seed: int
) -> tuple[list[Measurement], CrossScores | None, dict[str, float], dict[str, Any] | None]:
    settings = params.evaluate
    model = load_model(run / "model", device=data.image_ids.device)
    if not isinstance(model, Backbone):
        return [], None, {}, None
    frozen, data = data, finished(model, data)
    measurements = measure_attention(
        model, data, embeddings, _phrases(params, layout, data), precision=settings.precision
    )
    if len(model.encoders):
        relevance = load_relevance(layout.relevance)
        for name, split in (("encoder", data), ("teacher", frozen)):
            measurements += measure_encoders(split, embeddings, relevance, ks=settings.ndcg_at, prefix=f"{name}/")
    example = attention_example(model, data, embeddings, _captions(layout))
    if not settings.rerank_depth:
        return measurements, None, {}, example
    validation = load_split(params, layout, "val", device=data.image_ids.device, seed=seed)
    choose_fusion_share(
        model, finished(model, validation), candidates=settings.rerank_depth, precision=settings.precision
    )
    share = {"rerank/fusion_share": model.fusion_share.item()}
    i2t, t2i = two_stage(
        model, data, embeddings, run / "embeddings", k=settings.rerank_depth, precision=settings.precision
    )
    measurements += measure_reranked(embeddings, i2t, t2i, ks=settings.recall_at)
    if not settings.released_protocol:
        return measurements, None, share, example
    images, captions = len(embeddings.image), len(embeddings.text)
    cross = (
        released_scores(images, captions, i2t.candidates, i2t.logits),
        released_scores(captions, images, t2i.candidates, t2i.logits),
    )
    return measurements, cross, share, example


def _captions(layout: Layout) -> dict[int, str]:
    pairs = read_pairs(layout)
    return dict(zip(pairs["caption_id"].tolist(), pairs["caption"].tolist(), strict=True))


def _phrases(params: Params, layout: Layout, data: SplitData) -> dict[int, PhraseMasks]:
    """The annotated captions of the test split; none without `evaluate.phrase_regions`."""
    if params.evaluate.phrase_regions is None:
        return {}
    image, text = params.encoders.image, params.encoders.text
    check_whole_picture(layout.encoder(image))
    captions = _captions(layout)
    annotated = read_phrases(layout.root / params.evaluate.phrase_regions, captions)
    return phrase_masks(
        annotated,
        captions,
        dict(zip(data.caption_ids.tolist(), data.text.table.lengths[data.text.rows].tolist(), strict=True)),
        regions=data.image.table.tokens.shape[1],
        tokeniser=read_tokeniser(layout.encoder(text)),
        prefix=params.encoder[text].prefix,
    )


def _knowledge(
    params: Params, layout: Layout, embeddings: Embeddings, data: SplitData, cross: CrossScores | None
) -> Knowledge:
    settings, pairs = params.evaluate, read_pairs(layout, "test").sort_values("caption_id")
    captions = caption_positions(data, embeddings)
    positives = {
        name: (
            read_positives(layout.root / files.image_to_caption),
            read_positives(layout.root / files.caption_to_image),
        )
        for name, files in settings.judgements.items()
    }
    return Knowledge(
        relevance=load_relevance(layout.relevance),
        labels=_labels(pairs),
        languages=pairs["language"].fillna("").tolist() if "language" in pairs.columns else None,
        teachers=(data.image.pooled.cpu(), data.text.pooled[captions].cpu()),
        positives=positives,
        graded=[read_graded_pairs(layout.root / path) for path in settings.graded_judgements],
        names=_coco_names(pairs),
        cross_scores=cross,
        fold_order=_file_order(pairs),
    )


def _labels(pairs: pd.DataFrame) -> NDArray[np.int64] | None:
    """A number for each label, in the order of the rows, -1 for none; None for data without labels."""
    if "label" not in pairs.columns:
        return None
    return pd.factorize(pairs["label"])[0].astype(np.int64)


def _coco_names(pairs: pd.DataFrame) -> JudgedNames | None:
    """MS-COCO's ids of images and captions, where the data has them."""
    if "coco_image_id" not in pairs.columns:
        return None
    images = pairs.drop_duplicates("image_id").sort_values("image_id")["coco_image_id"]
    return JudgedNames(images.to_numpy(np.int64), pairs["coco_caption_id"].to_numpy(np.int64))


def _file_order(pairs: pd.DataFrame) -> NDArray[np.int64] | None:
    """The rows of images in the order of Karpathy's file, where the data has it."""
    if "coco_place" not in pairs.columns:
        return None
    images = pairs.drop_duplicates("image_id").sort_values("image_id")
    return np.argsort(images["coco_place"].to_numpy())
