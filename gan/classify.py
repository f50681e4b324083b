"""What a picture shows, by a trained classifier."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from gan.device import best_device, inference_context
from gan.errors import RequestError
from gan.pictures import Source, open_picture


@dataclass(frozen=True)
class Answer:
    """Labels with their probabilities, best first. Iterating gives (label, probability) pairs."""

    ranked: tuple[tuple[str, float], ...]

    def __iter__(self) -> Iterator[tuple[str, float]]:
        return iter(self.ranked)

    def __len__(self) -> int:
        return len(self.ranked)

    @property
    def label(self) -> str:
        """The most probable label."""
        return self.ranked[0][0]

    @property
    def probability(self) -> float:
        """The most probable label's probability, 0 to 1."""
        return self.ranked[0][1]

    def as_dict(self) -> dict[str, float]:
        """Label -> probability, best first."""
        return dict(self.ranked)


class Classifier:
    """A trained classifier network, ready to look at pictures.

    Args:
        name: of the checkpoint.
        config: the contents of its ``config.json``; ``input`` holds ``size``, ``channels``, ``mean``, ``std``
            and how many ``views`` of a picture are averaged.
        network: in evaluation mode.
    """

    def __init__(self, name: str, config: dict[str, Any], network: nn.Module) -> None:
        self.name, self.config = name, config
        self.classes: list[str] = list(config["classes"])
        self.input: dict[str, Any] = config["input"]
        self.device = best_device()
        self.parameters = sum(p.numel() for p in network.parameters())
        self.network = network.to(self.device, memory_format=torch.channels_last)
        self._lock = threading.Lock()

    def classify(self, photo: Source, top: int | None = None) -> Answer:
        """The labels of one picture, most probable first; all of them, or the first ``top``.

        Args:
            photo: anything that :func:`gan.pictures.open_picture` takes.

        Raises:
            PictureError: for a file that is no usable picture.
            RequestError: for a ``top`` below 1.
        """
        if top is not None and (isinstance(top, bool) or not isinstance(top, int) or top < 1):
            raise RequestError("error.request.top")
        picture = open_picture(photo, side=self.input["size"])
        views = to_input(picture, self.input["size"], self.input["channels"], self.input.get("views", 1))
        probabilities = self.probabilities(views).mean(0)
        order = probabilities.argsort(descending=True, stable=True)[:top].tolist()
        return Answer(tuple((self.classes[i], probabilities[i].item()) for i in order))

    @torch.inference_mode()
    def probabilities(self, pictures: Tensor) -> Tensor:
        """uint8 (n, channels, size, size) -> probabilities (n, classes), float32 on the CPU, rows summing to 1."""
        x = normalised(pictures.to(self.device), self.input["mean"], self.input["std"])
        with self._lock, inference_context(self.device):
            logits = self.network(x.contiguous(memory_format=torch.channels_last))
        return logits.float().softmax(1).cpu()


def to_input(picture: Image.Image, size: int, channels: int, views: int = 1) -> Tensor:
    """An RGB picture as a network sees it: squares of it, uint8 (views, channels, size, size).

    Each is as wide as the short side; one lies in the centre, several are spread evenly along the long side. A square
    keeps a motif's proportions, and the average over several sees all of the cloth: in cross-validation both told
    batik motifs apart better than squeezing the whole picture into one square.
    """
    picture = picture.convert("L" if channels == 1 else "RGB")
    width, height = picture.size
    side = min(width, height)
    squares = []
    for view in range(views):
        share = view / (views - 1) if views > 1 else 0.5
        left, top = round((width - side) * share), round((height - side) * share)
        box = (left, top, left + side, top + side)
        squares.append(np.array(picture.resize((size, size), Image.Resampling.BICUBIC, box=box)))
    return torch.from_numpy(np.stack(squares)).reshape(views, size, size, channels).permute(0, 3, 1, 2)


def normalised(pictures: Tensor, mean: list[float], std: list[float]) -> Tensor:
    """uint8 pictures (n, c, h, w) as floats: scaled to [0, 1], less each channel's mean, over its deviation."""
    shape = (1, -1, 1, 1)
    centre, spread = (torch.tensor(list(v), device=pictures.device).view(shape) for v in (mean, std))
    return (pictures.float() / 255 - centre) / spread
