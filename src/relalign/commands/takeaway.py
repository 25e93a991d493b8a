"""`relalign export`: a trained run as a folder that `relalign.load` loads anywhere."""

import argparse
import sys
from pathlib import Path

from relalign.errors import RelalignError
from relalign.layout import Layout
from relalign.report.model_card import write_model_card
from relalign.retrieval.exported import load_exported, read_exported, write_exported
from relalign.retrieval.onnx_files import check_onnx_is_installed, write_onnx
from relalign.settings import Params, load_params
from relalign.system.artifacts import publish
from relalign.system.disk import full_disk_explained
from relalign.training.selection import trained_seeds, validation_scores


def run(options: argparse.Namespace) -> None:
    """Choose the seed, publish the folder, and say what it is."""
    params = load_params(options.params)
    layout = Layout(options.params.resolve().parent, params.dataset)
    params.settings_of(options.method)
    output = options.output or Path("exported") / options.method
    _check_replaceable(output)
    if options.onnx:
        check_onnx_is_installed()
    seed, why = options.seed, "as asked for"
    if seed is None:
        seed, why = best_seed(params, layout, options.method)
    with (
        full_disk_explained(output),
        publish(output, made_by="relalign export", parameters={"method": options.method, "seed": seed}) as draft,
    ):
        exported = write_exported(draft, params, layout, method=options.method, seed=seed)
        model = load_exported(draft, "cpu")  # so that nothing is published that does not load
        if options.onnx:
            write_onnx(model, draft)
        width = model.encode_texts(["a"]).shape[1]
        name = output.resolve().name
        write_model_card(draft, exported, params, layout, name=name, width=width, onnx=options.onnx)
    sys.stdout.write(f'{output}: {options.method}, seed {seed} ({why})\nrelalign.load("{output}") loads it.\n')


def best_seed(params: Params, layout: Layout, method: str) -> tuple[int, str]:
    """The trained seed of a method whose selected epoch is the best on validation (of equal ones the first).

    With why, in words. Raises `RelalignError` if none is trained.
    """
    if not trained_seeds(layout, method):
        raise RelalignError(
            f"'{method}' is not trained on {params.dataset}: {layout.run(method, 0).parent} has no seed*/model. "
            f"Run `relalign stage train --method {method} --seed 0`, or all of it with `snakemake --cores all`."
        )
    scores = validation_scores(params, layout, tuple(dict.fromkeys((*params.methods, method))))
    own = {seed: score for (name, seed), score in scores.items() if name == method}
    if params.datasets[params.dataset].rotate_validation:
        tried = ", ".join(f"{seed}: {score:+.1f}" for seed, score in own.items())
        why = (
            f"of the seeds trained the one most above the methods' mean Rsum on its own validation split; {tried}"
        )
    else:
        tried = ", ".join(f"{seed}: {score:.1f}" for seed, score in own.items())
        why = f"the best validation Rsum of the seeds trained; {tried}"
    return max(own, key=own.__getitem__), why


def _check_replaceable(output: Path) -> None:
    """Publishing replaces a whole folder, which must not be one of another kind."""
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return
    try:
        read_exported(output)
    except RelalignError:
        raise RelalignError(
            f"{output} exists and is no exported model: it would be replaced. Name another with --output."
        ) from None
