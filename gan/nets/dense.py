"""The dense pair for 32×32 colour pictures of report R4: Goodfellow et al., "Generative Adversarial Nets", NeurIPS
2014 (arXiv 1406.2661), with batch norm. The discriminator's layers are unstated there: the generator's in reverse,
without its batch norm, are taken.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn


class DenseGenerator(nn.Module):
    """Noise 100 → 256 → 512 → 1024 → 3072, batch norm and LeakyReLU between, tanh at the end.

    3,835,136 parameters; 3,838,720 with the batch norms' running means and variances.
    """

    resolution, channels, classes = 32, 3, 0
    value_range = (-1, 1)

    def __init__(self, latent_size: int = 100) -> None:
        super().__init__()
        self.latent_size = latent_size
        layers: list[nn.Module] = []
        for size, following in pairwise((latent_size, 256, 512, 1024)):
            layers += [nn.Linear(size, following), nn.BatchNorm1d(following), nn.LeakyReLU(0.2, inplace=True)]
        self.layers = nn.Sequential(*layers, nn.Linear(1024, 3 * 32 * 32), nn.Tanh())

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """(n, latent_size) -> (n, 3, 32, 32) in [-1, 1]."""
        return self.layers(latents).view(-1, 3, 32, 32)


class DenseDiscriminator(nn.Module):
    """3072 → 1024 → 512 → 256 → 1, LeakyReLU and dropout between; the final sigmoid is part of the loss."""

    resolution, channels = 32, 3

    def __init__(self, dropout: float = 0.3) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Flatten()]
        for size, following in pairwise((3 * 32 * 32, 1024, 512, 256)):
            layers += [nn.Linear(size, following), nn.LeakyReLU(0.2, inplace=True), nn.Dropout(dropout)]
        self.layers = nn.Sequential(*layers, nn.Linear(256, 1))

    def forward(self, pictures: Tensor, labels: Tensor | None = None) -> list[Tensor]:
        """(n, 3, 32, 32) in [-1, 1] -> logits (n, 1) whose sigmoid is the probability of being real."""
        return [self.layers(pictures.contiguous(memory_format=torch.contiguous_format))]
