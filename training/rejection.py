"""Telling batik from other pictures: learnt from batik alone, measured against sources it has never seen."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from gan.classify import batik_score
from training.data.pictures import PictureSet, centre_square
from training.scores import auroc

COMPONENTS = 32
# Pictures of each source are compared with batik shrunk to the same side, so that blur alone cannot give them away.
SOURCES = {"bukan-batik": None, "cifar10:test": 32, "anime-faces": 64}
AT_MOST = 100
# The share of batik that may be turned away.
LOST = 0.02


def fit(features: Tensor, components: int = COMPONENTS) -> dict[str, Tensor]:
    """Everything :func:`gan.classify.batik_score` needs, from batik's features (n, views, d)."""
    rows = features.flatten(0, 1).float()
    mean, scale = rows.mean(0), rows.std(0) + 1e-3
    rows = torch.nn.functional.normalize((rows - mean) / scale, dim=1)
    centre = rows.mean(0)
    # Its only randomness: which of many equally good subspaces the search starts from.
    torch.manual_seed(0)
    basis = torch.pca_lowrank(rows - centre, q=min(components, *rows.shape), center=False, niter=4)[2]
    return {"mean": mean, "scale": scale, "centre": centre, "basis": basis.contiguous()}


def scores(features: Tensor, fitted: dict[str, Tensor]) -> Tensor:
    """(n, views, d) -> (n,), the mean over a picture's views."""
    return batik_score(features.flatten(0, 1).float(), **fitted).unflatten(0, features.shape[:2]).mean(1)


def with_threshold(features: Tensor, groups: list[int], components: int = COMPONENTS) -> dict[str, Tensor]:
    """:func:`fit` on all pictures and the score below which the lowest 2 % of them lie when left out of it.

    Args:
        groups: near-duplicates, which are left out together.
    """
    part = torch.tensor(groups) % 5
    left_out = torch.cat(
        [scores(features[part == i], fit(features[part != i], components)) for i in range(5) if (part == i).any()]
    )
    return {**fit(features, components), "threshold": torch.quantile(left_out, LOST)[None]}


def spread(count: int) -> list[int]:
    """At most a hundred evenly spaced positions of ``count``."""
    return torch.linspace(0, count - 1, min(AT_MOST, count)).long().tolist()


def shrunk(data: PictureSet, side: int | None) -> PictureSet:
    """At most a hundred evenly spaced pictures; their centre squares at ``side`` pixels, where that is given."""
    chosen = spread(len(data))
    pictures = [data.pictures[i] for i in chosen]
    if side is not None:
        pictures = [centre_square(picture, side) for picture in pictures]
    labels = None if data.labels is None else data.labels[chosen]
    return replace(data, pictures=pictures, labels=labels, names=[data.names[i] for i in chosen] if data.names else [])


def separation(inside: Tensor, outside: Tensor, fitted: dict[str, Tensor]) -> float:
    """AUROC between batik's and other pictures' features, (n, views, d) each."""
    return auroc(scores(inside, fitted), scores(outside, fitted))
