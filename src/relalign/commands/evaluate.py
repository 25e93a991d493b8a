"""`relalign evaluate`: score anybody's embeddings, from any model, with all the metrics of the pipeline."""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from relalign.commands.arrays import read_array, read_embeddings, read_lines, read_vectors
from relalign.commands.table import interval_table
from relalign.errors import RelalignError
from relalign.evaluation.judgements import read_graded_pairs, read_positives
from relalign.evaluation.result_files import query_table, summary, write_evaluation
from relalign.evaluation.suite import Knowledge, measure
from relalign.metrics.relevance import rouge_l
from relalign.retrieval.embeddings import Embeddings
from relalign.retrieval.relevance_files import Relevance
from relalign.settings.evaluate import Evaluate
from relalign.system.artifacts import pretty_json, publish, write_atomic


def run(options: argparse.Namespace) -> None:
    """Measure, print a row a metric with interval and n, and write a run folder if one was asked for."""
    settings = Evaluate(
        recall_at=tuple(options.recall_at),
        ndcg_at=tuple(options.ndcg_at),
        fold_size=options.fold_size,
        released_protocol=options.released_protocol,
        bootstrap_samples=options.bootstrap_samples,
    )
    embeddings, image_order, text_order = read_embeddings(
        options.image,
        options.text,
        options.pairs,
        options.image_ids,
        options.text_ids,
        merge=options.merge_equal_images,
    )
    known = _knowledge(options, embeddings, image_order, text_order)
    measurements, numbers = measure(embeddings, settings, known)
    if options.output is not None:
        inputs = {name: getattr(options, name) for name in ("image", "text", "pairs")}
        with publish(
            options.output / "evaluation",
            made_by="relalign evaluate",
            parameters=settings.model_dump(mode="json"),
            inputs=inputs,
        ) as draft:
            metrics = write_evaluation(draft, measurements, numbers, settings)
        write_atomic(options.output / "metrics.json", pretty_json(metrics))
    rows = summary(query_table(measurements), settings)
    extra = pd.DataFrame({"metric": list(numbers), "value": list(numbers.values())})
    sys.stdout.write(interval_table(pd.concat([rows, extra], ignore_index=True), settings.confidence))


def _knowledge(
    options: argparse.Namespace, embeddings: Embeddings, image_order: Any, text_order: Any
) -> Knowledge:
    relevance, labels, languages = None, None, None
    if options.captions is not None:
        lines = read_lines(options.captions, len(text_order))
        captions = [lines[row] for row in text_order]
        matrix = rouge_l(captions, embeddings.text_to_image, len(embeddings.image))
        relevance = Relevance(matrix, embeddings.text_ids, embeddings.image_ids)
    if options.labels is not None:
        named = pd.Series(read_lines(options.labels, len(text_order))).replace("", None)
        labels = pd.factorize(named)[0].astype(np.int64)[text_order]
    if options.languages is not None:
        named_languages = read_lines(options.languages, len(text_order))
        languages = [named_languages[row] for row in text_order]
    return Knowledge(
        relevance=relevance,
        labels=labels,
        languages=languages,
        teachers=_teachers(options, image_order, text_order),
        positives={
            name: (read_positives(Path(i2t)), read_positives(Path(t2i))) for name, i2t, t2i in options.judgements
        },
        graded=[read_graded_pairs(path) for path in options.graded_judgements],
    )


def _teachers(
    options: argparse.Namespace, image_order: Any, text_order: Any
) -> tuple[torch.Tensor, torch.Tensor] | None:
    paths = options.image_teacher, options.text_teacher
    if paths == (None, None):
        return None
    if None in paths:
        raise RelalignError("--image-teacher and --text-teacher go together: give both or neither.")
    vectors = []
    sides = ((options.image, image_order), (options.text, text_order))
    for path, (embeddings, order) in zip(paths, sides, strict=True):
        rows = read_vectors(path)
        expected = len(read_array(embeddings))
        if len(rows) != expected:
            raise RelalignError(f"{path} has {len(rows)} rows, but there are {expected} embeddings.")
        vectors.append(torch.from_numpy(rows[order]))
    return vectors[0], vectors[1]
