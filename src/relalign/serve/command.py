"""The options of `relalign search` and `relalign serve`; the work is imported when it is asked for."""

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relalign.errors import RelalignError
from relalign.system.terminal import printable

if TYPE_CHECKING:
    from relalign.layout import Layout
    from relalign.serve.answers import Answer, Query
    from relalign.settings import Params


def add_search_commands(commands: Any) -> None:
    """Add `search` and `serve` to the command line."""
    description = "print the images and texts of the test split that are nearest to a text, an image, or both"
    search = commands.add_parser("search", help=description, description=description)
    search.add_argument("text", nargs="?", help="what to look for")
    search.add_argument("--image", type=Path, metavar="FILE", help="an image to look for; with a text, both mixed")
    search.add_argument(
        "--mix",
        type=_share,
        default=0.5,
        metavar="SHARE",
        help="of the text, beside an image; default: %(default)s",
    )
    search.add_argument("--top", type=_positive, default=5, metavar="K", help="default: %(default)s")
    search.add_argument(
        "--rerank", action="store_true", help="let the fusion encoder re-order the first candidates"
    )
    _add_run_options(search, "default: the last of `methods` in the params file")
    search.set_defaults(run=_search)
    description = "open a search page on this machine, until interrupted"
    serve = commands.add_parser("serve", help=description, description=description)
    serve.add_argument("--host", default="127.0.0.1", help="0.0.0.0 lets other machines in; default: %(default)s")
    serve.add_argument("--port", type=int, default=8000, help="0 takes a free one; default: %(default)s")
    _add_run_options(serve, "default: all of `methods` in the params file that are trained")
    serve.set_defaults(run=_serve)


def _add_run_options(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="default: %(default)s")
    parser.add_argument("--dataset", help="an entry of `datasets`; default: `dataset` of the params file")
    parser.add_argument("--method", action="append", metavar="NAME", help=f"may be given again; {default}")
    parser.add_argument("--seed", type=int, help="default: the first of `seeds` in the params file")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not 1 or more")
    return number


def _share(text: str) -> float:
    share = float(text)
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return share


def _project(options: argparse.Namespace) -> "tuple[Params, Layout, int]":
    from relalign.layout import Layout
    from relalign.settings import load_params

    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # of weights that load in a blink
    params = load_params(options.params)
    if options.dataset is not None:
        params = params.on(options.dataset)
    seed = params.seeds[0] if options.seed is None else options.seed
    return params, Layout(options.params.resolve().parent, params.dataset), seed


def _search(options: argparse.Namespace) -> None:
    from relalign.retrieval.given import upright_image
    from relalign.serve.answers import Query
    from relalign.serve.service import Service

    params, layout, seed = _project(options)
    methods = tuple(dict.fromkeys(options.method or params.methods[-1:]))
    picture = None
    if options.image is not None:
        picture = upright_image(options.image, params.validate_.max_pixels, name=str(options.image))
    elif not options.text:
        raise RelalignError('Nothing is asked: relalign search "a text", or --image FILE, or both.')
    service = Service.of_project(params, layout, methods, seed=seed)
    query = Query(methods, options.text, picture, mix=options.mix, top=options.top, rerank=options.rerank)
    checked = service.checked(query)
    sys.stdout.write(_printed(service.answer([checked])[0], checked, layout.dataset))


def _printed(answer: "Answer", query: "Query", dataset: str) -> str:
    """A block a method: the nearest images, then the nearest texts, each with score and path."""
    lines = []
    for found in answer.methods:
        ranked = ", re-ranked" if found.reranked else ""
        lines += [f"{found.method}, seed {found.seed}, on the test split of {dataset}{ranked}"]
        lines += [found.note] if found.note else []
        images = [(image.score, image.matching, image.captions[0], image.path) for image in found.images]
        texts = [(text.score, text.matching, text.caption, text.path) for text in found.texts]
        for title, rows in (("images", images), ("texts", texts)):
            lines += ["", f"  {title:<8}cosine{'  matching' if found.reranked else ''}"]
            for place, (score, matching, caption, path) in enumerate(rows, 1):
                logit = f"{'' if matching is None else f'{matching:.2f}':>10}" if found.reranked else ""
                lines += [f"  {place:>6}  {score:6.3f}{logit}  {path}  {printable(caption)}"]
        lines += [""]
    return "\n".join(lines) + "\n"


def _serve(options: argparse.Namespace) -> None:
    from relalign.serve.server import serve

    params, layout, seed = _project(options)
    serve(params, layout, options.method, seed=seed, host=options.host, port=options.port)
