"""Splitting pictures for cross-validation, near-duplicates kept together."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from training.data.pictures import mix


def stratified_folds(labels: Sequence[int], groups: Sequence[int], folds: int, seed: int = 0) -> list[int]:
    """The fold, 0 to ``folds − 1``, in which each picture is tested.

    No group is divided, and every class is spread as evenly over the folds as the groups allow: the groups, largest
    first and shuffled among equals, each go to the fold where that leaves the class counts most even.

    Raises:
        ValueError: for fewer groups than folds.
    """
    members: dict[int, list[int]] = {}
    for i, group in enumerate(groups):
        members.setdefault(group, []).append(i)
    if len(members) < folds:
        raise ValueError(f"{len(members)} groups cannot be split into {folds} folds.")
    classes = max(labels) + 1
    wanted = torch.bincount(torch.tensor(labels), minlength=classes).clamp_min(1) / folds
    generator = torch.Generator().manual_seed(mix(seed, 6))
    shuffled = [list(members.values())[i] for i in torch.randperm(len(members), generator=generator)]
    filled = torch.zeros(folds, classes)
    assigned = [0] * len(labels)
    for group in sorted(shuffled, key=len, reverse=True):
        counts = torch.bincount(torch.tensor([labels[i] for i in group]), minlength=classes)
        fold = int(torch.stack([unevenness(filled, counts, one, wanted) for one in range(folds)]).argmin())
        filled[fold] += counts
        for i in group:
            assigned[i] = fold
    return assigned


def unevenness(filled: Tensor, counts: Tensor, fold: int, wanted: Tensor) -> Tensor:
    """How far the folds' class counts would lie from ``wanted`` with ``counts`` added to one fold; shares squared.

    The total number of pictures breaks ties, so that small classes do not pile up in the first fold.
    """
    after = filled[fold] + counts
    change = ((after / wanted - 1) ** 2 - (filled[fold] / wanted - 1) ** 2).sum()
    return change + 1e-3 * after.sum() / wanted.sum()
