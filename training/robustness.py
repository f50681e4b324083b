"""What a classifier still knows of photos that were taken or kept worse than those of its data set."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from PIL import Image, ImageEnhance
from torch import Tensor

from training.classifier import ClassifierTrainer, opened, squares
from training.scores import accuracy

QUALITY, DEGREES, TILT = 40, 15, 0.12


def jpeg(picture: Image.Image) -> Image.Image:
    """Kept once more as a JPEG of quality 40."""
    kept = io.BytesIO()
    picture.save(kept, "JPEG", quality=QUALITY)
    return Image.open(kept).convert("RGB")


def half(picture: Image.Image) -> Image.Image:
    """At half the width and height."""
    return picture.resize(tuple(max(1, side // 2) for side in picture.size), Image.Resampling.LANCZOS)


def turned(picture: Image.Image) -> Image.Image:
    """Turned by 15 degrees: the largest upright rectangle of the same proportions that shows no corner beyond."""
    width, height = picture.size
    sine, cosine = (function(math.radians(DEGREES)) for function in (math.sin, math.cos))
    scale = min(width / (width * cosine + height * sine), height / (width * sine + height * cosine))
    across, down = width * scale / 2, height * scale / 2
    box = (width / 2 - across, height / 2 - down, width / 2 + across, height / 2 + down)
    return picture.rotate(DEGREES, Image.Resampling.BICUBIC).crop(tuple(round(edge) for edge in box))


def tilted(picture: Image.Image) -> Image.Image:
    """As from a phone held at an angle: the upper edge and the left one are nearer, nothing beyond the cloth shows."""
    width, height = picture.size
    x, y = TILT * width, TILT * height
    # Upper left, lower left, lower right and upper right corners, by where they are taken from.
    corners = [(0, 0), (x, height), (width - x / 2, height - y), (width, y / 2)]
    taken = [(0, 0), (0, height), (width, height), (width, 0)]
    return picture.transform(
        picture.size, Image.Transform.PERSPECTIVE, perspective(taken, corners), Image.Resampling.BICUBIC
    )


def perspective(places: Sequence[tuple[float, float]], sources: Sequence[tuple[float, float]]) -> list[float]:
    """The eight numbers by which Pillow finds for each of four ``places`` in a new picture its source in the old one.

    x' = (a x + b y + c) / (g x + h y + 1) and y' = (d x + e y + f) / (g x + h y + 1): two linear equations a corner.
    """
    rows, values = [], []
    for (x, y), (u, v) in zip(places, sources, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    return np.linalg.solve(np.array(rows, float), np.array(values, float)).tolist()


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "jpeg": jpeg,
    "half": half,
    "darker": lambda picture: ImageEnhance.Brightness(picture).enhance(0.8),
    "brighter": lambda picture: ImageEnhance.Brightness(picture).enhance(1.2),
    "turned": turned,
    "tilted": tilted,
}


def changed(picture: Tensor, change: Callable[[Image.Image], Image.Image]) -> Tensor:
    """A uint8 picture (3, h, w) after one of :data:`CHANGES`, in its new size."""
    image = change(Image.fromarray(picture.permute(1, 2, 0).numpy()))
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def robustness(trainers: Sequence[ClassifierTrainer]) -> dict[str, float]:
    """Accuracy on the pictures that each fold's trainer has not seen, after each change: ``accuracy_<change>``."""
    recipe = replace(trainers[0].recipe, train_views=0)
    data = opened(recipe, recipe.source)
    figures = {}
    for name, change in CHANGES.items():
        worse = replace(data, pictures=[changed(picture, change) for picture in data.pictures])
        seen = squares(worse, recipe)
        found = [trainer.predict(trainer.held, seen) for trainer in trainers]
        labels, probabilities = (torch.cat([getattr(one, key) for one in found]) for key in ("labels", "probabilities"))
        figures[f"accuracy_{name}"] = accuracy(labels, probabilities)
    return figures
