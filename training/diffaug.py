"""DiffAugment: Zhao et al., "Differentiable Augmentation for Data-Efficient GAN Training", NeurIPS 2020
(arXiv 2006.10738). Random changes, differentiable in the pictures, to reals and fakes alike. From the paper, with
small rotations beside its policies.

All functions take (n, c, h, w) in [-1, 1] and draw from torch's global generator, one draw a picture.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def one_each(x: Tensor, low: float, high: float) -> Tensor:
    """Uniform numbers, one a picture, shaped to multiply with ``x``."""
    return torch.empty(len(x), 1, 1, 1, device=x.device).uniform_(low, high)


def color(x: Tensor) -> Tensor:
    """Brightness ±0.5, saturation ×U(0, 2), contrast ×U(0.5, 1.5)."""
    x = x + one_each(x, -0.5, 0.5)
    grey = x.mean(1, keepdim=True)
    x = grey + (x - grey) * one_each(x, 0.0, 2.0)
    mean = x.mean((1, 2, 3), keepdim=True)
    return mean + (x - mean) * one_each(x, 0.5, 1.5)


def translation(x: Tensor, ratio: float = 0.125) -> Tensor:
    """Shift by up to ``ratio`` of the side each way; what comes in is mid-grey, 0."""
    n, _, h, w = x.shape
    reach_y, reach_x = int(h * ratio + 0.5), int(w * ratio + 0.5)
    padded = F.pad(x, (reach_x, reach_x, reach_y, reach_y))
    tops = torch.randint(2 * reach_y + 1, (n,)).tolist()
    lefts = torch.randint(2 * reach_x + 1, (n,)).tolist()
    shifted = [
        padded[i, :, top : top + h, left : left + w] for i, (top, left) in enumerate(zip(tops, lefts, strict=True))
    ]
    return torch.stack(shifted)


def cutout(x: Tensor, ratio: float = 0.5) -> Tensor:
    """Zero a square of ``ratio`` of the side, centred anywhere, so that it may hang over the edge."""
    n, _, h, w = x.shape
    size_y, size_x = int(h * ratio + 0.5), int(w * ratio + 0.5)
    mask = x.new_ones(n, 1, h, w)
    centres = zip(torch.randint(h + 1, (n,)).tolist(), torch.randint(w + 1, (n,)).tolist(), strict=True)
    for i, (cy, cx) in enumerate(centres):
        top, left = cy - size_y // 2, cx - size_x // 2
        mask[i, :, max(0, top) : max(0, top + size_y), max(0, left) : max(0, left + size_x)] = 0
    return x * mask


def rotation(x: Tensor, degrees: float = 10.0) -> Tensor:
    """Turn about the centre by up to ``degrees`` either way; what comes in repeats the nearest edge."""
    angle = torch.empty(len(x), device=x.device).uniform_(-math.radians(degrees), math.radians(degrees))
    cos, sin = angle.cos(), angle.sin()
    aspect = x.shape[2] / x.shape[3]
    zero = torch.zeros_like(angle)
    rows = torch.stack([cos, -sin * aspect, zero], 1), torch.stack([sin / aspect, cos, zero], 1)
    grid = F.affine_grid(torch.stack(rows, 1), list(x.shape), align_corners=False).to(x.dtype)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)


POLICIES = {
    "color": color,
    "rotation": rotation,
    "translation": translation,
    "small-translation": lambda x: translation(x, 1 / 16),
    "cutout": cutout,
    "small-cutout": lambda x: cutout(x, 0.2),
}


def diff_augment(x: Tensor, policy: tuple[str, ...]) -> Tensor:
    """Apply the named policies in order. An empty policy returns ``x`` itself.

    Raises:
        KeyError: for a name that is not in ``POLICIES``.
    """
    for name in policy:
        x = POLICIES[name](x)
    return x
