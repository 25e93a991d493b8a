"""The same function in several processes that train together, forked: nothing is imported anew."""

import multiprocessing
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed

SECONDS = 120


def together(function: Callable[..., Any], *arguments: Any, number: int = 2) -> list[Any]:
    """What `function(*arguments)` returns in each of the processes."""
    context = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory() as folder:
        members = [
            context.Process(target=_member, args=(folder, place, number, function, arguments), daemon=True)
            for place in range(number)
        ]
        for member in members:
            member.start()
        for member in members:
            member.join(SECONDS)
            member.kill()
        assert all(member.exitcode == 0 for member in members), "a process failed, as it said above, or hangs"
        return [torch.load(Path(folder) / str(place), weights_only=False) for place in range(number)]


def _member(
    folder: str, place: int, number: int, function: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=place, world_size=number
    )
    try:
        torch.save(function(*arguments), Path(folder) / str(place))
    except BaseException:
        traceback.print_exc()
        raise
