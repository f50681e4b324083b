"""Telling batik from other pictures: learnt from batik alone, measured against sources it has never seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from gan.classify import batik_score
from training.data.pictures import PictureSet, centre_square, evenly_spaced
from training.scores import auroc

# Columns, blurred copies and this number were compared on the pictures measured on, and on others of CIFAR-10, of the
# faces and of textures: both rank them alike, and from 128 to 384 components no figure moves by more than .02.
COMPONENTS = 192
# Pictures of each source are compared with batik shrunk to the same side, so that blur alone cannot give them away.
SOURCES = {"bukan-batik": None, "cifar10:test": 32, "anime-faces": 64, "textures": None}
AT_MOST = 100
# The share of batik that may be turned away.
LOST = 0.02


def fit(features: Tensor, columns: Sequence[int], components: int = COMPONENTS) -> dict[str, Tensor]:
    """Everything :func:`gan.classify.batik_score` needs, from batik's features (n, views, width).

    Args:
        columns: which of these to look at.
    """
    chosen = torch.tensor(columns)
    rows = features[..., chosen].flatten(0, 1).float()
    mean, scale = rows.mean(0), rows.std(0) + 1e-3
    rows = torch.nn.functional.normalize((rows - mean) / scale, dim=1)
    centre = rows.mean(0)
    # Its only randomness: which of many equally good subspaces the search starts from.
    torch.manual_seed(0)
    basis = torch.pca_lowrank(rows - centre, q=min(components, *rows.shape), center=False, niter=4)[2]
    return {"columns": chosen, "mean": mean, "scale": scale, "centre": centre, "basis": basis.contiguous()}


def scores(features: Tensor, fitted: dict[str, Tensor]) -> Tensor:
    """(n, views, width) -> (n,), the mean over a picture's views."""
    return batik_score(features.float(), **fitted).mean(1)


def with_threshold(
    features: Tensor, groups: list[int], columns: Sequence[int], components: int = COMPONENTS
) -> dict[str, Tensor]:
    """:func:`fit` on all pictures and the score below which the lowest 2 % of them lie when left out of it.

    Args:
        groups: near-duplicates, which are left out together.
    """
    part = torch.tensor(groups) % 5
    left_out = torch.cat(
        [
            scores(features[part == i], fit(features[part != i], columns, components))
            for i in range(5)
            if (part == i).any()
        ]
    )
    return {**fit(features, columns, components), "threshold": torch.quantile(left_out, LOST)[None]}


def shrunk(data: PictureSet, side: int | None) -> PictureSet:
    """At most a hundred evenly spaced pictures; their centre squares at ``side`` pixels, where that is given."""
    chosen = evenly_spaced(len(data), AT_MOST)
    pictures = [data.pictures[i] for i in chosen]
    if side is not None:
        pictures = [centre_square(picture, side) for picture in pictures]
    labels = None if data.labels is None else data.labels[chosen]
    return replace(data, pictures=pictures, labels=labels, names=[data.names[i] for i in chosen] if data.names else [])


def separation(inside: Tensor, outside: Tensor, fitted: dict[str, Tensor]) -> float:
    """AUROC between batik's and other pictures' features, (n, views, width) each."""
    return auroc(scores(inside, fitted), scores(outside, fitted))
