"""Pictures from a generator: seeds, truncation, neighbours, walks."""

from __future__ import annotations

import math
import numbers
import operator
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from gan.device import best_device, inference_context
from gan.errors import RequestError

MAX_COUNT = 64
MAX_SEED = 2**31 - 1
MAX_TRUNCATION = 1.5
# Small batches keep the features of 256² pictures within a CPU's cache: sixteen pictures take a quarter less time in
# batches of four than in batches of eight.
MICRO_BATCH = 4


def around(latent: Tensor, count: int, step: float, seed: int) -> Tensor:
    """(d,) -> (count, d): the latent itself, and others a step away from it in directions drawn from ``seed``."""
    directions = torch.randn(count, latent.numel(), generator=torch.Generator().manual_seed(seed))
    latents = math.sqrt(1 - step**2) * latent + step * directions
    latents[0] = latent
    return latents


class Generator:
    """A trained generator network, ready to sample.

    Args:
        name: of the checkpoint.
        config: the contents of its ``config.json``.
        network: in evaluation mode.
    """

    def __init__(self, name: str, config: dict[str, Any], network: nn.Module) -> None:
        self.name, self.config = name, config
        self.resolution: int = network.resolution
        self.classes: int = network.classes
        self.latent_size: int = network.latent_size
        self.device = best_device()
        self.parameters = sum(p.numel() for p in network.parameters())
        if hasattr(network, "fold"):
            network.fold()
        self.network = network.to(self.device, memory_format=torch.channels_last)
        # One picture at a time moves through the network; requests beside each other would only slow each other down.
        self._lock = threading.Lock()

    def sample(
        self, count: int | None = None, seed: int = 0, truncation: float = 1.0, labels: Sequence[int] | None = None
    ) -> list[Image.Image]:
        """Pictures from the seeds ``seed``, ``seed + 1``, …, each drawn from its own seed alone.

        Args:
            count: 1 to 64; as many as there are labels when absent, else 1.
            seed: 0 to 2³¹ − 1.
            truncation: scale of the latent, 0 (the average picture) to 1.5; 1 is what was trained.
            labels: a class number for each picture; for models with classes the seed's remainder when absent.

        Raises:
            RequestError: for an argument out of range.
        """
        count, seed, truncation, labels = self._checked(count, seed, truncation, labels)
        seeds = [(seed + i) % (MAX_SEED + 1) for i in range(count)]
        return to_images(torch.cat(list(self.stream(seeds, truncation, labels))))

    def stream(
        self, seeds: Sequence[int], truncation: float = 1.0, labels: Sequence[int] | None = None
    ) -> Iterator[Tensor]:
        """uint8 pictures (n, channels, resolution, resolution), one a seed and a few at a time, on the CPU. Arguments
        are not checked."""
        if labels is None and self.classes:
            labels = [seed % self.classes for seed in seeds]
        for first in range(0, len(seeds), MICRO_BATCH):
            part = seeds[first : first + MICRO_BATCH]
            draws = [self._draw(seed) for seed in part]
            latents = torch.stack([latent for latent, _ in draws]) * truncation
            noise = [torch.stack(maps) for maps in zip(*(maps for _, maps in draws), strict=True)]
            chosen = labels[first : first + MICRO_BATCH] if labels is not None and self.classes else None
            yield self._pictures(latents, noise, chosen)

    def neighbours(
        self,
        seed: int,
        count: int = 8,
        step: float = 0.25,
        truncation: float = 1.0,
        labels: Sequence[int] | None = None,
        path: Sequence[int] = (),
    ) -> list[Image.Image]:
        """The picture of ``seed`` first, then ``count − 1`` others a small random step away from it.

        ``step`` runs from 0 (the same picture) to 1 (unrelated ones); the latent keeps its length on average. ``path``
        goes on from a neighbour, and again from one of its own: which of the ``count`` was followed, turn by turn.

        Raises:
            RequestError: for an argument out of range.
        """
        count, seed, truncation, labels = self._checked(count, seed, truncation, labels)
        step = real_number(step, 1, "error.request.step")
        path = whole_numbers(path, count - 1, "error.request.path")
        latent, maps = self._draw(seed)
        latents = around(latent, count, step, seed ^ 0x5EED)
        for turn, followed in enumerate(path, start=1):
            latents = around(latents[followed], count, step, seed ^ 0x5EED ^ turn << 32)
        if labels is None and self.classes:
            labels = [seed % self.classes] * count
        return self._from_latents(latents * truncation, maps, labels)

    def walk(self, seed_a: int, seed_b: int, frames: int = 24, truncation: float = 1.0) -> list[Image.Image]:
        """A closed loop of pictures from one seed to another and back, along the great circle between their latents.

        Raises:
            RequestError: for an argument out of range.
        """
        frames, seed_a, truncation, _ = self._checked(frames, seed_a, truncation)
        frames, seed_b, truncation, _ = self._checked(frames, seed_b, truncation)
        a, maps = self._draw(seed_a)
        b, _ = self._draw(seed_b)
        # Half a cosine each way: slow at the two pictures, quicker between them.
        shares = [(1 - math.cos(2 * math.pi * i / frames)) / 2 for i in range(frames)]
        latents = torch.stack([slerp(a, b, share) for share in shares]) * truncation
        # Between two classes there is nothing: the walk stays in its beginning's.
        labels = [seed_a % self.classes] * frames if self.classes else None
        return self._from_latents(latents, maps, labels)

    def _from_latents(self, latents: Tensor, maps: list[Tensor], labels: Sequence[int] | None) -> list[Image.Image]:
        """Pictures of latents that share one set of noise maps."""
        pictures = []
        for first in range(0, len(latents), MICRO_BATCH):
            part = latents[first : first + MICRO_BATCH]
            noise = [one.expand(len(part), *one.shape) for one in maps]
            chosen = None
            if self.classes:
                chosen = list(labels[first : first + MICRO_BATCH])
            pictures.append(self._pictures(part, noise, chosen))
        return to_images(torch.cat(pictures))

    def _draw(self, seed: int) -> tuple[Tensor, list[Tensor]]:
        """The latent of one seed, (latent_size,), and its noise maps, (1, side, side) each."""
        source = torch.Generator().manual_seed(seed)
        latent = torch.randn(self.latent_size, generator=source)
        sides = self.network.noise_sizes() if hasattr(self.network, "noise_sizes") else []
        return latent, [torch.randn(1, side, side, generator=source) for side in sides]

    @torch.inference_mode()
    def _pictures(self, latents: Tensor, noise: list[Tensor], labels: Sequence[int] | None) -> Tensor:
        count = len(latents)
        if self.device.type == "cuda" and count < MICRO_BATCH:
            # Half precision rounds otherwise at other batch sizes: one size keeps a seed's picture the same.
            latents = torch.cat([latents, latents.new_zeros(MICRO_BATCH - count, self.latent_size)])
            noise = [torch.cat([n, n.new_zeros(MICRO_BATCH - count, *n.shape[1:])]) for n in noise]
            labels = None if labels is None else [*labels, *[0] * (MICRO_BATCH - count)]
        classes = None if labels is None else torch.tensor(list(labels), device=self.device)
        extra = {"noise": [n.to(self.device) for n in noise]} if noise else {}
        with self._lock, inference_context(self.device):
            pictures = self.network(latents.to(self.device), classes, **extra)[:count].float()
        low, high = self.network.value_range
        return ((pictures - low) / (high - low) * 255).round().clamp(0, 255).to(torch.uint8).cpu()

    def _checked(
        self, count: int | None, seed: int, truncation: float, labels: Sequence[int] | None = None
    ) -> tuple[int, int, float, list[int] | None]:
        if labels is not None:
            if not self.classes:
                raise RequestError("error.request.no_labels", model=self.name)
            labels = whole_numbers(labels, self.classes - 1, "error.request.label")
        if count is None:
            count = 1 if labels is None else len(labels)
        count = whole_number(count, 1, MAX_COUNT, "error.request.count")
        seed = whole_number(seed, 0, MAX_SEED, "error.request.seed")
        truncation = real_number(truncation, MAX_TRUNCATION, "error.request.truncation")
        if labels is not None and len(labels) != count:
            raise RequestError("error.request.label", most=self.classes - 1)
        return count, seed, truncation, labels


def whole_number(value: object, least: int, most: int, key: str) -> int:
    """``value``, NumPy's and PyTorch's whole numbers too, as an int. Raises RequestError with ``key`` for anything
    else, truth values included, and out of range."""
    try:
        number = operator.index(value)
    except (TypeError, ValueError, RuntimeError):
        number = least - 1
    if isinstance(value, bool) or not least <= number <= most:
        raise RequestError(key, most=most)
    return number


def whole_numbers(values: object, most: int, key: str) -> list[int]:
    """Each of ``values`` as :func:`whole_number` from 0 on."""
    try:
        found = list(values)
    except TypeError as error:
        raise RequestError(key, most=most) from error
    return [whole_number(one, 0, most, key) for one in found]


def real_number(value: object, most: float, key: str) -> float:
    """``value``, NumPy's numbers too, as a float from 0 to ``most``. Raises RequestError with ``key`` otherwise."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 <= value <= most:
        raise RequestError(key, most=most)
    return float(value)


def slerp(a: Tensor, b: Tensor, share: float) -> Tensor:
    """Spherical interpolation (Shoemake 1985) from ``a`` (share 0) to ``b`` (share 1)."""
    angle = torch.arccos((a @ b / (a.norm() * b.norm())).clamp(-1, 1))
    if angle < 1e-4:
        return torch.lerp(a, b, share)
    return (torch.sin((1 - share) * angle) * a + torch.sin(share * angle) * b) / torch.sin(angle)


def to_images(pictures: Tensor) -> list[Image.Image]:
    """uint8 (n, 1 or 3, h, w) to PIL pictures, greyscale or RGB."""
    arrays = pictures.permute(0, 2, 3, 1).numpy()
    return [Image.fromarray(one[:, :, 0] if one.shape[2] == 1 else one) for one in arrays]
