"""Where models run, and in what precision."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any


def best_device() -> Any:
    """CUDA when there is one, else the CPU, as a ``torch.device``."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def inference_context(device: Any) -> contextlib.AbstractContextManager:
    """bfloat16 on a GPU that computes in it, float32 elsewhere (many CPUs are a hundred times slower in it)."""
    import torch

    # Older cards would only act as if they did.
    if device.type != "cuda" or not torch.cuda.is_bf16_supported(including_emulation=False):
        return contextlib.nullcontext()
    return torch.autocast("cuda", torch.bfloat16)


def on_gpu(function: Callable) -> Callable:
    """Mark a handler as GPU work for ZeroGPU Spaces; elsewhere the function itself."""
    try:
        import spaces
    except ImportError:
        return function
    return spaces.GPU(function)
