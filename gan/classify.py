"""What a picture shows, by a trained classifier."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor, nn

from gan.catalog import is_number
from gan.checkpoint import REJECTION
from gan.device import best_device
from gan.errors import CheckpointError, RequestError
from gan.pictures import Source, open_picture

# Photographs of walls stay below 3 grey levels, noise and shadows included; no cloth that we have is below 8.
LEAST_CONTRAST = 4.0
# What a config may ask for: more would only keep a visitor waiting.
LARGEST_INPUT, MOST_VIEWS = 1024, 32


@dataclass(frozen=True)
class Answer:
    """Labels with their probabilities, best first. Iterating gives (label, probability) pairs.

    ``sure`` is False where the first label's probability is below what the checkpoint asks for, and for what is no
    batik. ``batik`` is False for a picture that does not look like batik, None from a model that cannot tell.
    """

    ranked: tuple[tuple[str, float], ...]
    sure: bool = True
    batik: bool | None = None

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


@dataclass(frozen=True)
class Explanation:
    """An answer, the upright photo it is about, and where the network looked for the first label.

    ``heat`` is float32 (height, width) of the photo's proportions, from 0 to 1.
    """

    answer: Answer
    picture: Image.Image
    heat: np.ndarray


@dataclass(frozen=True)
class Rejection:
    """What tells batik from other pictures, in d of a network's pooled features; see :func:`batik_score`."""

    columns: Tensor
    mean: Tensor
    scale: Tensor
    centre: Tensor
    basis: Tensor
    threshold: Tensor

    @classmethod
    def load(cls, folder: Path) -> Rejection | None:
        """The one in a checkpoint folder's ``rejection.safetensors``; None where there is no such file.

        Raises:
            CheckpointError: for a file that is no safetensors file, lacks a tensor or whose tensors do not fit.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        if not (folder / REJECTION).is_file():
            return None
        try:
            stored = load_file(folder / REJECTION)
        except (SafetensorError, OSError, ValueError) as error:
            raise CheckpointError("error.checkpoint.format", folder=folder.name, file=REJECTION) from error
        for key in ("columns", "mean", "scale", "centre", "basis", "threshold"):
            if key not in stored:
                raise CheckpointError("error.checkpoint.missing_key", folder=folder.name, key=key)
        wide = stored["mean"].numel()
        wanted = {key: [wide] for key in ("columns", "mean", "scale", "centre")}
        wanted |= {"basis": [wide, -1], "threshold": [1]}
        for key, shape in wanted.items():
            found = list(stored[key].shape)
            if len(found) != len(shape) or any(n not in (-1, m) for n, m in zip(shape, found, strict=True)):
                raise CheckpointError("error.checkpoint.shape", folder=folder.name, key=key, found=found, wanted=shape)
        return cls(**{key: stored[key].long() if key == "columns" else stored[key].float() for key in wanted})

    def scores(self, features: Tensor) -> Tensor:
        """:func:`batik_score` of features (..., width) -> (...)."""
        return batik_score(features, self.columns, self.mean, self.scale, self.centre, self.basis)


class Classifier:
    """A trained classifier network, ready to look at pictures.

    Args:
        name: of the checkpoint.
        config: the contents of its ``config.json``; ``input`` holds ``size``, ``channels``, ``mean``, ``std``, how many
            ``views`` of a picture are averaged, and how ``close`` they are (:func:`squares`). ``temperature`` (default
            1) divides the logits of every view; below the probability ``unsure_below`` (default 0) an answer is not
            sure.
        network: in evaluation mode; with a rejection it offers ``embed`` and is ``head`` of that.
        rejection: what tells batik from other pictures; without one the model cannot.

    Raises:
        CheckpointError: for a ``temperature`` or ``unsure_below`` that is no such number, other ``classes`` than the
            network's, an ``input`` that no picture can be brought to, or a rejection that looks at features which the
            network does not have.
    """

    def __init__(
        self, name: str, config: dict[str, Any], network: nn.Module, rejection: Rejection | None = None
    ) -> None:
        self.name, self.config, self.rejection = name, config, rejection
        self.classes: list[str] = list(config.get("classes", ()))
        if not 0 < len(self.classes) == config["arguments"].get("classes", len(self.classes)):
            raise CheckpointError("error.checkpoint.config", folder=name, detail="it names other classes than it has")
        self.input = input_of(name, config)
        self.temperature = _number(name, config, "temperature", 1.0)
        self.unsure_below = _number(name, config, "unsure_below", 0.0)
        if not self.temperature > 0:
            raise CheckpointError("error.checkpoint.config", folder=name, detail="temperature is not above 0")
        self.close = float(self.input.get("close", 1.0))
        if rejection and not 0 <= rejection.columns.min() <= rejection.columns.max() < network.embedding:
            raise CheckpointError("error.checkpoint.config", folder=name, detail=f"{REJECTION} has other columns")
        self.device = best_device()
        self.parameters = sum(p.numel() for p in network.parameters())
        self.network = network.requires_grad_(False).to(self.device, memory_format=torch.channels_last)
        self._lock = threading.RLock()

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
        picture = self._open(photo)
        with torch.inference_mode():
            logits, features = self._see(self._normalised(self._views(picture)))
        return self._answer(picture, logits, features, top)

    def explain(self, photo: Source) -> Explanation:
        """As :meth:`classify`, with a map of where the network looked for its first label.

        Raises:
            PictureError: for a file that is no usable picture.
        """
        from gan.heatmap import attribution, over_photo, stages

        picture = self._open(photo)
        views = self._views(picture)
        seen = []

        def score(x: Tensor) -> Tensor:
            logits, features = self._see(x)
            seen.extend((logits.detach(), None if features is None else features.detach()))
            first = self._shares(seen[0]).mean(0).argmax()
            # Against the other labels: what speaks for all of them alike is no reason for this one. Log-odds, since the
            # probability itself has no gradient left once it has come to 1.
            rest = torch.arange(logits.shape[1], device=logits.device) != first.to(logits.device)
            return logits[:, first] - logits[:, rest].logsumexp(1)

        # Until the hooks are gone again, which take the features of whatever passes through.
        with self._lock:
            maps = attribution(score, stages(self.network), self._normalised(views))
        answer = self._answer(picture, *seen, None)
        return Explanation(
            answer, picture, over_photo(maps, squares(*picture.size, len(views), self.close), picture.size)
        )

    @torch.inference_mode()
    def probabilities(self, pictures: Tensor) -> Tensor:
        """uint8 (n, channels, size, size) -> probabilities (n, classes), float32 on the CPU, rows summing to 1."""
        return self._shares(self._see(self._normalised(pictures))[0])

    def _views(self, picture: Image.Image) -> Tensor:
        return to_input(picture, self.input["size"], self.input["channels"], self.input.get("views", 1), self.close)

    def _open(self, photo: Source) -> Image.Image:
        # Never read at less than what the narrowest view needs.
        return open_picture(photo, side=math.ceil(self.input["size"] / self.close))

    def _normalised(self, pictures: Tensor) -> Tensor:
        x = normalised(pictures.to(self.device), self.input["mean"], self.input["std"])
        return x.contiguous(memory_format=torch.channels_last)

    def _see(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits, and the pooled features where there is a rejection to ask."""
        # In float32, as they were measured; what the covariances need is not to be had in less.
        with self._lock:
            features = self.network.embed(x) if self.rejection else None
            logits = self.network(x) if features is None else self.network.head(features)
        return logits.float(), features

    def _shares(self, logits: Tensor) -> Tensor:
        return (logits / self.temperature).softmax(1).cpu()

    def _answer(self, picture: Image.Image, logits: Tensor, features: Tensor | None, top: int | None) -> Answer:
        probabilities = self._shares(logits).mean(0)
        batik = None
        if self.input["channels"] == 3 and contrast(picture) < LEAST_CONTRAST:
            batik = False
        elif features is not None:
            batik = bool(self.rejection.scores(features.float().cpu()).mean() >= self.rejection.threshold)
        order = probabilities.argsort(descending=True, stable=True)
        sure = batik is not False and probabilities[order[0]].item() >= self.unsure_below
        ranked = tuple((self.classes[i], probabilities[i].item()) for i in order[:top].tolist())
        return Answer(ranked, sure, batik)


def _number(name: str, config: dict[str, Any], key: str, default: float) -> float:
    """A number of a config. Raises CheckpointError for anything else."""
    value = config.get(key, default)
    if not is_number(value):
        raise CheckpointError("error.checkpoint.config", folder=name, detail=f"{key} is no number")
    return float(value)


def input_of(name: str, config: dict[str, Any]) -> dict[str, Any]:
    """What a network is to be shown, ``input`` of its config: see :class:`Classifier`.

    Raises:
        CheckpointError: for anything that no picture can be brought to.
    """
    asked = config.get("input")
    asked = asked if isinstance(asked, dict) else {}
    size, channels, views, close = (asked.get(key, 1) for key in ("size", "channels", "views", "close"))
    scales = [asked.get(key) for key in ("mean", "std")]
    fits = (
        all(type(number) is int for number in (size, channels, views))
        and (8 <= size <= LARGEST_INPUT and channels in (1, 3) and 1 <= views <= MOST_VIEWS)
        and (is_number(close) and 0 < close <= 1)
        and all(isinstance(scale, list) and len(scale) == channels for scale in scales)
        and all(is_number(number) for scale in scales for number in scale)
        and all(scales[1])
    )
    if not fits:
        raise CheckpointError("error.checkpoint.config", folder=name, detail="its input is none for pictures")
    return asked


def batik_score(
    features: Tensor, columns: Tensor, mean: Tensor, scale: Tensor, centre: Tensor, basis: Tensor
) -> Tensor:
    """How well what batik varies in explains each picture's pooled features: 0 wholly, ever lower the less it does.

    The squared length of what the principal components of batik's features leave over. A picture of several views has
    the mean of their scores.

    Args:
        features: (..., width), a network's ``embed``.
        columns: (d,), which of these are looked at; they are standardised and brought to length 1 first.
        mean, scale: (d,), batik's mean and deviation of each feature.
        centre: (d,), batik's mean after that.
        basis: (d, k), the principal components, orthonormal columns.

    Returns:
        (...): never above 0.
    """
    moved = torch.nn.functional.normalize((features[..., columns] - mean) / scale, dim=-1) - centre
    return (moved @ basis).square().sum(-1) - moved.square().sum(-1)


def contrast(picture: Image.Image) -> float:
    """How much a picture varies from place to place, in grey levels: shadows and noise do not count, patterns do."""
    scale = 64 / min(picture.size)
    small = tuple(min(1024, max(1, round(side * scale))) for side in picture.size)
    grey = picture.convert("L").resize(small, Image.Resampling.BOX)
    blurred = grey.filter(ImageFilter.BoxBlur(4))
    return float((np.asarray(grey, np.float32) - np.asarray(blurred, np.float32)).std())


def squares(width: int, height: int, views: int, close: float = 1.0) -> list[tuple[int, int, int, int]]:
    """Squares of a picture, as left, top, right, bottom.

    As wide as the short side: one in the centre, or several evenly spread along the long side. Narrower (``close``
    below 1, a share of the short side): the centre first, then the corners; beyond these five, such wide ones.
    """
    side = round(min(width, height) * close)
    if close < 1:
        places = [(0.5, 0.5), (0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)][:views]
        if views > len(places):
            return squares(width, height, len(places), close) + squares(width, height, views - len(places))
    else:
        places = [(view / (views - 1) if views > 1 else 0.5,) * 2 for view in range(views)]
    boxes = []
    for right, down in places:
        left, top = round((width - side) * right), round((height - side) * down)
        boxes.append((left, top, left + side, top + side))
    return boxes


def to_input(picture: Image.Image, size: int, channels: int, views: int = 1, close: float = 1.0) -> Tensor:
    """An RGB picture as a network sees it: squares of it, uint8 (views, channels, size, size).

    Where they lie, :func:`squares` says. A square keeps a motif's proportions, and the average over several sees all
    of the cloth: in cross-validation both told batik motifs apart better than squeezing the whole picture into one.
    """
    picture = picture.convert("L" if channels == 1 else "RGB")
    boxes = squares(*picture.size, views, close)
    cut = [np.array(picture.resize((size, size), Image.Resampling.BICUBIC, box=box)) for box in boxes]
    return torch.from_numpy(np.stack(cut)).reshape(views, size, size, channels).permute(0, 3, 1, 2)


def normalised(pictures: Tensor, mean: list[float], std: list[float]) -> Tensor:
    """uint8 pictures (n, c, h, w) as floats: scaled to [0, 1], less each channel's mean, over its deviation."""
    shape = (1, -1, 1, 1)
    centre, spread = (torch.tensor(list(v), device=pictures.device).view(shape) for v in (mean, std))
    return (pictures.float() / 255 - centre) / spread
