"""The command line: thin, and quick to start, because each command imports what it needs when it runs."""

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext

from relalign import __version__
from relalign.errors import RelalignError
from relalign.orchestration import prepared
from relalign.system.cost import cost_logged
from relalign.system.disk import refusal
from relalign.system.terminal import log_to_terminal, printable

Command = Callable[[argparse.Namespace], None]
EXTRAS = {
    "pipeline": ("snakemake", "dvc", "mlflow", "matplotlib", "resvg_py"),
    "serve": ("fastapi", "uvicorn", "prometheus_client"),
    "onnx": ("onnx", "onnxruntime"),
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="relalign", description=__doc__)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    from relalign.commands.options import add_user_commands
    from relalign.commands.stages import add_stage_commands
    from relalign.report.command import add_report_commands
    from relalign.serve.command import add_search_commands
    from relalign.study.command import add_study_commands

    add_stage_commands(commands)
    add_study_commands(commands)
    schema = commands.add_parser("schema", help="print the JSON schema of params.yaml (as YAML)")
    schema.set_defaults(run=_print_schema)
    reference = commands.add_parser("reference", help="print what every key of params.yaml is (docs/params.md)")
    reference.set_defaults(run=_print_reference)
    jobs = commands.add_parser("prepared", help="do what Snakemake's jobs ask for (Snakemake starts this)")
    jobs.add_argument("address", help="where the socket shall be")
    jobs.set_defaults(run=_serve_jobs)
    add_report_commands(commands)
    add_user_commands(commands)
    add_search_commands(commands)
    return parser


def _print_schema(options: argparse.Namespace) -> None:
    import yaml

    from relalign.settings.reference import params_schema

    sys.stdout.write("# Made by `relalign schema` from src/relalign/settings (`make lint` checks that it is).\n")
    yaml.safe_dump(params_schema(), sys.stdout, sort_keys=False, allow_unicode=True, width=110)


def _serve_jobs(options: argparse.Namespace) -> None:
    sys.exit(prepared.serve(options.address, main))


def _print_reference(options: argparse.Namespace) -> None:
    from relalign.settings.reference import params_reference

    sys.stdout.write(params_reference())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; bad input, what the machine refuses, and an extra that is not installed are one readable
    message and exit status 2, never a traceback."""
    arguments = sys.argv[1:] if arguments is None else arguments
    status = prepared.delegate(arguments)
    if status is not None:
        return status
    options = _parser().parse_args(arguments)
    log_to_terminal(logging.INFO)
    logging.getLogger("faiss.loader").setLevel(logging.WARNING)  # names each build that it does not find
    try:
        with cost_logged() if options.command in prepared.COMMANDS else nullcontext():
            options.run(options)
    except RelalignError as error:
        sys.stderr.write(f"error: {printable(str(error))}\n")
        return 2
    except ModuleNotFoundError as error:
        extra = next((extra for extra, names in EXTRAS.items() if str(error.name).split(".")[0] in names), None)
        if extra is None:
            raise
        sys.stderr.write(f"error: {error.name} is not installed: pip install 'relalign[{extra}]'.\n")
        return 2
    except Exception as error:
        if (sentence := refusal(error)) is None:
            raise
        sys.stderr.write(f"error: {printable(sentence)}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
