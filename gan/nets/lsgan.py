"""LSGAN at 64²: Mao et al., "Least Squares Generative Adversarial Networks", ICCV 2017 (arXiv 1611.04076), with the
layers of report R2. Kernel sizes, latent length and discriminator widths are unstated there: DCGAN's are taken
(4×4 kernels, 100, doubling from 64).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gan.nets.common import init_normal


class LSGANGenerator(nn.Module):
    """Dense layer to 4×4×512, then four transposed convolutions to 64²; batch norm and LeakyReLU after each.

    Args:
        latent_size: length of the latent vector.
        width: channels at 4×4, halved at every doubling.
    """

    resolution, channels, classes = 64, 3, 0
    value_range = (-1, 1)

    def __init__(self, latent_size: int = 100, width: int = 512) -> None:
        super().__init__()
        self.latent_size, self.width = latent_size, width
        self.dense = nn.Linear(latent_size, width * 16, bias=False)
        self.dense_norm = nn.Sequential(nn.BatchNorm2d(width), nn.LeakyReLU(0.2, inplace=True))
        layers: list[nn.Module] = []
        for level in range(4):
            layers += [
                nn.ConvTranspose2d(width >> level, width >> (level + 1), 4, 2, 1, bias=False),
                nn.BatchNorm2d(width >> (level + 1)),
                nn.LeakyReLU(0.2, inplace=True),
            ]
        self.layers = nn.Sequential(*layers, nn.Conv2d(width >> 4, 3, 3, padding=1), nn.Tanh())
        init_normal(self)

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """(n, latent_size) -> (n, 3, 64, 64) in [-1, 1]."""
        x = self.dense(latents).view(-1, self.width, 4, 4).contiguous(memory_format=torch.channels_last)
        return self.layers(self.dense_norm(x))


class LSGANDiscriminator(nn.Module):
    """Four stride-2 convolutions with LeakyReLU and dropout, one linear output without activation."""

    resolution, channels = 64, 3

    def __init__(self, width: int = 64, dropout: float = 0.3) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for level in range(4):
            layers += [
                nn.Conv2d(channels, width << level, 4, 2, 1),
                nn.LeakyReLU(0.2, inplace=True),
                nn.Dropout(dropout),
            ]
            channels = width << level
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * 16, 1))
        init_normal(self)

    def forward(self, pictures: Tensor, labels: Tensor | None = None) -> list[Tensor]:
        """(n, 3, 64, 64) in [-1, 1] -> one tensor of logits (n, 1)."""
        return [self.layers(pictures)]
