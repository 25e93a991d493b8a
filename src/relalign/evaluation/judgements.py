"""Human judgements beyond the captions an image came with: ECCV Caption and Crisscrossed Captions (CxC).

Both speak of MS-COCO ids (`cocoid` of an image, `sentid` of a caption), so those of the rows must be known. A file
of positives is a JSON object from an id to the list of ids that match it, as in the package `eccv-caption`
(MIT; `eccv_image_to_caption.json`, `cxc_caption_to_image.json`, ...). CxC's graded files are CSV with the header
`caption,image,agg_score,sampling_method` (or `caption1,caption2,...`, `image1,image2,...`).
"""

import csv
import json
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float64, Int64
from numpy.typing import NDArray
from torch import Tensor

from relalign.errors import RelalignError
from relalign.metrics.measurement import Measurement
from relalign.metrics.precision import precision_at_r
from relalign.metrics.similarity import cosine, query_blocks
from relalign.metrics.success import success_at
from relalign.metrics.vectors import unit_rows
from relalign.retrieval.embeddings import Embeddings

log = logging.getLogger(__name__)

TOLERATED_ABSENT = 0.001
Positives = Mapping[int, Sequence[int]]
GRADED_COLUMNS = {"sits": ("caption", "image"), "sts": ("caption1", "caption2"), "sis": ("image1", "image2")}


@dataclass(frozen=True)
class JudgedNames:
    """The ids by which judgements name the rows of embeddings, in the order of the rows."""

    images: Int64[NDArray[np.int64], " image"]
    captions: Int64[NDArray[np.int64], " caption"]


@dataclass(frozen=True)
class GradedPairs:
    """Graded similarity (0 to 5) of pairs; `kind` is sits (caption, image), sts (captions) or sis (images)."""

    kind: str
    ids: Int64[NDArray[np.int64], "pair 2"]
    scores: Float64[NDArray[np.float64], " pair"]


def read_positives(path: Path) -> Positives:
    """A file of positives, or `RelalignError` naming the file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {int(key): [int(item) for item in items] for key, items in content.items()}
    except FileNotFoundError:
        raise RelalignError(f"{path} does not exist.") from None
    except (ValueError, AttributeError, TypeError) as error:
        raise RelalignError(f"{path} is no JSON object from an id to a list of ids ({error}).") from None


def read_graded_pairs(path: Path) -> GradedPairs:
    """One of CxC's graded files (the aggregated one, not `_raw`), or `RelalignError` naming file and line."""
    with path.open(newline="", encoding="utf-8") as stream:
        reader = csv.DictReader(stream)
        header = set(reader.fieldnames or ())
        kinds = [kind for kind, pair in GRADED_COLUMNS.items() if {*pair, "agg_score"} <= header]
        if not kinds:
            raise RelalignError(f"{path} has the columns {sorted(header)}, which is none of CxC's graded files.")
        columns = GRADED_COLUMNS[kinds[0]]
        ids, scores = [], []
        for row in reader:
            try:
                ids.append([_coco_id(row[column]) for column in columns])
                scores.append(float(row["agg_score"]))
            except ValueError as error:
                raise RelalignError(f"{path}, line {reader.line_num}: {error}.") from None
    return GradedPairs(kinds[0], np.array(ids, dtype=np.int64).reshape(-1, 2), np.array(scores))


def _coco_id(text: str) -> int:
    """`COCO_val2014:sentid:732091` -> 732091; `COCO_val2014_000000365325.jpg` -> 365325."""
    found = re.search(r"(\d+)(?:\.jpg)?$", text or "")
    if found is None:
        raise ValueError(f"'{text}' ends in no MS-COCO id")
    return int(found.group(1))


def measure_positives(
    embeddings: Embeddings, names: JudgedNames, i2t: Positives, t2i: Positives, *, name: str, ks: Sequence[int]
) -> list[Measurement]:
    """`<name>/i2t/recall@k`, `map@r` and `r_precision` of the judged queries, and the same for `t2i`.

    All images and captions are candidates. Judged queries that are not among the embeddings, and more than a few
    such positives, are a `RelalignError`.
    """
    image = unit_rows(embeddings.image, "image embeddings", embeddings.image_ids)
    text = unit_rows(embeddings.text, "text embeddings", embeddings.text_ids)
    image_ids, text_ids = embeddings.image_ids, embeddings.text_ids
    sides = (
        ("i2t", i2t, image, names.images, text, names.captions, image_ids, image_ids),
        ("t2i", t2i, text, names.captions, image, names.images, text_ids, embeddings.text_image_ids),
    )
    measurements = []
    for side, positives, queries, query_names, gallery, gallery_names, ids, image_of in sides:
        judged = {key: found for key, found in positives.items() if found}
        asked = _rows(judged, query_names, f"{name}/{side}")
        matches = _matching_rows([judged[int(query_names[row])] for row in asked], gallery_names, f"{name}/{side}")
        values = _measure_side(queries[torch.from_numpy(asked)], gallery, matches, ks)
        measurements += [
            Measurement(f"{name}/{side}/{metric}", ids[asked], image_of[asked], array)
            for metric, array in values.items()
        ]
    return measurements


def _matching_rows(
    wanted: Sequence[Sequence[int]], ids: Int64[NDArray[np.int64], " row"], name: str
) -> list[NDArray[np.int64]]:
    """Rows of the positives; the few that no split holds (COCO's sixth captions) are left out with a warning."""
    known = set(ids.tolist())
    absent = sorted({item for items in wanted for item in items} - known)
    if len(absent) <= TOLERATED_ABSENT * len(known):
        if absent:
            log.warning(
                "%s: %d judged ids are not among the embeddings, such as %s", name, len(absent), absent[:5]
            )
        wanted = [[item for item in items if item in known] for items in wanted]
    rows = _rows([item for items in wanted for item in items], ids, name)
    return np.split(rows, np.cumsum([len(items) for items in wanted])[:-1])


def _rows(wanted: Iterable[int], ids: Int64[NDArray[np.int64], " row"], name: str) -> NDArray[np.int64]:
    row_of = {identity: row for row, identity in enumerate(ids.tolist())}
    wanted = list(wanted)
    if unknown := [item for item in wanted if item not in row_of]:
        raise RelalignError(
            f"{name}: {len(unknown)} judged ids are not among the embeddings, such as {unknown[:5]}. These "
            "judgements are of MS-COCO's 5K test images; its ids (cocoid and sentid) must be known."
        )
    return np.array([row_of[item] for item in wanted], dtype=np.int64)


def _measure_side(
    queries: Tensor, gallery: Tensor, matches: Sequence[NDArray[np.int64]], ks: Sequence[int]
) -> dict[str, NDArray[np.float64]]:
    found: dict[str, list[Tensor]] = {}
    for block in query_blocks(len(queries), len(gallery)):
        scores = cosine(queries[block], gallery)
        relevant = torch.zeros(scores.shape, dtype=torch.bool)
        for row, columns in enumerate(matches[block]):
            relevant[row, torch.from_numpy(columns)] = True
        precision = precision_at_r(scores, relevant)
        values = {f"recall@{k}": hits for k, hits in success_at(scores, relevant, ks=ks).items()}
        values |= {"map@r": precision.mean_average_precision, "r_precision": precision.r_precision}
        for metric, value in values.items():
            found.setdefault(metric, []).append(value)
    return {metric: torch.cat(parts).numpy() for metric, parts in found.items()}


def graded_correlation(embeddings: Embeddings, names: JudgedNames, pairs: GradedPairs) -> float:
    """Spearman's rank correlation of the cosine similarity with the human grade, over all judged pairs.

    The CxC paper reports the mean over samples of its bootstrap instead, which differs in the third digit.
    """
    image = unit_rows(embeddings.image, "image embeddings", embeddings.image_ids)
    text = unit_rows(embeddings.text, "text embeddings", embeddings.text_ids)
    sides = {"caption": (text, names.captions), "image": (image, names.images)}
    vectors = []
    for column, name in enumerate(GRADED_COLUMNS[pairs.kind]):
        rows, ids = sides[name.rstrip("12")]
        vectors.append(rows[torch.from_numpy(_rows(pairs.ids[:, column].tolist(), ids, f"cxc/{pairs.kind}"))])
    similarity = (vectors[0].double() * vectors[1].double()).sum(1).numpy()
    from scipy.stats import spearmanr  # a second to import, and seldom asked for

    return float(spearmanr(similarity, pairs.scores).statistic)
