"""What MLflow gets when all runs are evaluated: their final numbers, a model a run, and the champion.

Each run's model is a reference of a few kB, as eighteen whole ones would be 2 GB of mostly equal encoders. The
best run on validation is logged whole and registered, so that it loads on any machine.
"""

from pathlib import Path

import numpy as np

from relalign import tracking
from relalign.evaluation.result_files import read_metrics
from relalign.layout import Layout
from relalign.settings import Params
from relalign.system.artifacts import read_manifest
from relalign.training.selection import validation_scores

LOADER = "relalign.retrieval.mlflow_model"  # by name: only what is logged is imported


def track_results(params: Params, layout: Layout) -> bool:
    """Record all evaluated runs of params.yaml. What fails in MLflow is a warning, and False."""
    if not params.tracking.enabled:
        return True
    runs = [(method, seed) for method in params.methods for seed in params.seeds]
    evaluations = [_evaluation(params, layout, *run) for run in runs]
    scores = validation_scores(params, layout, tuple(params.methods))
    best = max(runs, key=scores.__getitem__)
    method, seed = best
    why = f"the best Rsum on validation, {scores[best]:.1f}"
    if params.datasets[params.dataset].rotate_validation:
        why = f"most above the methods' mean Rsum on its seed's own validation split, by {scores[best]:.1f}"
    champion = tracking.Champion(
        evaluations[runs.index(best)],
        _model(params, layout, method, seed, whole=True),
        f"{method}, seed {seed}: of {len(runs)} runs {why}.",
    )
    return tracking.add_evaluations(
        params.tracking, evaluations, root=layout.root, dataset=params.dataset, champion=champion
    )


def _evaluation(params: Params, layout: Layout, method: str, seed: int) -> tracking.Evaluation:
    run = layout.run(method, seed)
    return tracking.Evaluation(
        **tracking.run_identity(params.dataset, method, seed),
        model_sha256=read_manifest(run / "model")["outputs"]["model.safetensors"]["sha256"],
        metrics=read_metrics(run / "metrics.json"),
        files=[run / "metrics.json"],
        model=_model(params, layout, method, seed),
    )


def _model(params: Params, layout: Layout, method: str, seed: int, *, whole: bool = False) -> tracking.LoggedModel:
    def fill(folder: Path) -> None:
        # Here, so that torch is imported on the side thread, and only if something is logged.
        from relalign.retrieval.exported import write_exported
        from relalign.retrieval.mlflow_model import write_reference

        write = write_exported if whole else write_reference
        write(folder, params, layout, method=method, seed=seed)

    vectors = np.load(layout.run(method, seed) / "embeddings/text.npy", mmap_mode="r", allow_pickle=False)
    return tracking.LoggedModel(fill, LOADER, vectors.shape[1], with_code=whole)
