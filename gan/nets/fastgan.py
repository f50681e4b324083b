"""FastGAN: Liu et al., "Towards Faster and Stabilized GAN Training for High-fidelity Few-shot Image Synthesis",
ICLR 2021 (arXiv 2101.04775). Written from the paper.

The generator (section 3.1, figure 3) widens few low-resolution features into a picture, and lets
low-resolution features switch high-resolution channels on and off (SLE, equation 1). The discriminator
(section 3.2, figure 4) is an encoder that must also reconstruct real pictures from its features.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan.nets.common import GLU, UpConv, fold_batch_norm, glu, init_normal

# Channels at each resolution, in multiples of the width.
GENERATOR_WIDTHS = {4: 16, 8: 8, 16: 4, 32: 2, 64: 2, 128: 1, 256: 0.5, 512: 0.25, 1024: 0.125}
DISCRIMINATOR_WIDTHS = {8: 16, 16: 8, 32: 4, 64: 2, 128: 1, 256: 0.5, 512: 0.25, 1024: 0.125}
# Which resolution's features gate which (SLE).
SLE_SOURCES = {64: 4, 128: 8, 256: 16, 512: 32}


class NoiseInjection(nn.Module):
    """Adds one Gaussian map, scaled by one learned number that starts at zero, to every channel.

    Shapes: (n, c, h, w) and the map (n, 1, h, w) -> (n, c, h, w).
    """

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        return x + self.scale * noise


class UpBlock(nn.Module):
    """×2 upsampling, 3×3 convolution, batch norm, GLU; with ``deep`` a second convolution, batch norm, GLU.

    A deep block with ``noise`` adds it after each convolution. One with a ``style``, the length of the latent, takes
    from it a gain and a bias for each channel before the first GLU. Shapes: (n, in, h, w) -> (n, out, 2h, 2w).
    """

    def __init__(
        self, in_channels: int, out_channels: int, deep: bool = False, noise: bool = False, style: int = 0
    ) -> None:
        super().__init__()
        self.deep = deep
        self.style = nn.Linear(style, 4 * out_channels) if style else None
        self.noise_maps = 2 if deep and noise else 0
        self.up = UpConv(in_channels, 2 * out_channels)
        self.up_norm = nn.BatchNorm2d(2 * out_channels)
        if deep:
            self.conv = nn.Conv2d(out_channels, 2 * out_channels, 3, padding=1, bias=False)
            self.conv_norm = nn.BatchNorm2d(2 * out_channels)
        if self.noise_maps:
            self.up_noise, self.conv_noise = NoiseInjection(), NoiseInjection()

    def forward(self, x: Tensor, noise: list[Tensor], latents: Tensor) -> Tensor:
        x = self.up(x)
        x = self.up_norm(self.up_noise(x, noise[0]) if noise else x)
        if self.style is not None:
            gain, bias = self.style(latents).to(x.dtype)[:, :, None, None].chunk(2, dim=1)
            x = torch.addcmul(bias, x, 1 + gain)
        x = glu(x)
        if not self.deep:
            return x
        x = self.conv(x)
        return glu(self.conv_norm(self.conv_noise(x, noise[1]) if noise else x))

    def fold(self) -> None:
        """Fold the batch norms into the convolutions, for evaluation only. Noise stands between them: not then."""
        if not self.noise_maps:
            self.up_norm = fold_batch_norm(self.up, self.up_norm)
            if self.deep:
                self.conv_norm = fold_batch_norm(self.conv, self.conv_norm)


class SkipLayerExcitation(nn.Module):
    """SLE, equation 1: high-resolution features times a gate in (0, 1) per channel from low-resolution ones.

    Shapes: (n, low, h, w), at least 4², and (n, high, H, W) -> (n, high, H, W).
    """

    def __init__(self, low_channels: int, high_channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(low_channels, high_channels, 4, bias=False)
        self.excite = nn.Conv2d(high_channels, high_channels, 1, bias=False)

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        gate = F.silu(self.squeeze(F.adaptive_avg_pool2d(low, 4)))
        return high * torch.sigmoid(self.excite(gate))


class FineDetail(nn.Module):
    """What the features of the level below add to a picture's detail: (n, in, h, w) -> (n, 3, 2h, 2w).

    A 3×3 convolution, GLU, and a 3×3 convolution to the four pixels that stand for each place (Shi et al. 2016, the
    sub-pixel convolution of section 3.2), which costs a quarter of convolutions between the pixels themselves. The sum
    is scaled by one learned number. It begins small, so that a generator that was trained without it may go on with
    it, and counts ``PACE``-fold, so that Adam's steps soon make it matter.
    """

    PACE = 10

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.spread = nn.Conv2d(in_channels, 2 * width, 3, padding=1, bias=False)
        self.gather = nn.Conv2d(width, 12, 3, padding=1, bias=False)
        self.scale = nn.Parameter(torch.full((1,), 0.1 / self.PACE))

    def forward(self, x: Tensor) -> Tensor:
        return self.PACE * self.scale * F.pixel_shuffle(self.gather(glu(self.spread(x))), 2)


class FastGANGenerator(nn.Module):
    """Latents to pictures.

    Args:
        resolution: side of the pictures, a power of two from 32 to 1024. At 32² nothing is gated yet.
        width: channels at 128²; every other level follows ``GENERATOR_WIDTHS``.
        latent_size: length of the latent vector.
        noise: whether every second block adds Gaussian noise, as in the paper. Without it the generator is
            faster, and batch norm folds into the convolutions.
        styled: whether the latent also sets a gain and a bias for each channel of the blocks up to ``styles`` (Karras
            et al. 2019, section 2). Which motif a cloth has, and in which colours, is the same all over it, and
            convolutions from 4² up must otherwise carry that to every place. There is an output at 64² then, too, and
            every output adds its detail to the smaller one enlarged (Karras et al. 2020, section 4.1), so that training
            may go on with larger pictures and keep what it has.
        fine: channels of a :class:`FineDetail` at half the full resolution, 0 for none. The lean last level alone
            draws pictures with half the detail of photographs.
        styles: side of the largest level with styles.

    Raises:
        ValueError: for a resolution it cannot build.
    """

    channels, classes = 3, 0
    value_range = (-1, 1)

    def __init__(
        self,
        resolution: int = 256,
        width: int = 32,
        latent_size: int = 256,
        noise: bool = True,
        styled: bool = False,
        fine: int = 0,
        styles: int = 64,
    ) -> None:
        super().__init__()
        if resolution not in (32, 64, 128, 256, 512, 1024):
            raise ValueError(f"FastGAN builds 32, 64, 128, 256, 512 or 1024 pixels a side, not {resolution}.")
        self.resolution, self.width, self.latent_size, self.styled = resolution, width, latent_size, styled
        levels = [size for size in GENERATOR_WIDTHS if size <= resolution]
        channels = {size: max(1, int(GENERATOR_WIDTHS[size] * width)) for size in levels}
        self.initial = nn.ConvTranspose2d(latent_size, 2 * channels[4], 4, bias=False)
        self.initial_norm = nn.BatchNorm2d(2 * channels[4])
        self.blocks = nn.ModuleDict()
        self.gates = nn.ModuleDict()
        for position, size in enumerate(levels[1:]):
            deep = position % 2 == 0
            style = latent_size if styled and size <= styles else 0
            self.blocks[str(size)] = UpBlock(channels[size // 2], channels[size], deep, noise, style)
            if size in SLE_SOURCES:
                low = SLE_SOURCES[size]
                self.gates[str(size)] = SkipLayerExcitation(channels[low], channels[size])
        self.to_rgb = nn.Conv2d(channels[resolution], 3, 3, padding=1, bias=False)
        self.fine = FineDetail(channels[resolution // 2], fine) if fine else None
        # The paper's second output, which the discriminator's small branch reads.
        self.to_rgb_small = nn.Conv2d(channels[128], 3, 1, bias=False) if resolution > 128 else None
        self.to_rgb_first = nn.Conv2d(channels[64], 3, 1, bias=False) if styled and resolution > 64 else None
        init_normal(self)

    def fold(self) -> None:
        """Make evaluation faster, with the same pictures. The network can then neither be trained nor saved."""
        for block in self.blocks.values():
            block.fold()

    def free_layers(self) -> list[nn.Module]:
        """Layers that spectral norm is to leave alone: in styled networks those by which the latent switches channels.

        No batch norm follows them to make up for the division, which would hold down how far a latent can take a
        picture.
        """
        if not self.styled:
            return []
        return [*self.style_layers(), *(layer for gate in self.gates.values() for layer in gate.children())]

    def style_layers(self) -> list[nn.Linear]:
        """The layers that make gains and biases of the latent, from the smallest level on."""
        return [block.style for block in self.blocks.values() if block.style is not None]

    def lengthen(self, factor: float) -> None:
        """Weights with which every latent counts as ``factor`` times as long: more varied pictures, fewer good ones.

        The opposite of truncation (Brock et al. 2019, section 3.1), and just as well done to the latents themselves.
        """
        with torch.no_grad():
            for layer in (self.initial, *self.style_layers()):
                layer.weight.mul_(factor)

    def outputs(self) -> dict[int, nn.Module]:
        """The layers that make pictures, by the pictures' side."""
        found = {64: self.to_rgb_first, 128: self.to_rgb_small, self.resolution: self.to_rgb}
        return {side: layer for side, layer in found.items() if layer is not None}

    def noise_sizes(self) -> list[int]:
        """Sides of the square noise maps that :meth:`forward` takes, in order."""
        return [int(size) for size, block in self.blocks.items() for _ in range(block.noise_maps)]

    def forward(
        self,
        latents: Tensor,
        labels: Tensor | None = None,
        noise: list[Tensor] | None = None,
        small: bool = False,
        side: int | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """(n, latent_size) -> (n, 3, resolution, resolution) in [-1, 1].

        ``noise`` holds one (n, 1, side, side) Gaussian map for each of :meth:`noise_sizes`; drawn afresh when
        absent. For resolutions above 128 the 128² output comes too with ``small``. With ``side`` the output of that
        side comes alone, one of :meth:`outputs`, and the levels above it are neither computed nor trained.
        """
        if noise is None:
            noise = [latents.new_empty(len(latents), 1, side, side).normal_() for side in self.noise_sizes()]
        noise = list(noise)
        x = glu(self.initial_norm(self.initial(latents[:, :, None, None])))
        features = {4: x}
        layers, last = self.outputs(), side or self.resolution
        wanted = layers if self.styled else {last, 128} if small else {last}
        pictures: list[Tensor] = []
        for name, block in self.blocks.items():
            maps, size = [noise.pop(0) for _ in range(block.noise_maps)], int(name)
            x = block(x, maps, latents)
            if name in self.gates:
                x = self.gates[name](features[SLE_SOURCES[size]], x)
            features[size] = x
            if size in layers and size in wanted:
                detail = layers[size](x)
                below = self.styled and pictures
                if size == self.resolution and self.fine is not None:
                    detail = detail + self.fine(features[size // 2])
                pictures.append(detail + F.interpolate(pictures[-1], size=size, mode="bilinear") if below else detail)
            if size == last:
                break
        if small and len(pictures) > 1:
            return torch.tanh(pictures[-1]), torch.tanh(pictures[-2])
        return torch.tanh(pictures[-1])


class DownBlock(nn.Module):
    """Halves the resolution, (n, in, 2h, 2w) -> (n, out, h, w): mean of a convolution path and a pooled 1×1 one."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 4, 2, 1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.LeakyReLU(0.2, inplace=True),
        )
        self.direct = nn.Sequential(
            nn.AvgPool2d(2),
            nn.Conv2d(in_channels, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.LeakyReLU(0.2, inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        return (self.main(x) + self.direct(x)) / 2


class SimpleDecoder(nn.Module):
    """Figure 4's small decoder: (n, in, 8, 8) to pictures (n, 3, side, side) in [-1, 1]."""

    def __init__(self, in_channels: int, width: int, side: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels, size = in_channels, 8
        while size < side:
            size *= 2
            out = max(4, int(GENERATOR_WIDTHS[size] * width))
            layers += [UpConv(channels, 2 * out), nn.BatchNorm2d(2 * out), GLU()]
            channels = out
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels, 3, 3, padding=1, bias=False), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def logit_head(in_channels: int) -> nn.Sequential:
    """8×8 features to a 5×5 map of logits."""
    return nn.Sequential(
        nn.Conv2d(in_channels, in_channels, 1, bias=False),
        nn.BatchNorm2d(in_channels),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(in_channels, 1, 4, bias=False),
    )


class FastGANDiscriminator(nn.Module):
    """Pictures to maps of logits, and reconstructions of real pictures.

    Args:
        resolution: side of the pictures, 64 to 1024.
        width: channels at 128²; every other level follows ``DISCRIMINATOR_WIDTHS``.
    """

    channels = 3

    def __init__(self, resolution: int = 256, width: int = 32) -> None:
        super().__init__()
        if resolution not in (64, 128, 256, 512, 1024):
            raise ValueError(f"FastGAN builds 64, 128, 256, 512 or 1024 pixels a side, not {resolution}.")
        self.resolution = resolution
        channels = {size: max(1, int(DISCRIMINATOR_WIDTHS[size] * width)) for size in DISCRIMINATOR_WIDTHS}
        self.stem = nn.Sequential(
            nn.Conv2d(3, channels[resolution], 3, padding=1, bias=False), nn.LeakyReLU(0.2, inplace=True)
        )
        sizes = [size for size in sorted(channels, reverse=True) if size < resolution]
        self.down = nn.ModuleDict({str(size): DownBlock(channels[2 * size], channels[size]) for size in sizes})
        self.head = logit_head(channels[8])
        self.decode_whole = SimpleDecoder(channels[8], width, min(128, resolution))
        self.decode_part = SimpleDecoder(channels[16], width, min(128, resolution // 2))
        self.small = None
        if resolution > 128:
            self.small = nn.Sequential(
                nn.Conv2d(3, channels[64], 4, 2, 1, bias=False),
                nn.LeakyReLU(0.2, inplace=True),
                DownBlock(channels[64], channels[32]),
                DownBlock(channels[32], channels[16]),
                DownBlock(channels[16], channels[8]),
            )
            self.small_head = logit_head(channels[8])
            self.decode_small = SimpleDecoder(channels[8], width, 128)
        init_normal(self)

    @property
    def ways(self) -> list[list[nn.Module]]:
        """The ways that a picture and its 128² copy go, block by block."""
        return [[self.stem, *self.down.values(), self.head], [*self.small, self.small_head] if self.small else []]

    def forward(
        self, pictures: Tensor, labels: Tensor | None = None, small: Tensor | None = None, reconstruct: bool = False
    ) -> list[Tensor] | tuple[list[Tensor], Tensor]:
        """(n, 3, r, r) in [-1, 1] -> logit maps, each (n, 1, 5, 5).

        ``small`` is the 128² copy (made by averaging when absent). With ``reconstruct`` the mean L1 distance of
        the decoders' pictures to the given ones comes too, a scalar (equation 2, with L1 for the perceptual
        distance: its network cannot be assumed).
        """
        x = self.stem(pictures)
        features = {}
        for name, block in self.down.items():
            x = features[int(name)] = block(x)
        logits = [self.head(x)]
        losses = []
        if reconstruct:
            losses.append(l1_to(self.decode_whole(x), pictures))
            # A random quadrant: the features' quarter must hold the picture's quarter.
            row, column = torch.randint(2, (2,)).tolist()
            part = features[16][:, :, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
            half = self.resolution // 2
            truth = pictures[:, :, half * row : half * row + half, half * column : half * column + half]
            losses.append(l1_to(self.decode_part(part), truth))
        if self.small is not None:
            if small is None:
                small = F.interpolate(pictures, size=128, mode="area")
            y = self.small(small)
            logits.append(self.small_head(y))
            if reconstruct:
                losses.append(l1_to(self.decode_small(y), pictures))
        return (logits, torch.stack(losses).sum()) if reconstruct else logits


def l1_to(decoded: Tensor, pictures: Tensor) -> Tensor:
    """Mean absolute difference, with ``pictures`` averaged down to the size of ``decoded``."""
    return F.l1_loss(decoded, F.interpolate(pictures, size=decoded.shape[-1], mode="area"))
