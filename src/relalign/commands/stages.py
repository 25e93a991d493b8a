"""The pipeline's stages as commands: `relalign stage train --method covlr --seed 0`.

A stage reads params.yaml, takes its inputs from and puts its outputs to the places of `relalign.layout`,
and is what both a Snakemake rule and a DVC stage call. The work is done elsewhere; this file only wires it.
"""

import argparse
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from relalign.layout import Layout
from relalign.settings import Params, load_params


def _params(params: Params, layout: Layout, options: argparse.Namespace) -> None:
    from relalign.system.artifacts import pretty_json, write_atomic

    write_atomic(layout.results / "params.json", pretty_json(params.record()))


def _download(params: Params, layout: Layout, options: argparse.Namespace) -> None:
    from relalign.data.download import download_dataset

    download_dataset(params.datasets[params.dataset], layout.raw, root=layout.root)


def _download_encoder(params: Params, layout: Layout, options: argparse.Namespace) -> None:
    from relalign.features.encoders import download_encoder

    name = options.encoder
    download_encoder(params.encoder[name], layout.encoder(name), root=layout.root)


def _validate(params: Params, layout: Layout, options: argparse.Namespace) -> None:
    from relalign.data.validation import validate_dataset

    dataset = params.datasets[params.dataset]
    validate_dataset(dataset, layout.raw, layout.pairs, params.validate_, root=layout.root)


def _relevance(params: Params, layout: Layout, options: argparse.Namespace) -> None:
    from relalign.retrieval.relevance_files import make_relevance

    make_relevance(layout)


def _features(params: Params, layout: Layout, options: argparse.Namespace) -> None:
    from relalign.features.extraction import extract_features

    name = options.encoder
    extract_features(
        params.encoder[name],
        layout.encoder(name),
        layout.pairs,
        layout.features(name),
        params.features,
        root=layout.root,
        max_pixels=params.validate_.max_pixels,
    )


def _teacher(params: Params, layout: Layout, options: argparse.Namespace) -> None:
    from relalign.teachers.stage import train_teacher

    train_teacher(params, layout, encoder=options.encoder)


def _method(params: Params, layout: Layout, options: argparse.Namespace) -> None:
    from relalign.orchestration.method_identity import write_method_identity

    write_method_identity(params, layout, method=options.method)


def _train(params: Params, layout: Layout, options: argparse.Namespace) -> None:
    from relalign.training.runs import train

    train(params, layout, method=options.method, seed=options.seed)


def _export(params: Params, layout: Layout, options: argparse.Namespace) -> None:
    from relalign.training.runs import export

    export(params, layout, method=options.method, seed=options.seed)


def _evaluate(params: Params, layout: Layout, options: argparse.Namespace) -> None:
    from relalign.evaluation.stage import evaluate
    from relalign.orchestration.receipts import write_receipt

    evaluate(params, layout, method=options.method, seed=options.seed)
    write_receipt(layout, method=options.method, seed=options.seed)


def _compare(params: Params, layout: Layout, options: argparse.Namespace) -> None:
    from relalign.commands.tracked import track_results
    from relalign.comparison.stage import compare
    from relalign.orchestration.receipts import drop_other_receipts

    compare(params, layout)
    drop_other_receipts(params, layout)
    track_results(params, layout)


def _report(params: Params, layout: Layout, options: argparse.Namespace) -> None:
    from relalign.report import write_report

    write_report(params, layout)


STAGES: dict[str, tuple[Any, str, tuple[str, ...]]] = {
    "params": (_params, "check params.yaml and record what it comes to with all defaults", ()),
    "download": (_download, "fetch, check and unpack the dataset", ()),
    "download-encoder": (_download_encoder, "fetch and check a frozen encoder", ("encoder",)),
    "validate": (_validate, "decode every image, check every caption, write the pairs table", ()),
    "relevance": (_relevance, "compute how relevant each test image is to each test caption", ()),
    "features": (_features, "run a frozen encoder over the pairs", ("encoder",)),
    "teacher": (_teacher, "train a single-modal teacher from an encoder", ("encoder",)),
    "method": (_method, "record one method's complete settings and the hash of its code", ("method",)),
    "train": (_train, "train one method with one seed", ("run",)),
    "export": (_export, "embed the test split and index it", ("run",)),
    "evaluate": (_evaluate, "measure one run on the test split", ("run",)),
    "compare": (_compare, "compare the methods over seeds", ()),
    "report": (_report, "write the report", ()),
}


def add_stage_commands(commands: Any) -> None:
    """Add `stage` and its sub-commands to the command line."""
    stage = commands.add_parser("stage", help="run one stage of the pipeline, as Snakemake and DVC do")
    stages = stage.add_subparsers(dest="stage", required=True)
    for name, (work, description, needs) in STAGES.items():
        parser = stages.add_parser(name, help=description, description=description)
        parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="default: %(default)s")
        parser.add_argument("--dataset", help="an entry of `datasets`; default: `dataset` of the params file")
        if "encoder" in needs:
            parser.add_argument("--encoder", required=True, help="an entry of `encoder` in params.yaml")
        if "run" in needs or "method" in needs:
            parser.add_argument("--method", required=True, help="an entry of `method` in params.yaml")
        if "run" in needs:
            parser.add_argument("--seed", required=True, type=int)
        parser.set_defaults(run=_runner(work))


def _runner(work: Any) -> Any:
    def run(options: argparse.Namespace) -> None:
        params = load_params(options.params)
        if options.dataset is not None:
            params = params.on(options.dataset)
        layout = Layout(options.params.resolve().parent, params.dataset)
        with _alone(layout, options):
            work(params, layout, options)

    return run


@contextmanager
def _alone(layout: Layout, options: argparse.Namespace) -> Iterator[None]:
    """Wait for a job that does the same work already: one may outlive a Snakemake that was killed."""
    from filelock import FileLock, Timeout

    given = (
        layout.dataset,
        options.stage,
        *(getattr(options, key, None) for key in ("encoder", "method", "seed")),
    )
    path = layout.root / ".relalign" / ("-".join(str(part) for part in given if part is not None) + ".lock")
    path.parent.mkdir(exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logging.getLogger(__name__).warning("waiting for another process that does the same (%s)", path.name)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
