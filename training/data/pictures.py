"""Pictures in memory, and the batches drawn from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor


@dataclass
class PictureSet:
    """A training set held as bytes.

    Attributes:
        pictures: uint8 tensors (channels, h, w); a stacked tensor where all have one size.
        labels: class numbers, one a picture, or None.
        classes: the classes' names, in the order of their numbers.
        names: file names, one a picture, where there are files.
        description: where the pictures come from, for the model card.
    """

    pictures: Sequence[Tensor] | Tensor
    labels: Tensor | None = None
    classes: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    description: str = ""

    def __len__(self) -> int:
        return len(self.pictures)

    def select(self, positions: Sequence[int], described: str = "") -> PictureSet:
        """Some of the pictures, their description lengthened by ``described``."""
        chosen = list(positions)
        stacked = isinstance(self.pictures, Tensor)
        return PictureSet(
            self.pictures[chosen] if stacked else [self.pictures[i] for i in chosen],
            None if self.labels is None else self.labels[chosen],
            self.classes,
            [self.names[i] for i in chosen] if self.names else [],
            f"{self.description}; {described}" if described else self.description,
        )


def evenly_spaced(count: int, most: int) -> list[int]:
    """At most ``most`` of the positions 0 to ``count - 1``, the first and the last among them."""
    return torch.linspace(0, count - 1, min(most, count)).long().tolist()


def centre_square(picture: Tensor, resolution: int) -> Tensor:
    """One uint8 picture (c, h, w), short side resized to ``resolution`` with Lanczos, centre-cropped."""
    channels, height, width = picture.shape
    if (height, width) == (resolution, resolution):
        return picture
    pixels = picture.permute(1, 2, 0).numpy()
    image = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
    scale = resolution / min(height, width)
    size = (max(resolution, round(width * scale)), max(resolution, round(height * scale)))
    image = image.resize(size, Image.Resampling.LANCZOS)
    left, top = (size[0] - resolution) // 2, (size[1] - resolution) // 2
    image = image.crop((left, top, left + resolution, top + resolution))
    return torch.from_numpy(np.array(image)).reshape(resolution, resolution, channels).permute(2, 0, 1)


def order(count: int, total: int, first: int, seed: int) -> list[int]:
    """Positions ``first`` to ``first + total - 1`` of an endless stream of shuffled passes over ``count`` items.

    A pure function of its arguments: a resumed run reads on exactly where it stopped.
    """
    indices: list[int] = []
    position = first
    while len(indices) < total:
        epoch, offset = divmod(position, count)
        shuffled = torch.randperm(count, generator=torch.Generator().manual_seed(mix(seed, epoch)))
        chunk = shuffled[offset : offset + total - len(indices)].tolist()
        indices += chunk
        position += len(chunk)
    return indices


def mix(*numbers: int) -> int:
    """One 63-bit seed out of several whole numbers, so that neighbouring inputs give unrelated streams."""
    state = 0x9E3779B97F4A7C15
    for number in numbers:
        state = (state ^ (number & 0xFFFFFFFFFFFFFFFF)) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 31
        state = state * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 29
    return state >> 1


def draw_batch(
    data: PictureSet,
    indices: Sequence[int],
    resolution: int,
    crop: tuple[float, float] | None,
    flip: bool,
    generator: torch.Generator,
) -> Tensor:
    """The named pictures as floats in [-1, 1], (n, channels, resolution, resolution).

    Args:
        crop: side of a random square crop as shares (low, high) of the short side; None for the centre square.
        flip: mirror half of them left to right.
        generator: source of the crops and flips.
    """
    if isinstance(data.pictures, Tensor) and crop is None and data.pictures.shape[-2:] == (resolution, resolution):
        batch = data.pictures[list(indices)].float()
    else:
        batch = torch.stack([square(data.pictures[i], resolution, crop, generator) for i in indices])
    if flip:
        mirrored = torch.rand(len(batch), generator=generator) < 0.5
        batch[mirrored] = batch[mirrored].flip(-1)
    return batch / 127.5 - 1


def square(picture: Tensor, resolution: int, crop: tuple[float, float] | None, generator: torch.Generator) -> Tensor:
    """A square of one uint8 picture, resized with antialiasing: (c, resolution, resolution), float in [0, 255]."""
    height, width = picture.shape[-2:]
    short = min(height, width)
    if crop is None:
        side, top, left = short, (height - short) // 2, (width - short) // 2
    else:
        low, high = crop
        share, down, right = torch.rand(3, generator=generator).tolist()
        side = max(1, round(short * (low + (high - low) * share)))
        top, left = int(down * (height - side + 1)), int(right * (width - side + 1))
    part = picture[None, :, top : top + side, left : left + side].float()
    if side != resolution:
        part = F.interpolate(part, size=(resolution, resolution), mode="bicubic", antialias=True, align_corners=False)
    return part[0].clamp_(0, 255)
