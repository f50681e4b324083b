"""Exponential moving average of a network's weights and batch-norm statistics."""

from __future__ import annotations

import copy

import torch
from torch import nn

STATISTICS = ("running_mean", "running_var")


class Ema:
    """Keeps ``average`` near ``net``, in evaluation mode.

    The decay warms up as min(decay, (1 + updates) / (10 + updates)), so that the first steps are forgotten soon.
    Parameters are averaged, and so are batch norm's means and variances, which are but those of the last few batches;
    other buffers are copied.
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        self.decay = decay
        self.average = copy.deepcopy(net).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, net: nn.Module, updates: int) -> None:
        """Move towards ``net``. ``updates`` counts the calls before this one."""
        decay = min(self.decay, (1 + updates) / (10 + updates))
        mine, theirs = self.average.state_dict(), net.state_dict()
        parameters = {name for name, _ in net.named_parameters()}
        averaged = [name for name in mine if name in parameters or name.endswith(STATISTICS)]
        torch._foreach_lerp_([mine[name] for name in averaged], [theirs[name] for name in averaged], 1 - decay)
        for name in mine.keys() - averaged:
            mine[name].copy_(theirs[name])
