"""Where the time of one run goes: `python -m benchmarks.run_profile [--method covlr]`, after a run of the
pipeline.

CPU seconds of the parts of a training (imports, reading, the CCA start, the steps, validation, saving), and of
what an evaluation imports and computes. Nothing is published.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run_profile", description=__doc__)
    parser.add_argument("--method", default="contrastive", help="a trained entry of method; default: %(default)s")
    method = parser.parse_args().method
    lap = Laps()

    import torch

    lap("train: import torch")
    from relalign.methods.cca import start_from_cca
    from relalign.methods.model_files import build_method, load_model, save_model
    from relalign.training import loop
    from relalign.training.process import prepare_process
    from relalign.training.relations import Relations
    from relalign.training.split_data import load_split, open_stores, widths_of
    from relalign.training.validation import validation_metrics

    lap("train: import relalign")
    import mlflow.store.tracking.sqlalchemy_store
    import mlflow.tracking  # noqa: F401 (what a run that is tracked imports beside its work)

    lap("train: import MLflow")
    from relalign.layout import Layout
    from relalign.settings import load_params

    params = load_params(Path("params.yaml"))
    prepare_process(params)
    layout, seed, device = Layout(Path.cwd(), params.dataset), params.seeds[0], torch.device("cpu")
    settings = params.settings_of(method)
    train, validation = (load_split(params, layout, split, device=device, seed=seed) for split in ("train", "val"))
    lap("train: read features")
    rotated = seed if params.datasets[params.dataset].rotate_validation else None
    relations = Relations.of(layout, "val", validation, rotated_by=rotated)
    lap("train: relevance on validation")
    widths = widths_of(*open_stores(params, layout))
    built = build_method(settings, params.backbone, widths, seed=seed)
    start_from_cca(built.backbone, train, params.backbone)
    lap("train: CCA start")
    built.eval()
    validation_metrics(built.backbone, validation, relations)
    lap("train: one validation")
    state = loop._start(built, params.training, Path("no checkpoint"), "")
    steps = []
    for _ in range(3):
        before = time.process_time()
        loop._run_epoch(state, train, params.training, seed=seed)
        steps.append((time.process_time() - before) / train.batches(params.training.batch_size))
    lap.laps["train: one step"] = statistics.median(steps)
    lap.start = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        save_model(Path(folder), built, settings=settings, backbone=params.backbone, widths=widths)
    lap("train: save")

    import relalign.evaluation.stage as stage

    lap("evaluate: import what training has not")
    run = layout.run(method, seed)
    data = load_split(params, layout, "test", device=device)
    embeddings = stage.load_embeddings(run / "embeddings")
    model = load_model(run / "model")
    lap("evaluate: read features and model")
    stage.measure_attention(model, data, embeddings, {}, precision="float32")
    lap("evaluate: attention of matching pairs")
    stage.choose_fusion_share(model, validation, candidates=params.evaluate.rerank_depth)
    lap("evaluate: fusion's share, on validation")
    stage.two_stage(model, data, embeddings, run / "embeddings", k=params.evaluate.rerank_depth)
    lap("evaluate: re-rank the test split")
    known = stage._knowledge(params, layout, embeddings, data, None)
    stage.measure(embeddings, params.evaluate, known)
    lap("evaluate: all other metrics")
    print(f"{method}, CPU seconds")
    for name, seconds in lap.laps.items():
        print(f"{name:42}{seconds:8.2f}")


class Laps:
    """CPU seconds since the last call, by name."""

    def __init__(self):
        self.laps, self.start = {}, time.process_time()

    def __call__(self, name):
        now = time.process_time()
        self.laps[name], self.start = now - self.start, now


if __name__ == "__main__":
    main()
