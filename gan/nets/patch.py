"""A discriminator of detail alone: Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks",
CVPR 2017 (arXiv 1611.07004), section 3.2.2. Written from the paper.

Each logit judges a patch of 38 pixels. What a patch can show, threads, dots and edges, every picture shows hundreds of
times, so that a few hundred pictures are enough for it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PatchDiscriminator(nn.Module):
    """Pictures to a map of logits.

    Args:
        width: channels of the first layer; the next two have two and four times as many.
        side: of the square that it looks at, anywhere in larger pictures: another one each time.
    """

    channels = 3

    def __init__(self, width: int = 32, side: int = 128) -> None:
        super().__init__()
        self.side = side
        layers: list[nn.Module] = []
        for inputs, outputs in ((3, width), (width, 2 * width), (2 * width, 4 * width)):
            layers += [nn.Conv2d(inputs, outputs, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(4 * width, 1, 3, padding=1))

    @property
    def ways(self) -> list[list[nn.Module]]:
        """The one way that pictures go, layer by layer."""
        return [list(self.layers)]

    def forward(self, pictures: Tensor, labels: Tensor | None = None) -> list[Tensor]:
        """(n, 3, h, w) in [-1, 1] -> one map (n, 1, side / 8, side / 8), smaller where the pictures are."""
        height, width = pictures.shape[-2:]
        y, x = (int(torch.randint(max(1, length - self.side + 1), ())) for length in (height, width))
        return [self.layers(pictures[:, :, y : y + self.side, x : x + self.side])]
