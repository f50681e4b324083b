"""Against mode collapse: the maximum mean discrepancy of many generated and many real pictures, in frozen features.

A discriminator judges each picture alone, so a generator may please it with two cloths out of hundreds. The maximum
mean discrepancy, E k(x, x′) − 2 E k(x, r) + E k(r, r′) (Gretton et al. 2012, equation 1; for generators Li et al.
2015), is nothing only where the whole distributions agree: each generated picture is drawn to real ones like it and
driven from generated ones like it. A small batch cannot show a distribution, so the features of the last steps are
remembered.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan.nets.classifiers import statistics
from training.projected import frozen_features

# Pictures remembered of either kind: 64 steps of 8.
MEMORY = 512
# The frozen network looks at pictures of this side.
SIDE = 128
# Reach of the Laplace kernels, where the features of a real picture and of its nearest neighbour lie about 0.5 apart.
REACHES = (0.25, 0.5, 1.0)


def distances(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distances (n, m) of rows, per root of their length; safe to differentiate where rows agree."""
    square = a.square().sum(1)[:, None] + b.square().sum(1)[None] - 2 * a @ b.T
    return (square.clamp_min(1e-6) / a.shape[1]).sqrt()


def likeness(a: Tensor, b: Tensor) -> Tensor:
    """The kernel between all rows, averaged: a mean of Laplace kernels, from 1 for the same features to 0."""
    apart = distances(a, b)
    return torch.stack([(-apart / reach).exp().mean() for reach in REACHES]).mean()


class FeatureMemory(nn.Module):
    """Statistics of the latest real and generated pictures, scale by scale; its buffers belong to a run's state.

    Args:
        size: pictures kept of either kind.
    """

    def __init__(self, size: int = MEMORY) -> None:
        super().__init__()
        self.size = size
        # In a tuple, so that the frozen network is not saved with the rest.
        self._features = (frozen_features(),)
        for i, channels in enumerate(self._features[0].feature_info.channels()):
            self.register_buffer(f"real_{i}", torch.zeros(size, 2 * channels))
            self.register_buffer(f"fake_{i}", torch.zeros(size, 2 * channels))
        self.register_buffer("seen", torch.zeros(2, dtype=torch.long))

    def describe(self, pictures: Tensor) -> list[Tensor]:
        """Of pictures (n, 3, h, w) in [-1, 1], the statistics of each scale, (n, 2 c), with gradients to them.

        Batik repeats: what a cloth shows, not where, tells it from another.
        """
        if pictures.shape[-1] != SIDE:
            pictures = F.interpolate(pictures, size=SIDE, mode="bilinear", align_corners=False)
        features = self._features[0].to(pictures.device)
        maps = features(pictures.contiguous(memory_format=torch.channels_last))
        return [statistics(x.float()) for x in maps]

    @torch.no_grad()
    def add(self, kind: str, described: list[Tensor]) -> None:
        """Remember a batch of ``kind`` "real" or "fake" in place of the oldest."""
        row = ("real", "fake").index(kind)
        count = len(described[0])
        places = (self.seen[row] + torch.arange(count, device=self.seen.device)) % self.size
        for i, x in enumerate(described):
            getattr(self, f"{kind}_{i}")[places] = x.detach()
        self.seen[row] += count

    def forward(self, described: list[Tensor]) -> Tensor:
        """What of the discrepancy depends on a generated batch, averaged over its pictures and the scales.

        Each feature is measured in deviations of the remembered reals.
        """
        reals, fakes = (min(int(n), self.size) for n in self.seen)
        parts = []
        for i, x in enumerate(described):
            real, fake = getattr(self, f"real_{i}")[:reals], getattr(self, f"fake_{i}")[:fakes]
            scale = real.std(0).clamp_min(1e-4)
            alike = -likeness(x / scale, real / scale)
            if fakes:
                alike = alike + likeness(x / scale, fake / scale)
            parts.append(alike)
        return torch.stack(parts).mean()
