"""Towards the real pictures' mean and covariance in frozen features: the straightest way there, for each picture.

Between two normal distributions optimal transport is linear: x goes to μ_r + A (x − μ_g) with
A = C_r^½ (C_r^½ C_g C_r^½)^−½ C_r^½ (Dowson and Landau 1982; Peyré and Cuturi, "Computational Optimal Transport",
remark 2.31). The squared way that all pictures have to go is the Fréchet distance, and so its gradient pulls each
picture along its own way. Both moments come from far more pictures than a batch has: those of the last steps.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

# Pictures of either kind that the moments look back on.
WINDOW = 2048
# Pictures between two reckonings of the map: it moves slowly, and takes eigenvectors.
REFRESH = 80
# Added to each variance, as a share of the real ones': for directions in which nothing has been seen yet.
LEAST = 0.05


class Moments(nn.Module):
    """Mean and mean outer product of what has been seen lately, (width,) and (width, width)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("outer", torch.zeros(width, width))
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def add(self, x: Tensor) -> None:
        """Take in a batch (n, width); the average is plain until WINDOW rows were seen, and forgets from then on."""
        self.seen += len(x)
        share = len(x) / min(int(self.seen), WINDOW)
        with torch.autocast(x.device.type, enabled=False):
            self.mean.lerp_(x.mean(0), share)
            self.outer.lerp_(x.T @ x / len(x), share)

    @property
    def covariance(self) -> Tensor:
        return self.outer - torch.outer(self.mean, self.mean)


def root(matrix: Tensor, power: float = 0.5) -> Tensor:
    """A power of a symmetric positive matrix."""
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp_min(1e-8) ** power) @ vectors.T


def transport(real: Tensor, fake: Tensor) -> Tensor:
    """The matrix A that carries a covariance ``fake`` over to ``real``: A fake A = real, both (d, d) and positive."""
    half = root(real)
    return half @ root(half @ fake @ half, -0.5) @ half


class Transport(nn.Module):
    """The map from generated to real features (n, width), kept up to date; its buffers belong to a run's state."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.real, self.fake = Moments(width), Moments(width)
        self.register_buffer("map", torch.eye(width))
        self.register_buffer("unit", torch.ones(width))
        self.register_buffer("fresh", torch.zeros((), dtype=torch.long))

    @property
    def ready(self) -> bool:
        """Whether enough was seen of both kinds for the moments to mean something."""
        return min(int(self.real.seen), int(self.fake.seen)) >= WINDOW // 4

    @torch.no_grad()
    def refresh(self) -> None:
        """Reckon the map anew where enough pictures have come since."""
        if int(self.fresh) and int(self.fake.seen) - int(self.fresh) < REFRESH:
            return
        real = self.real.covariance
        self.unit = real.diagonal().clamp_min(1e-8).sqrt()
        both = torch.outer(self.unit, self.unit)
        least = LEAST * torch.eye(len(self.unit), device=self.unit.device)
        self.map = transport(real / both + least, self.fake.covariance / both + least)
        self.fresh = self.fake.seen.clone()

    def forward(self, x: Tensor) -> Tensor:
        """The mean square of the way that generated features have to go, per feature in the real ones' deviations; no
        number where a feature is none."""
        if not x.isfinite().all():
            # There are no eigenvectors then.
            return x.sum()
        # Covariances and their roots want every digit.
        with torch.autocast(x.device.type, enabled=False):
            self.refresh()
            here = (x - self.fake.mean) / self.unit
            there = (self.real.mean - self.fake.mean) / self.unit + here.detach() @ self.map
            return (here - there).square().mean()
