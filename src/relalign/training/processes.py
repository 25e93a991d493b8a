"""A training in several processes of this machine (`training.processes`), started by torchrun's own launcher.

What the processes do together is in `relalign.system.processes`. If one of them ends, the launcher ends the
others; a rerun resumes all from the checkpoint, which the first of them writes.
"""

import logging
import tempfile
from collections.abc import Callable
from typing import Any

import torch

from relalign.errors import RelalignError
from relalign.system import processes
from relalign.system.disk import refusal
from relalign.system.terminal import log_to_terminal
from relalign.training.process import choose_device


def in_processes(number: int, device: str, work: Callable[..., None], *arguments: Any) -> None:
    """`work(*arguments)` here or, if `number` is more than 1, in as many processes that train together.

    What is a sentence in one of them, and that one was killed, is a `RelalignError` here.
    """
    if number == 1:
        work(*arguments)
        return
    choose_device(device, among=number)
    # Not for a training in one process: it takes a second.
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    # It says in many lines what is said below.
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as logs:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=number,
            run_id="relalign",
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="localhost",
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(log_dir=logs),
        )
        try:
            said = set(elastic_launch(config, _together)(device, work, *arguments).values()) - {None}
        except ChildFailedError as error:
            place, failure = error.get_first_failure()
            if failure.exitcode >= 0:
                raise
            raise RelalignError(
                f"Process {place} of the {number} that train together (training.processes) was killed by "
                f"{failure.signal_name()}, and the others were stopped. Run the same command again: it goes on "
                "from the last checkpoint. If nobody killed it, memory ran out: set training.encode_rows, or "
                "lower training.processes."
            ) from None
    if said:
        raise RelalignError(min(said, key=lambda sentence: sentence == processes.LOST))


def _together(device: str, work: Callable[..., None], *arguments: Any) -> str | None:
    """`work` in one of several processes; the sentence with which it failed, if it did."""
    torch.distributed.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    log_to_terminal(logging.WARNING if processes.own_place() else logging.INFO)
    try:
        if (own := choose_device(device)).type == "cuda":
            torch.cuda.set_device(own)
        work(*arguments)
    except RelalignError as error:
        return str(error)
    except OSError as error:
        if (sentence := refusal(error)) is None:
            raise
        return sentence
    finally:
        torch.distributed.destroy_process_group()
    return None
