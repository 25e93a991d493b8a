"""Embedded test splits, and run folders as the evaluation stage leaves them."""

import numpy as np

from relalign.evaluation.cross_modal import measure_recall
from relalign.evaluation.result_files import write_evaluation
from relalign.retrieval.embeddings import Embeddings
from relalign.settings.evaluate import Evaluate
from relalign.system.artifacts import pretty_json, publish

QUICK = Evaluate(bootstrap_samples=50, permutations=99)


def random_embeddings(images=40, captions=3, width=8, noise=0.6, seed=0):
    """A test split with ids that are not row numbers; less noise means better retrieval."""
    rng = np.random.default_rng(seed)
    image = rng.standard_normal((images, width))
    owner = np.repeat(np.arange(images), captions)
    text = image[owner] + noise * rng.standard_normal((len(owner), width))
    rows = [side / np.linalg.norm(side, axis=1, keepdims=True) for side in (image, text)]
    image_ids = 10 + 3 * np.arange(images, dtype=np.int64)
    return Embeddings(
        rows[0].astype(np.float32),
        rows[1].astype(np.float32),
        image_ids,
        1000 + np.arange(len(owner), dtype=np.int64),
        image_ids[owner],
    )


def write_evaluated_run(run, embeddings, settings=QUICK):
    """Publish the recalls of embeddings as `run/evaluation` and `run/metrics.json`."""
    with publish(run / "evaluation", made_by="test") as draft:
        metrics = write_evaluation(draft, measure_recall(embeddings, ks=settings.recall_at), {}, settings)
    (run / "metrics.json").write_text(pretty_json(metrics))
    return run
