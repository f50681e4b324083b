"""Pictures for whoever trains: theirs as the model will see them, and theirs beside what it makes of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import to_pil_image

from gan.checkpoint import read_config
from gan.pictures import open_picture
from training.data.pictures import PictureSet, centre_square, draw_batch
from training.diffaug import diff_augment
from training.metrics import nearest

# What the frozen network was trained on.
SIDE = 224
BATCH = 16


@dataclass(frozen=True)
class Match:
    """One generated picture and the training picture nearest to it.

    Attributes:
        real: position of the training picture.
        mirrored: whether it is nearer when mirrored.
        copies: whether it lies closer than training pictures lie to each other.
    """

    real: int
    mirrored: bool
    copies: bool


def augmented(files: list[Path], base: str) -> list[Image.Image]:
    """The pictures as a fine-tuning of ``base`` will draw them: cut, mirrored, and changed as its recipe says."""
    from training import bases
    from training.recipes import RECIPES

    entry = bases.entry(base)
    recipe = RECIPES[read_config(entry.folder)["recipe"]]
    data = PictureSet([as_tensor(open_picture(file)) for file in files])
    source = torch.Generator().manual_seed(0)
    batch = draw_batch(data, range(len(files)), entry.resolution, recipe.crop, recipe.flip, source)
    batch = diff_augment(batch, recipe.augment)
    return [to_pil_image(picture) for picture in batch.clamp(-1, 1).add(1).div(2)]


def compare(made: list[Image.Image], files: list[Path]) -> list[Match]:
    """The nearest training picture of each generated one, by what a frozen network sees in them.

    "Closer than training pictures lie to each other" is as for ``memorised`` (``training.metrics``): under the 1st
    percentile of their leave-one-out distances, mirror images included. About 30 ms a picture.

    Args:
        made: generated pictures.
        files: at least two training pictures.
    """
    real = [as_tensor(open_picture(file, side=SIDE)) for file in files]
    here, mirrored, fake = (features(pictures) for pictures in (real, [x.flip(-1) for x in real], tensors(made)))
    among = torch.minimum(nearest(here, here, leave_out=True), nearest(here, mirrored, leave_out=True))
    threshold = torch.quantile(among, 0.01)
    distances, found = torch.cdist(fake, torch.cat([here, mirrored])).min(1)
    return [
        Match(index % len(files), index >= len(files), bool(distance < threshold))
        for distance, index in zip(distances, found.tolist(), strict=True)
    ]


@torch.inference_mode()
def features(pictures: list[Tensor]) -> Tensor:
    """What the frozen network sees in the centre squares, averaged over the picture: (n, 432)."""
    squares = torch.stack([centre_square(picture, SIDE) for picture in pictures]).float().div(127.5).sub(1)
    found = []
    for part in squares.split(BATCH):
        stages = network()(part)
        found.append(torch.cat([F.normalize(stage.mean((2, 3))) for stage in stages[-2:]], 1))
    return torch.cat(found)


@cache
def network() -> Any:
    """The frozen network, loaded once."""
    from training.projected import frozen_features

    return frozen_features()


def tensors(pictures: list[Image.Image]) -> list[Tensor]:
    return [as_tensor(picture.convert("RGB")) for picture in pictures]


def as_tensor(picture: Image.Image) -> Tensor:
    """uint8 (3, h, w)."""
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)
