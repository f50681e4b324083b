"""How far a run's pictures are from those it learns from: cheap enough for every snapshot, to watch and not to publish.

The kernel distance of KID (Bińkowski et al., ICLR 2018, section 4) between features, but of the frozen
EfficientNet-Lite0 that trainings have at hand anyway: Inception's weights would have to be fetched first.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from training.data.pictures import PictureSet, centre_square, evenly_spaced
from training.projected import frozen_features

# Real pictures that are looked at, evenly spaced, and the side to which all are brought in the same way.
MOST = 200
SIDE = 128


class Nearness:
    """Compares pictures of side ``resolution`` with those of ``data``; at most :data:`MOST` are looked at, once."""

    def __init__(self, data: PictureSet, resolution: int) -> None:
        self.network = frozen_features()
        chosen = evenly_spaced(len(data), MOST)
        reals = torch.stack([centre_square(data.pictures[i], resolution) for i in chosen]).float() / 255
        self.real = self.see(reals)
        # One number for all features: with few pictures, each feature's own would be half chance.
        self.scale = self.real.square().mean().sqrt() + 1e-6

    @torch.inference_mode()
    def see(self, pictures: Tensor) -> Tensor:
        """Features (n, 320) of pictures (n, 1 or 3, h, w) in [0, 1]."""
        found = []
        for part in pictures.split(16):
            part = F.interpolate(part, size=SIDE, mode="bilinear", align_corners=False, antialias=True)
            found.append(self.network(part.expand(-1, 3, -1, -1) * 2 - 1)[-1].mean((2, 3)))
        return torch.cat(found)

    def __call__(self, pictures: Tensor) -> float:
        """The squared distance, unbiased: about 0 for pictures like the real ones. Pictures in [0, 1], two or more."""
        return kernel_distance(self.see(pictures) / self.scale, self.real / self.scale)


def kernel_distance(x: Tensor, y: Tensor) -> float:
    """Unbiased squared maximum mean discrepancy of rows (n, d) and (m, d) under KID's kernel (x · y / d + 1)³."""

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / a.shape[1] + 1) ** 3

    def within(a: Tensor) -> Tensor:
        own = kernel(a, a)
        return (own.sum() - own.trace()) / (len(a) * (len(a) - 1))

    return (within(x) + within(y) - 2 * kernel(x, y).mean()).item()
