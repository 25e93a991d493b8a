"""Keeping freed memory in the process instead of giving it back to the operating system at once."""

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8  # glibc's malloc.h


def keep_freed_memory() -> bool:
    """Let glibc reuse large blocks; False where there is no glibc (and nothing is done).

    By default every tensor above 32 MiB is mapped afresh and zeroed page by page by the kernel. On two virtual
    cores, 80 MB of zeros took 75-130 ms so and 10 ms reused, which is a good part of a training step. Threads that
    start later share one heap, because in heaps of their own such blocks would not be kept.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    wanted = ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, -1), (M_ARENA_MAX, 1))
    return mallopt is not None and all(mallopt(option, value) for option, value in wanted)
