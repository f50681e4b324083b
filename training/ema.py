"""Exponential moving average of a network's weights, buffers included."""

from __future__ import annotations

import copy

import torch
from torch import nn


class Ema:
    """Keeps ``average`` near ``net``, in evaluation mode.

    The decay warms up as min(decay, (1 + updates) / (10 + updates)), so that the first steps are forgotten soon.
    Parameters are averaged; buffers (batch-norm statistics) are copied.
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        self.decay = decay
        self.average = copy.deepcopy(net).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, net: nn.Module, updates: int) -> None:
        """Move towards ``net``. ``updates`` counts the calls before this one."""
        decay = min(self.decay, (1 + updates) / (10 + updates))
        averaged = list(self.average.parameters())
        torch._foreach_lerp_(averaged, [p.detach() for p in net.parameters()], 1 - decay)
        for mine, theirs in zip(self.average.buffers(), net.buffers(), strict=True):
            mine.copy_(theirs)
