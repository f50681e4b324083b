"""Random affine augmentation as the reports' ``ImageDataGenerator`` does it: rotation, shifts, shear, zoom, flip."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from training.recipes import ClassifierRecipe


def draw_matrix(recipe: ClassifierRecipe, generator: torch.Generator) -> Tensor:
    """One random affine map from output to input coordinates in [-1, 1], (2, 3), within the recipe's limits."""
    angle, right, down, shear, zoom_x, zoom_y, mirror = torch.rand(7, generator=generator).mul(2).sub(1).tolist()
    turn, slant = math.radians(recipe.rotation * angle), math.radians(recipe.shear * shear)
    rotation = torch.tensor([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    shearing = torch.tensor([[math.cos(slant), 0.0], [-math.sin(slant), 1.0]])
    scale = torch.diag(torch.tensor([1 + recipe.zoom * zoom_x, 1 + recipe.zoom * zoom_y]))
    # Coordinates span two units a side.
    move = 2 * recipe.shift * torch.tensor([right, down])
    linear = rotation @ shearing @ scale
    if recipe.flip and mirror < 0:
        linear = linear @ torch.diag(torch.tensor([-1.0, 1.0]))
    return torch.cat([linear, (rotation @ move)[:, None]], dim=1)


def augmented(pictures: Tensor, recipe: ClassifierRecipe, seeds: Sequence[int]) -> Tensor:
    """uint8 (n, c, h, w) -> uint8 of the same shape, each picture moved by what its own seed draws.

    What comes in from outside repeats the nearest edge.
    """
    draws = [draw_matrix(recipe, torch.Generator().manual_seed(seed)) for seed in seeds]
    grid = F.affine_grid(torch.stack(draws).to(pictures.device), list(pictures.shape), align_corners=False)
    moved = F.grid_sample(pictures.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)
    return moved.round().to(torch.uint8)
