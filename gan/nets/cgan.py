"""Conditional GAN for 28×28 digits, report R5: Mirza & Osindero, "Conditional Generative Adversarial Nets", 2014
(arXiv 1411.1784), with convolutions. Widths are unstated there.

:class:`ConditionalDiscriminator` is the report's, :class:`ProjectionDiscriminator` an improvement. The options are what
the report wished for: PixelNorm in the generator, dropout in the discriminator.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan.nets.common import init_normal, normed


class ConditionalGenerator(nn.Module):
    """Noise 100 and a one-hot label; a dense layer to 7×7, three transposed convolutions, sigmoid.

    Args:
        latent_size: length of the latent vector.
        width: channels at 14×14; twice as many at 7×7, half at 28×28.
        classes: how many labels there are.
        norm: "batch" or "pixel", see :func:`gan.nets.common.normed`.

    Raises:
        ValueError: for a norm it cannot build.
    """

    resolution, channels = 28, 1
    value_range = (0, 1)

    def __init__(self, latent_size: int = 100, width: int = 64, classes: int = 10, norm: str = "batch") -> None:
        super().__init__()
        self.latent_size, self.width, self.classes = latent_size, width, classes
        self.dense = nn.Linear(latent_size + classes, 2 * width * 49, bias=False)
        self.layers = nn.Sequential(
            normed(norm, 2 * width),
            nn.LeakyReLU(0.2, inplace=True),
            nn.ConvTranspose2d(2 * width, width, 4, 2, 1, bias=False),
            normed(norm, width),
            nn.LeakyReLU(0.2, inplace=True),
            nn.ConvTranspose2d(width, width // 2, 4, 2, 1, bias=False),
            normed(norm, width // 2),
            nn.LeakyReLU(0.2, inplace=True),
            nn.ConvTranspose2d(width // 2, 1, 3, 1, 1),
            nn.Sigmoid(),
        )
        init_normal(self)

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        """(n, latent_size) and class numbers (n,) -> (n, 1, 28, 28) in [0, 1]."""
        x = torch.cat([latents, F.one_hot(labels, self.classes).to(latents.dtype)], dim=1)
        return self.layers(self.dense(x).view(-1, 2 * self.width, 7, 7))


class ConditionalDiscriminator(nn.Module):
    """The picture with one plane a class, three convolutions with batch norm and LeakyReLU, one logit.

    Args:
        width: channels after the first convolution, doubled at both further ones.
        classes: how many labels there are.
        dropout: share of activations dropped after every convolution.
    """

    resolution, channels = 28, 1

    def __init__(self, width: int = 32, classes: int = 10, dropout: float = 0.0) -> None:
        super().__init__()
        self.label_count = classes
        layers: list[nn.Module] = []
        inside = 1 + classes
        for outside, kernel in ((width, 4), (2 * width, 4), (4 * width, 3)):
            layers += [
                nn.Conv2d(inside, outside, kernel, 2, 1, bias=False),
                nn.BatchNorm2d(outside),
                nn.LeakyReLU(0.2, inplace=True),
            ]
            if dropout:
                layers.append(nn.Dropout(dropout))
            inside = outside
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(inside * 16, 1))
        init_normal(self)

    def forward(self, pictures: Tensor, labels: Tensor) -> list[Tensor]:
        """(n, 1, 28, 28) and class numbers (n,) -> one tensor of logits (n, 1)."""
        planes = F.one_hot(labels, self.label_count).to(pictures.dtype)[:, :, None, None].expand(-1, -1, 28, 28)
        return [self.layers(torch.cat([pictures, planes], dim=1))]


class ProjectionDiscriminator(nn.Module):
    """Convolutions without batch norm, and a logit that adds the inner product of features and a class embedding.

    Miyato & Koyama, "cGANs with Projection Discriminator", ICLR 2018 (arXiv 1802.05637), equation 4.
    """

    resolution, channels = 28, 1

    def __init__(self, width: int = 32, classes: int = 10) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(width, 2 * width, 4, 2, 1),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(2 * width, 4 * width, 4, 2, 1),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(4 * width, 4 * width, 3, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
        )
        # On all 7×7 positions: where a stroke lies is what tells digits apart, and an average would hide it.
        self.logit = nn.Linear(4 * width * 49, 1)
        self.classes = nn.Linear(classes, 4 * width * 49, bias=False)
        self.label_count = classes

    def forward(self, pictures: Tensor, labels: Tensor) -> list[Tensor]:
        """(n, 1, 28, 28) and class numbers (n,) -> one tensor of logits (n, 1)."""
        x = self.features(pictures).flatten(1)
        wanted = self.classes(F.one_hot(labels, self.label_count).to(x.dtype))
        return [self.logit(x) + (x * wanted).sum(1, keepdim=True)]
