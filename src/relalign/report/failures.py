"""Where methods fail: queries chosen by result, by rules that the page prints."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from relalign.evaluation.result_files import read_query_table
from relalign.layout import Layout
from relalign.report.examples import TOP, Example, Found, Shelf, best, read_models, read_shelf
from relalign.retrieval.embeddings import Embeddings
from relalign.settings import Params

CAPTIONS_AT_ONCE = 4096


@dataclass(frozen=True)
class Failures:
    """Examples and the rule that chose them."""

    title: str
    rule: str
    examples: list[Example]


def read_failures(params: Params, layout: Layout) -> list[Failures]:
    """The largest losses of rank against the baseline, and the images that answer what they should not.

    Of every method's first seed, over the test split. Empty if the report shall show no examples.
    """
    if params.report.examples == 0:
        return []
    shelf, models = read_shelf(layout), read_models(params, layout)
    baseline = params.report.baseline
    ranks = {name: _ranks(layout, name, params.seeds[0]) for name in params.methods}
    others = [name for name in params.methods if name != baseline]
    losses = [_largest_loss(shelf, models, ranks, name, baseline) for name in others]
    found = [
        Failures(
            "Largest loss against the baseline",
            f"Of each other method, the caption whose own image falls furthest behind its rank by {baseline} (the "
            f"first of equals), with what both find.",
            [example for example in losses if example is not None],
        ),
        Failures(
            "Hubs",
            f"Of each method, the image that is most often among the first {TOP} for captions of other images, "
            "with the first such captions.",
            [_hub(shelf, name, model) for name, model in models.items()],
        ),
    ]
    return [group for group in found if group.examples]


def _ranks(layout: Layout, method: str, seed: int) -> pd.Series:
    """The rank of each caption's own image, by caption id."""
    table = read_query_table(layout.run(method, seed) / "evaluation")
    own = table[table["metric"] == "t2i/mean_rank"]
    return pd.Series(own["value"].to_numpy(), index=own["query_id"].to_numpy()).sort_index()


def _largest_loss(
    shelf: Shelf, models: Mapping[str, Embeddings], ranks: Mapping[str, pd.Series], method: str, baseline: str
) -> Example | None:
    """None if the method loses nowhere."""
    loss = ranks[method] - ranks[baseline]
    if loss.empty or loss.max() <= 0:
        return None
    query = int(np.asarray(loss.index)[int(np.argmax(loss.to_numpy()))])
    row = int(np.flatnonzero(models[method].text_ids == query)[0])
    example = shelf.text_to_image({name: models[name] for name in (baseline, method)}, row)
    return replace(example, note={name: f"rank {ranks[name][query]:,.0f}" for name in (baseline, method)})


def hubs(model: Embeddings) -> Counter[int]:
    """How often the row of each image is among the first answers to captions of other images."""
    counts: Counter[int] = Counter()
    owner = model.text_to_image
    for start in range(0, len(model.text), CAPTIONS_AT_ONCE):
        rows = slice(start, start + CAPTIONS_AT_ONCE)
        first = np.argsort(-(model.text[rows] @ model.image.T), axis=1, kind="stable")[:, :TOP]
        counts.update(first[first != owner[rows, None]].tolist())
    return counts


def _hub(shelf: Shelf, method: str, model: Embeddings) -> Example:
    counts = hubs(model)
    row = min(counts, key=lambda row: (-counts[row], row), default=0)
    image = int(model.image_ids[row])
    wrong, owner = [], model.text_to_image
    for text in np.argsort(-(model.text @ model.image[row]), kind="stable"):
        if owner[text] != row and row in best(model.image @ model.text[text]):
            wrong.append(Found(shelf.captions[int(model.text_ids[text])], "", False))
        if len(wrong) == TOP:
            break
    note = (
        f"among the first {TOP} for {counts[row]:,} of {len(model.text):,} captions; on average an image is for "
    )
    note += f"{sum(counts.values()) / len(model.image):,.1f}"
    return Example(shelf.caption_of(image), shelf.picture(image), {method: wrong}, {method: note})
