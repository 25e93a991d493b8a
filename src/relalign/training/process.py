"""What a process that trains or measures sets up first: its device, its threads, its memory."""

import torch
from threadpoolctl import threadpool_limits

from relalign.errors import RelalignError
from relalign.settings import Params
from relalign.system import processes
from relalign.system.memory import keep_freed_memory


def choose_device(wanted: str, *, among: int = 1) -> torch.device:
    """`auto` is CUDA where there is one; asking for CUDA where there is none is an error.

    Of processes that train together, or are about to (`among`), each has a GPU of its own, or it is an error.
    """
    available = torch.cuda.is_available()
    if wanted == "cuda" and not available:
        raise RelalignError(
            "training.device is 'cuda', but this machine's torch sees no GPU. Use 'auto' or 'cpu'."
        )
    if wanted == "cpu" or not available:
        return torch.device("cpu")
    number = max(among, processes.number())
    if (gpus := torch.cuda.device_count()) < number:
        raise RelalignError(
            f"training.processes is {number}, but this machine's torch sees {gpus} GPU(s), and each process has "
            "one of its own. Lower training.processes, or set training.device to 'cpu'."
        )
    return torch.device("cuda" if number == 1 else f"cuda:{processes.own_place()}")


def prepare_process(params: Params) -> None:
    """As many threads as params.yaml says, in torch and in SciPy's BLAS, and memory that is reused."""
    keep_freed_memory()
    torch.set_num_threads(params.training.threads)
    threadpool_limits(params.training.threads, user_api="blas")
