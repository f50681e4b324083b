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
    """Half precision on CUDA, float32 elsewhere (many CPUs compute bfloat16 a hundred times slower)."""
    import torch

    if device.type != "cuda":
        return contextlib.nullcontext()
    return torch.autocast("cuda", torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16)


def on_gpu(function: Callable) -> Callable:
    """Mark a handler as GPU work for ZeroGPU Spaces; elsewhere the function itself."""
    try:
        import spaces
    except ImportError:
        return function
    return spaces.GPU(function)
