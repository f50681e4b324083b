"""Where in a photo a classifier looked: the parts of its last feature map that speak for one label.

Each cell's activations times their gradients (HiResCAM, Draelos and Carin 2020, Eq. 4). Under global average pooling
that is Grad-CAM (Selvaraju et al., ICCV 2017) itself; under dense layers, which weigh every place differently, only
this one shows what the network used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

# Long side of a map laid over its photo: the network's own cells are far larger.
MAP_SIDE = 256
# Cold parts fade into grey; hot ones glow from soga brown over wax gold to pale yellow.
FADED, GLOW = 0.55, 0.6
COLOURS = np.array([(74, 38, 20), (161, 74, 30), (226, 150, 40), (255, 236, 160)], np.float32)


def stages(network: nn.Module) -> list[nn.Module]:
    """The modules whose outputs are read: those that the network names, else its ``features``."""
    return network.stages() if hasattr(network, "stages") else [network.features]


def attribution(score: Callable[[Tensor], Tensor], layers: Sequence[nn.Module], x: Tensor) -> Tensor:
    """How much each place of some layers' outputs, taken together, speaks for ``score``.

    Args:
        score: network inputs (n, c, h, w) -> (n,); runs each layer once.
        layers: convolutional stages with outputs (n, d, rows, columns), which may differ in size.

    Returns:
        (n, rows, columns), as fine as the finest, float32 on the CPU, never negative: what speaks against the label is
        left out.
    """
    from captum.attr import LayerGradientXActivation

    with torch.enable_grad():
        found = LayerGradientXActivation(score, list(layers)).attribute(x)
    maps = [one.detach().float().sum(1, keepdim=True) for one in found]
    size = max((one.shape[2:] for one in maps), key=lambda shape: shape.numel())
    # A cell of a coarse map speaks for all the fine ones that it covers.
    shares = (functional.interpolate(one, size, mode="bilinear") * one[0].numel() / size.numel() for one in maps)
    return sum(shares).squeeze(1).clamp(min=0).cpu()


def over_photo(maps: Tensor, boxes: Sequence[tuple[int, int, int, int]], size: tuple[int, int]) -> np.ndarray:
    """The maps of several squares of a photo as one map of the whole photo, blended where squares overlap.

    Args:
        maps: (n, rows, columns), one for each square.
        boxes: the squares as left, top, right, bottom, in the photo's pixels.
        size: the photo's width and height.

    Returns:
        float32 (height, width), the long side ``MAP_SIDE``, from 0 to 1 (all 0 where nothing speaks for the label).
    """
    scale = MAP_SIDE / max(size)
    width, height = (max(1, round(side * scale)) for side in size)
    total, seen = np.zeros((height, width), np.float32), np.zeros((height, width), np.float32)
    for one, box in zip(maps, boxes, strict=True):
        left, right = (min(width, round(edge * scale)) for edge in box[::2])
        top, bottom = (min(height, round(edge * scale)) for edge in box[1::2])
        if right > left and bottom > top:
            square = Image.fromarray(one.numpy()).resize((right - left, bottom - top), Image.Resampling.BICUBIC)
            # A square counts less towards its edges, so that no seam shows where it ends inside another.
            weight = np.minimum.outer(tent(bottom - top), tent(right - left))
            total[top:bottom, left:right] += weight * np.asarray(square)
            seen[top:bottom, left:right] += weight
    heat = (total / np.maximum(seen, 1e-6)).clip(0)
    return heat / max(float(heat.max()), 1e-12)


def tent(length: int) -> np.ndarray:
    """Weights that rise from the ends to the middle, float32 (length,), in (0, 1]."""
    steps = np.arange(length, dtype=np.float32) + 0.5
    return np.minimum(steps, length - steps) * 2 / length


def overlay(picture: Image.Image, heat: np.ndarray) -> Image.Image:
    """The photo with its map laid over it, as large as ``picture``: cold parts greyed, hot parts glowing."""
    photo = np.asarray(picture.convert("RGB"), np.float32)
    laid = np.asarray(Image.fromarray(heat).resize(picture.size, Image.Resampling.BICUBIC)).clip(0, 1)[..., None]
    grey = np.asarray(picture.convert("L"), np.float32)[..., None]
    cold = FADED * grey
    steps = np.linspace(0, 1, len(COLOURS))
    glow = np.stack([np.interp(laid[..., 0], steps, COLOURS[:, c]) for c in range(3)], -1)
    base = cold + (photo - cold) * laid
    shown = base + (glow - base) * (GLOW * laid)
    return Image.fromarray(shown.round().clip(0, 255).astype(np.uint8))
