"""Against mode collapse, in frozen features: the maximum mean discrepancy of many generated and many real pictures, and
the latents whose pictures come nearest to real ones.

A discriminator judges each picture alone, so a generator may please it with two cloths out of hundreds. The maximum
mean discrepancy, E k(x, x′) − 2 E k(x, r) + E k(r, r′) (Gretton et al. 2012, equation 1; for generators Li et al.
2015), is nothing only where the whole distributions agree: each generated picture is drawn to real ones like it and
driven from generated ones like it. A small batch cannot show a distribution, so the features of the last steps are
remembered.

A real picture that nothing generated resembles pulls on nothing in particular. Implicit maximum likelihood estimation
(Li and Malik 2018, arXiv 1809.09087, algorithm 1) turns it round: each real picture picks the generated one nearest to
it, and that one is drawn to it, so that none is left out.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from gan.nets.classifiers import statistics
from training.projected import frozen_features, placed

# Pictures remembered of either kind: 64 steps of 8.
MEMORY = 512
# The frozen network looks at pictures of this side; of larger ones at the whole and at a part, for the detail.
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
        latent_size: length of the generated pictures' latents, which are remembered with them.
        size: pictures kept of either kind, :data:`MEMORY` where none is said.
    """

    def __init__(self, latent_size: int, size: int | None = None) -> None:
        super().__init__()
        self.size = size = size or MEMORY
        # In a tuple, so that the frozen network is not saved with the rest.
        self._features = (frozen_features(),)
        # Of each scale of the whole, then of the part.
        self.widths = [2 * channels for channels in 2 * self._features[0].feature_info.channels()]
        for i, width in enumerate(self.widths):
            self.register_buffer(f"real_{i}", torch.zeros(size, width))
            self.register_buffer(f"fake_{i}", torch.zeros(size, width))
        self.register_buffer("latents", torch.zeros(size, latent_size))
        self.register_buffer("seen", torch.zeros(2, dtype=torch.long))

    def describe(self, pictures: Tensor) -> list[Tensor]:
        """Of square pictures (n, 3, h, h) in [-1, 1], the statistics of each scale, (n, 2 c), with gradients to them:
        those of the whole pictures and then those of a part at full resolution, which of small pictures are the same.

        Batik repeats: what a cloth shows, not where, tells it from another.
        """
        if pictures.shape[-1] <= SIDE:
            return 2 * self.scales(pictures)
        y, x = torch.randint(pictures.shape[-1] - SIDE + 1, (2,)).tolist()
        return self.scales(pictures) + self.scales(pictures[:, :, y : y + SIDE, x : x + SIDE])

    def scales(self, pictures: Tensor) -> list[Tensor]:
        """The statistics of each scale of pictures seen at ``SIDE``."""
        if pictures.shape[-1] != SIDE:
            pictures = F.interpolate(pictures, size=SIDE, mode="bilinear", align_corners=False)
        features = placed(self._features[0], pictures.device)
        maps = features(pictures.contiguous(memory_format=torch.channels_last))
        return [statistics(x.float()) for x in maps]

    @torch.no_grad()
    def add(self, kind: str, described: list[Tensor], latents: Tensor | None = None) -> None:
        """Remember a batch of ``kind`` "real" or "fake", the latter with its latents, in place of the oldest."""
        row = ("real", "fake").index(kind)
        count = len(described[0])
        places = (self.seen[row] + torch.arange(count, device=self.seen.device)) % self.size
        for i, x in enumerate(described):
            getattr(self, f"{kind}_{i}")[places] = x.detach()
        if latents is not None:
            self.latents[places] = latents
        self.seen[row] += count

    def remembered(self, kind: str, scale: int) -> Tensor:
        """The features of one scale, (m, 2 c), of the latest pictures of a kind."""
        return getattr(self, f"{kind}_{scale}")[: int(self.seen[("real", "fake").index(kind)])]

    def deviations(self, scale: int) -> Tensor:
        """How far each feature of one scale varies over the remembered reals: the unit it is measured in."""
        return self.remembered("real", scale).std(0).clamp_min(1e-4)

    def forward(self, described: list[Tensor]) -> Tensor:
        """What of the discrepancy depends on a generated batch, averaged over its pictures and the scales."""
        parts = []
        for i, x in enumerate(described):
            unit = self.deviations(i)
            fake = self.remembered("fake", i)
            alike = -likeness(x / unit, self.remembered("real", i) / unit)
            if len(fake):
                alike = alike + likeness(x / unit, fake / unit)
            parts.append(alike)
        return torch.stack(parts).mean()

    @property
    def full(self) -> bool:
        """Whether as many generated pictures are remembered as there is room for."""
        return int(self.seen[1]) >= self.size

    @torch.no_grad()
    def nearest(self, described: list[Tensor]) -> Tensor:
        """Of real pictures, the latents (n, latent size) of the remembered generated ones nearest to them over all
        scales, no two the same."""
        apart = []
        # Differences of large squares: in bfloat16 little would be left of them.
        with torch.autocast(self.latents.device.type, enabled=False):
            for i, x in enumerate(described):
                unit = self.deviations(i)
                apart.append(distances(x.float() / unit, self.remembered("fake", i) / unit))
        _, chosen = linear_sum_assignment(torch.stack(apart).mean(0).cpu().numpy())
        return self.latents[torch.from_numpy(chosen).to(self.latents.device)]

    def apart(self, described: list[Tensor], others: list[Tensor]) -> Tensor:
        """The distance of each picture to its counterpart, averaged over pictures and scales."""
        return torch.stack(
            [
                ((x - other) / self.deviations(i)).square().mean(1).clamp_min(1e-6).sqrt().mean()
                for i, (x, other) in enumerate(zip(described, others, strict=True))
            ]
        ).mean()
