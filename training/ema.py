"""Exponential moving average of a network's weights and batch-norm statistics, and the statistics that suit it best."""

from __future__ import annotations

import copy
import math

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


@torch.no_grad()
def standing_statistics(generator: nn.Module, batch: int, pictures: int = 1024) -> None:
    """Give batch norms the mean statistics of many batches of a generator's own pictures (Brock et al. 2019, app. A).

    An average of weights makes other features than the weights that were averaged: less spread. In place, the same each
    time; the network ends in evaluation mode. One without batch norms is left as it is.

    Args:
        generator: with ``latent_size`` and ``classes``; with classes, labels are drawn evenly.
        batch: pictures that are normalised together, as in training.
        pictures: in all, rounded up to whole batches.
    """
    generator.eval()
    norms = [m for m in generator.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        # None: the plain mean of all batches.
        norm.momentum = None
        norm.train()
    device = next(generator.parameters()).device
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for _ in range(math.ceil(pictures / batch)):
            latents = torch.randn(batch, generator.latent_size).to(device)
            labels = torch.randint(generator.classes, (batch,)).to(device) if generator.classes else None
            generator(latents, labels)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
