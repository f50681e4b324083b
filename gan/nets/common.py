"""Pieces that several network families share."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize


def glu(x: Tensor) -> Tensor:
    """Gated linear unit over channels (Dauphin et al. 2017): the first half times the sigmoid of the second.

    On channels-last tensors this trains twice as fast on a CPU as ``F.glu``.
    """
    value, gate = x.chunk(2, dim=1)
    # On a copy without gaps between the pixels the sigmoid and its gradient take half the time.
    gate = gate.clone().sigmoid_()
    # Without a gradient nobody needs the gate afterwards.
    return value * gate if gate.requires_grad else gate.mul_(value)


class GLU(nn.Module):
    """:func:`glu` as a layer: (n, 2c, …) -> (n, c, …)."""

    def forward(self, x: Tensor) -> Tensor:
        return glu(x)


class UpConv(nn.Module):
    """Nearest-neighbour upsampling ×2 followed by a 3×3 convolution, computed as one transposed convolution.

    Each output pixel of the pair sees only 2×2 input pixels, so summing the 3×3 kernel's taps that fall on
    the same input pixel gives a 4×4 kernel of stride 2 with the same result and 16/36 of the multiplications.

    Shapes: (n, in, h, w) -> (n, out, 2h, 2w). ``weight`` is kept as the 3×3 kernel, (out, in, 3, 3).
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 3, 3) * 0.02)
        # Filled only where a batch norm is folded in; the kernel then stays what it is.
        self.register_parameter("bias", None)
        self.register_buffer("kernel", None, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        kernel = self.summed() if self.kernel is None else self.kernel
        return F.conv_transpose2d(x, kernel, self.bias, stride=2, padding=1)

    def summed(self) -> Tensor:
        """The 4×4 kernel, (in, out, 4, 4): what a transposed convolution wants, its taps the other way round."""
        # Summing the four shifted copies adds the taps.
        padded = F.pad(self.weight, (1, 1, 1, 1))
        rows = padded[:, :, 1:] + padded[:, :, :-1]
        return (rows[..., 1:] + rows[..., :-1]).transpose(0, 1).flip(2, 3)


class PixelNorm(nn.Module):
    """Divides the channels of every pixel by their root mean square (Karras et al. 2018, section 4.2): (n, c, h, w), of
    the same shape after."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-8)


def normed(norm: str, channels: int) -> nn.Module:
    """The layer after a generator's convolution: "batch" norm, or "pixel", which looks at one position of one picture.

    Raises:
        ValueError: for any other name.
    """
    if norm not in ("batch", "pixel"):
        raise ValueError(f"The generator has batch or pixel norm, not {norm!r}.")
    return nn.BatchNorm2d(channels) if norm == "batch" else PixelNorm()


class ConditionalBatchNorm(nn.Module):
    """Batch norm whose gain and bias are the label's (Dumoulin et al. 2017); with no classes an ordinary one."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=not classes)
        self.embed = nn.Embedding(classes, 2 * channels) if classes else None
        if self.embed is not None:
            nn.init.ones_(self.embed.weight[:, :channels])
            nn.init.zeros_(self.embed.weight[:, channels:])

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """(n, channels, h, w), and class numbers (n,) where there are classes -> the same shape."""
        x = self.norm(x)
        if self.embed is None:
            return x
        gain, bias = self.embed(labels).to(x.dtype)[:, :, None, None].chunk(2, dim=1)
        return x * gain + bias


def add_spectral_norm(net: nn.Module) -> nn.Module:
    """Divide every convolution and dense weight of ``net`` by its largest singular value (Miyato et al. 2018).

    Applied in place, from the weights as they are, and returned. A network's ``free_layers`` are left as they are.
    """
    free = set(net.free_layers()) if hasattr(net, "free_layers") else set()
    for module in list(net.modules()):
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear | UpConv) and module not in free:
            parametrizations.spectral_norm(module)
    return net


@torch.no_grad()
def plain_weights(net: nn.Module) -> dict[str, Tensor]:
    """The state of ``net`` as a network without spectral norm would have it: each weight by its present value.

    (Removing the parametrisations from a copy would remove them from the original too: both share their classes.)
    """
    weights = {
        name: tensor.detach().clone() for name, tensor in net.state_dict().items() if ".parametrizations." not in name
    }
    for name, module in net.named_modules():
        if parametrize.is_parametrized(module, "weight"):
            weights[f"{name}.weight"] = module.weight.detach().clone()
    return weights


@torch.no_grad()
def fold_batch_norm(conv: nn.Conv2d | UpConv, norm: nn.BatchNorm2d) -> nn.Identity:
    """Put an evaluated batch norm into the bias-free convolution before it. Returns what stands in its place."""
    gain = norm.weight * (norm.running_var + norm.eps).rsqrt()
    conv.weight.mul_(gain[:, None, None, None])
    conv.bias = nn.Parameter(norm.bias - norm.running_mean * gain)
    if isinstance(conv, UpConv):
        conv.kernel = conv.summed()
    return nn.Identity()


def init_normal(net: nn.Module) -> nn.Module:
    """DCGAN's initialisation (Radford et al. 2016): weights N(0, 0.02), batch-norm gains N(1, 0.02). In place."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(module.weight, 0.0, 0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)
            nn.init.zeros_(module.bias)
    return net
