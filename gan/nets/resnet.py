"""A small residual pair at 32² and 64²: Miyato et al., "Spectral Normalization for Generative Adversarial Networks",
ICLR 2018 (arXiv 1802.05957), appendix B.4, narrower at high resolutions so that a CPU can carry it. The spectral norm
itself is the recipe's ``spectral``.

Labels enter the generator by conditional batch norm (Dumoulin et al. 2017) and the discriminator by projection
(Miyato & Koyama, "cGANs with Projection Discriminator", ICLR 2018, arXiv 1802.05637).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan.nets.common import ConditionalBatchNorm, UpConv

RESOLUTIONS = (32, 64)
# Channels at each resolution, in multiples of the width.
GENERATOR_WIDTHS = {4: 4, 8: 4, 16: 2, 32: 1, 64: 0.5}
DISCRIMINATOR_WIDTHS = {64: 0.5, 32: 1, 16: 2, 8: 4, 4: 4}


def init_xavier(net: nn.Module) -> None:
    """As in the paper's code base: Xavier, times √2 for the convolutions between ReLUs. In place."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear | UpConv):
            nn.init.xavier_uniform_(module.weight, 2**0.5 if module.weight.shape[2:] == (3, 3) else 1.0)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


class UpResidual(nn.Module):
    """Norm, ReLU, upsampling ×2 with a 3×3 convolution, norm, ReLU, 3×3 convolution; plus a 1×1 path beside it."""

    def __init__(self, in_channels: int, out_channels: int, classes: int) -> None:
        super().__init__()
        self.norm_up = ConditionalBatchNorm(in_channels, classes)
        self.up = UpConv(in_channels, out_channels)
        self.norm = ConditionalBatchNorm(out_channels, classes)
        self.conv = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.direct = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        """(n, in, h, w) -> (n, out, 2h, 2w)."""
        y = self.up(F.relu(self.norm_up(x, labels)))
        y = self.conv(F.relu(self.norm(y, labels)))
        # A 1×1 convolution and nearest-neighbour upsampling commute; this order has a quarter of the work.
        return y + F.interpolate(self.direct(x), scale_factor=2, mode="nearest")


class ResNetGenerator(nn.Module):
    """A dense layer to 4×4, one residual block a doubling, norm, ReLU and a convolution to colours.

    Args:
        resolution: side of the pictures, 32 or 64.
        width: channels at 32²; every other level follows ``GENERATOR_WIDTHS``.
        latent_size: length of the latent vector.
        classes: number of labels, 0 for none.

    Raises:
        ValueError: for a resolution it cannot build.
    """

    channels = 3
    value_range = (-1, 1)

    def __init__(self, resolution: int = 32, width: int = 64, latent_size: int = 128, classes: int = 0) -> None:
        super().__init__()
        if resolution not in RESOLUTIONS:
            raise ValueError(f"The ResNet builds 32 or 64 pixels a side, not {resolution}.")
        self.resolution, self.latent_size, self.classes = resolution, latent_size, classes
        channels = {size: int(GENERATOR_WIDTHS[size] * width) for size in GENERATOR_WIDTHS if size <= resolution}
        self.first = channels[4]
        self.dense = nn.Linear(latent_size, 16 * self.first)
        self.blocks = nn.ModuleList(
            UpResidual(channels[size // 2], channels[size], classes) for size in channels if size > 4
        )
        self.norm = nn.BatchNorm2d(channels[resolution])
        self.to_rgb = nn.Conv2d(channels[resolution], 3, 3, padding=1)
        init_xavier(self)

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """(n, latent_size), and class numbers (n,) where there are classes -> (n, 3, r, r) in [-1, 1]."""
        x = self.dense(latents).view(-1, self.first, 4, 4).contiguous(memory_format=torch.channels_last)
        for block in self.blocks:
            x = block(x, labels)
        return torch.tanh(self.to_rgb(F.relu(self.norm(x))))


class DownResidual(nn.Module):
    """Two 3×3 convolutions and average pooling, plus a pooled 1×1 path. ``first`` sees pictures, which no ReLU cuts."""

    def __init__(self, in_channels: int, out_channels: int, first: bool) -> None:
        super().__init__()
        self.first = first
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.again = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.direct = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, in, h, w) -> (n, out, h/2, w/2)."""
        y = self.again(F.relu(self.conv(x if self.first else F.relu(x))))
        return F.avg_pool2d(y, 2) + self.direct(F.avg_pool2d(x, 2))


class ResNetDiscriminator(nn.Module):
    """Residual blocks down to 4×4, summed over positions, one logit; with labels plus the projection on their vectors.

    Args:
        resolution: side of the pictures, 32 or 64.
        width: channels at 32²; every other level follows ``DISCRIMINATOR_WIDTHS``.
        classes: number of labels, 0 for none.

    Raises:
        ValueError: for a resolution it cannot build.
    """

    channels = 3

    def __init__(self, resolution: int = 32, width: int = 64, classes: int = 0) -> None:
        super().__init__()
        if resolution not in RESOLUTIONS:
            raise ValueError(f"The ResNet builds 32 or 64 pixels a side, not {resolution}.")
        self.resolution, self.label_count = resolution, classes
        sizes = [size for size in DISCRIMINATOR_WIDTHS if size < resolution]
        channels = [3, *(int(DISCRIMINATOR_WIDTHS[size] * width) for size in sizes)]
        self.blocks = nn.Sequential(
            *(DownResidual(channels[i], channels[i + 1], first=i == 0) for i in range(len(sizes)))
        )
        self.logit = nn.Linear(channels[-1], 1)
        self.projection = nn.Linear(classes, channels[-1], bias=False) if classes else None
        init_xavier(self)

    def forward(self, pictures: Tensor, labels: Tensor | None = None) -> list[Tensor]:
        """(n, 3, r, r) in [-1, 1] and class numbers (n,) where there are classes -> one tensor of logits (n, 1)."""
        x = F.relu(self.blocks(pictures)).sum((2, 3))
        logits = self.logit(x)
        if self.projection is not None:
            wanted = self.projection(F.one_hot(labels, self.label_count).to(x.dtype))
            logits = logits + (x * wanted).sum(1, keepdim=True)
        return [logits]
