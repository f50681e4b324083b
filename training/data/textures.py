"""Drawn textures that are no batik: what a wall, a floor, a shirt or a test card shows. The same on every machine."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from training.data.pictures import PictureSet

COUNT = 100
SIDE = 256
GRAIN = 4.0


def textures(count: int = COUNT) -> PictureSet:
    """``count`` pictures, uint8 (count, 3, 256, 256), of each kind in turn, in two colours drawn at random each."""
    drawn = [texture(number) for number in range(count)]
    return PictureSet(torch.stack(drawn), description=f"drawn textures: {count} pictures")


def texture(number: int) -> torch.Tensor:
    """One picture, uint8 (3, 256, 256)."""
    random = np.random.default_rng(number)
    kind = KINDS[number % len(KINDS)]
    row, column = np.mgrid[:SIDE, :SIDE].astype(float)
    angle, period = random.uniform(0, np.pi), random.uniform(8, 48)
    along = (column * np.cos(angle) + row * np.sin(angle)) / period
    across = (row * np.cos(angle) - column * np.sin(angle)) / period
    share = kind(along, across, random)[..., None]
    first, second = random.integers(0, 256, (2, 3))
    pixels = first * (1 - share) + second * share + random.normal(0, GRAIN, (SIDE, SIDE, 3))
    return torch.from_numpy(pixels.clip(0, 255).astype(np.uint8)).permute(2, 0, 1).contiguous()


def clouds(random: np.random.Generator, steepness: float) -> np.ndarray:
    """Noise in [0, 1] whose amplitude falls with the frequency to the power of ``steepness``."""
    frequency = np.hypot(*np.meshgrid(*[np.fft.fftfreq(SIDE)] * 2))
    frequency[0, 0] = 1
    noise = np.fft.ifft2(np.fft.fft2(random.standard_normal((SIDE, SIDE))) / frequency**steepness).real
    return (noise - noise.min()) / np.ptp(noise)


def wave(x: np.ndarray) -> np.ndarray:
    """0 or 1, half a period each."""
    return (x % 1 < 0.5).astype(float)


def dots(along: np.ndarray, across: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return (np.hypot(along % 1 - 0.5, across % 1 - 0.5) < random.uniform(0.2, 0.4)).astype(float)


def bricks(along: np.ndarray, across: np.ndarray, random: np.random.Generator) -> np.ndarray:
    shifted = along + 0.5 * (np.floor(2 * across) % 2)
    return ((shifted % 1 < 0.08) | (2 * across % 1 < 0.16)).astype(float)


# Each takes two coordinates in periods and a source of randomness, and gives the second colour's share of each pixel.
KINDS: tuple[Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray], ...] = (
    lambda along, across, random: wave(along),  # stripes
    lambda along, across, random: np.abs(wave(along) - wave(across)),  # a chequerboard
    lambda along, across, random: 0.5 * (wave(along) + wave(across)),  # gingham
    dots,
    bricks,
    lambda along, across, random: 0.5 + 0.5 * np.sin(2 * np.pi * along + 20 * clouds(random, 2.0)),  # marble
    lambda along, across, random: clouds(random, 1.0),  # plaster
    lambda along, across, random: clouds(random, 1.8),  # sky
    lambda along, across, random: (clouds(random, 1.5) > 0.5).astype(float),  # peeling paint
    lambda along, across, random: random.random((SIDE, SIDE)),  # sand
)
