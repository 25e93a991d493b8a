"""The options of the commands that people type; the work is imported when it is asked for."""

import argparse
from pathlib import Path
from typing import Any

FILES = ".npy, .npz, .safetensors, .pt or .parquet; FILE#NAME for one of several arrays in it"


def add_user_commands(commands: Any) -> None:
    """Add `init`, `evaluate`, `compare`, `export` and `ui` to the command line."""
    _add_init(commands)
    _add_evaluate(commands)
    _add_compare(commands)
    _add_export(commands)
    _add_ui(commands)


def _add_init(commands: Any) -> None:
    parser = commands.add_parser("init", help="take images and captions of your own into use")
    parser.add_argument("path", type=Path, metavar="FOLDER_OR_FILE", help="the folder with both, or the captions")
    parser.add_argument("--name", help="of the dataset in params.yaml; default: that of the folder or file")
    parser.add_argument("--images", type=Path, metavar="FOLDER", help="where the images are, if not there")
    for role, what in (
        ("image", "names the images"),
        ("caption", "holds the captions"),
        ("split", "says the split"),
    ):
        parser.add_argument(f"--{role}-column", metavar="NAME", help=f"the column that {what}; default: guessed")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="default: %(default)s")
    parser.set_defaults(run=_init)


def _add_evaluate(commands: Any) -> None:
    parser = commands.add_parser("evaluate", help="score image and text embeddings of any model")
    path = {"type": Path, "metavar": "FILE"}
    parser.add_argument("--image", **path, required=True, help=f"image embeddings ({FILES}), a row an image")
    parser.add_argument("--text", **path, required=True, help=f"text embeddings ({FILES}), a row a caption")
    parser.add_argument(
        "--pairs",
        **path,
        required=True,
        help="the image of each caption (integers): its id with --image-ids, else its row in --image",
    )
    parser.add_argument("--image-ids", **path, help="ids of the images; default: row numbers")
    parser.add_argument("--text-ids", **path, help="ids of the captions; default: row numbers")
    parser.add_argument(
        "--merge-equal-images", action="store_true", help="equal rows of --image are one image, repeated a caption"
    )
    parser.add_argument("--captions", **path, help="captions, a line each: adds single-modal and mixed retrieval")
    parser.add_argument(
        "--labels", **path, help="a class a caption, a line each (may be empty): adds mAP@R by class"
    )
    parser.add_argument("--languages", **path, help="a language a caption, a line each: adds recall by language")
    parser.add_argument("--image-teacher", **path, help="single-modal image vectors: adds neighbours kept")
    parser.add_argument("--text-teacher", **path, help="single-modal text vectors")
    parser.add_argument(
        "--judgements",
        nargs=3,
        action="append",
        default=[],
        metavar=("NAME", "IMAGE_TO_CAPTION", "CAPTION_TO_IMAGE"),
        help="further positives by id (JSON, as in eccv-caption); may be given again",
    )
    parser.add_argument("--graded-judgements", **path, nargs="*", default=[], help="graded CSV files of CxC")
    parser.add_argument("--recall-at", type=_cutoff, nargs="+", default=[1, 5, 10], metavar="K")
    parser.add_argument("--ndcg-at", type=_cutoff, nargs="+", default=[10, 20, 50], metavar="K")
    parser.add_argument(
        "--fold-size", type=int, default=0, metavar="N", help="1000 for COCO 1K: folds in id order"
    )
    parser.add_argument("--released-protocol", action="store_true", help="add the papers' own scripts' numbers")
    parser.add_argument("--bootstrap-samples", type=_cutoff, default=1000, metavar="N")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="write metrics.json and evaluation/ there")
    parser.set_defaults(run=_evaluate)


def _add_compare(commands: Any) -> None:
    parser = commands.add_parser("compare", help="compare evaluated runs with the first of them, query by query")
    parser.add_argument(
        "runs", type=Path, nargs="+", metavar="RUN", help="a folder with metrics.json, or with seed*/metrics.json"
    )
    parser.add_argument(
        "--metrics", nargs="+", default=["*"], metavar="NAME", help="which to show, such as 'i2t/*'; default: all"
    )
    parser.add_argument("--bootstrap-samples", type=_cutoff, default=1000, metavar="N")
    parser.add_argument("--permutations", type=_cutoff, default=9999, metavar="N")
    parser.add_argument("--output", type=Path, metavar="FILE", help="also write the whole comparison as CSV")
    parser.set_defaults(run=_compare)


def _add_export(commands: Any) -> None:
    parser = commands.add_parser("export", help="write a trained model into a folder that relalign.load loads")
    parser.add_argument("method", metavar="METHOD", help="an entry of `method` in params.yaml that is trained")
    parser.add_argument("--seed", type=int, metavar="N", help="default: the best on validation of those trained")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="default: exported/METHOD")
    parser.add_argument("--onnx", action="store_true", help="add both towers as ONNX (needs relalign[onnx])")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="default: %(default)s")
    parser.set_defaults(run=_export)


def _cutoff(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not 1 or more")
    return number


def _init(options: argparse.Namespace) -> None:
    from relalign.commands import init

    init.run(options)


def _evaluate(options: argparse.Namespace) -> None:
    from relalign.commands import evaluate

    evaluate.run(options)


def _compare(options: argparse.Namespace) -> None:
    from relalign.commands import compare

    compare.run(options)


def _export(options: argparse.Namespace) -> None:
    from relalign.commands import takeaway

    takeaway.run(options)


def _add_ui(commands: Any) -> None:
    parser = commands.add_parser("ui", help="open MLflow's pages over all runs, until interrupted")
    parser.add_argument("--port", type=int, default=5000, help="default: %(default)s")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="default: %(default)s")
    parser.set_defaults(run=_ui)


def _ui(options: argparse.Namespace) -> None:
    from relalign.commands.ui import show_runs

    show_runs(options)
