"""The stage `evaluate`: one run's embeddings -> metrics.json, evaluation/queries.parquet and intervals."""

from pathlib import Path

from relalign import tracking
from relalign.artifacts import pretty_json, publish, sha256_file, write_atomic
from relalign.cross_modal import measure_recall
from relalign.embeddings import load_embeddings
from relalign.layout import Layout
from relalign.params import Params
from relalign.result_files import write_evaluation


def evaluate(params: Params, layout: Layout, *, method: str, seed: int) -> None:
    """Measure one run on the test split and publish `evaluation/` and `metrics.json`.

    Equal inputs give equal bytes: resampling is seeded by params.yaml. The numbers also go to the MLflow run
    of the training.
    """
    run, settings = layout.run(method, seed), params.evaluate
    embeddings = load_embeddings(run / "embeddings")
    inputs: dict[str, Path] = {"embeddings": run / "embeddings"}
    measurements = measure_recall(embeddings, ks=settings.recall_at)
    scalars: dict[str, float] = {}
    with publish(
        run / "evaluation",
        made_by="relalign evaluate",
        parameters=settings.model_dump(mode="json"),
        inputs=inputs,
    ) as draft:
        metrics = write_evaluation(draft, measurements, scalars, settings)
    write_atomic(run / "metrics.json", pretty_json(metrics))
    tracking.evaluation_run(
        params.tracking,
        root=layout.root,
        model_sha256=sha256_file(run / "model/model.safetensors"),
        name=f"{params.dataset}/{method}/seed{seed}",
        tags={"dataset": params.dataset, "method": method, "seed": str(seed)},
        metrics=metrics,
    )
