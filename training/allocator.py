"""How a process that trains or measures treats its memory."""

from __future__ import annotations

import ctypes


def keep_memory() -> None:
    """Let this process keep the memory that it frees, instead of giving it back and asking anew at every layer.

    Large tensors otherwise cost a page fault for every 4 kB: a third of a training step's time on a CPU. Only glibc can
    be told so; elsewhere nothing happens.
    """
    trim_threshold, top_pad, mmap_max = -1, -2, -4
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(mmap_max, 0)
    mallopt(trim_threshold, -1)
    mallopt(top_pad, 1 << 28)
