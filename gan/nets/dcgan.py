"""DCGAN: Radford et al., "Unsupervised Representation Learning with Deep Convolutional Generative Adversarial
Networks", ICLR 2016 (arXiv 1511.06434), at 32² and 64². Written from the paper.

The options are what the reports wished for: labels by embedding (Mirza & Osindero 2014), PixelNorm (Karras et al.,
"Progressive Growing of GANs", ICLR 2018, section 4.2) in the generator; no batch norm and dropout in the discriminator.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gan.nets.common import init_normal, normed

RESOLUTIONS = (32, 64)


class DCGANGenerator(nn.Module):
    """Latents through four or five transposed convolutions, each but the last followed by a norm and ReLU.

    Args:
        resolution: side of the pictures, 32 or 64.
        width: channels at half the resolution, doubled at every halving down to 4×4.
        latent_size: length of the latent vector.
        classes: with labels, each has a learned vector of the same length, put beside the latent.
        norm: "batch" or "pixel", see :func:`gan.nets.common.normed`.

    Raises:
        ValueError: for a resolution or norm it cannot build.
    """

    channels = 3
    value_range = (-1, 1)

    def __init__(
        self, resolution: int = 64, width: int = 64, latent_size: int = 100, classes: int = 0, norm: str = "batch"
    ) -> None:
        super().__init__()
        if resolution not in RESOLUTIONS:
            raise ValueError(f"DCGAN builds 32 or 64 pixels a side, not {resolution}.")
        self.resolution, self.latent_size, self.classes = resolution, latent_size, classes
        self.embed = nn.Embedding(classes, latent_size) if classes else None
        inside, outside = latent_size * (2 if classes else 1), width * resolution // 8
        layers: list[nn.Module] = [nn.ConvTranspose2d(inside, outside, 4, bias=False)]
        while outside > width:
            layers += [normed(norm, outside), nn.ReLU(inplace=True)]
            inside, outside = outside, outside // 2
            layers.append(nn.ConvTranspose2d(inside, outside, 4, 2, 1, bias=False))
        layers += [normed(norm, outside), nn.ReLU(inplace=True), nn.ConvTranspose2d(width, 3, 4, 2, 1, bias=False)]
        self.layers = nn.Sequential(*layers, nn.Tanh())
        init_normal(self)

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """(n, latent_size), and class numbers (n,) where there are classes -> (n, 3, resolution, resolution)."""
        if self.embed is not None:
            latents = torch.cat([latents, self.embed(labels).to(latents.dtype)], dim=1)
        return self.layers(latents[:, :, None, None])


class DCGANDiscriminator(nn.Module):
    """Convolutions of stride 2 with LeakyReLU down to 4×4, then one over all of it to a single logit.

    Args:
        resolution: side of the pictures, 32 or 64.
        width: channels after the first convolution, doubled at every further one.
        batch_norm: after all convolutions but the first, as in the paper. WGAN-GP wants none.
        dropout: share of activations dropped after every convolution.

    Raises:
        ValueError: for a resolution it cannot build.
    """

    channels = 3

    def __init__(self, resolution: int = 64, width: int = 64, batch_norm: bool = True, dropout: float = 0.0) -> None:
        super().__init__()
        if resolution not in RESOLUTIONS:
            raise ValueError(f"DCGAN builds 32 or 64 pixels a side, not {resolution}.")
        self.resolution = resolution
        layers: list[nn.Module] = []
        inside, outside, side = 3, width, resolution
        while side > 4:
            layers.append(nn.Conv2d(inside, outside, 4, 2, 1, bias=not batch_norm))
            if batch_norm and inside > 3:
                layers.append(nn.BatchNorm2d(outside))
            layers.append(nn.LeakyReLU(0.2, inplace=True))
            if dropout:
                layers.append(nn.Dropout(dropout))
            inside, outside, side = outside, 2 * outside, side // 2
        self.layers = nn.Sequential(*layers, nn.Conv2d(inside, 1, 4, bias=not batch_norm), nn.Flatten())
        init_normal(self)

    def forward(self, pictures: Tensor, labels: Tensor | None = None) -> list[Tensor]:
        """(n, 3, resolution, resolution) in [-1, 1] -> one tensor of logits (n, 1)."""
        return [self.layers(pictures)]
