"""What a process that trains or measures sets up first: its device, its threads, its memory."""

import torch
from threadpoolctl import threadpool_limits

from relalign.errors import RelalignError
from relalign.settings import Params
from relalign.system.memory import keep_freed_memory


def choose_device(wanted: str) -> torch.device:
    """`auto` is CUDA where there is one; asking for CUDA where there is none is an error."""
    available = torch.cuda.is_available()
    if wanted == "cuda" and not available:
        raise RelalignError(
            "training.device is 'cuda', but this machine's torch sees no GPU. Use 'auto' or 'cpu'."
        )
    return torch.device("cuda" if available and wanted != "cpu" else "cpu")


def prepare_process(params: Params) -> None:
    """As many threads as params.yaml says, in torch and in SciPy's BLAS, and memory that is reused."""
    keep_freed_memory()
    torch.set_num_threads(params.training.threads)
    threadpool_limits(params.training.threads, user_api="blas")
