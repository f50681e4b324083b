"""What a classifier's predictions are worth. Every function takes labels (n,) and probabilities (n, classes)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

BINS = 15


def accuracy(labels: Tensor, probabilities: Tensor) -> float:
    """Share of pictures whose most probable class is the true one."""
    return (probabilities.argmax(1) == labels).double().mean().item()


def wilson(share: float, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share seen in ``count`` independent trials."""
    z = 1.959964
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return max(0.0, centre - half), min(1.0, centre + half)


def top_k(labels: Tensor, probabilities: Tensor, k: int) -> float:
    """Share of pictures whose true class is among the ``k`` most probable."""
    best = probabilities.topk(min(k, probabilities.shape[1]), dim=1).indices
    return (best == labels[:, None]).any(1).double().mean().item()


def confusion(labels: Tensor, probabilities: Tensor) -> Tensor:
    """Counts (classes, classes): true class by row, predicted class by column."""
    classes = probabilities.shape[1]
    return torch.bincount(labels * classes + probabilities.argmax(1), minlength=classes**2).view(classes, classes)


def per_class(labels: Tensor, probabilities: Tensor) -> Tensor:
    """Precision, recall and F1 of each class, (classes, 3); 0 where a class was never predicted or never there."""
    table = confusion(labels, probabilities).double()
    right = table.diagonal()
    precision = right / table.sum(0).clamp_min(1)
    recall = right / table.sum(1).clamp_min(1)
    f1 = 2 * precision * recall / (precision + recall).clamp_min(1e-12)
    return torch.stack([precision, recall, f1], dim=1)


def expected_calibration_error(labels: Tensor, probabilities: Tensor) -> float:
    """Mean gap between the best probability and the share that is right, over 15 bins (Guo et al. 2017, equation 3)."""
    best, predicted = probabilities.double().max(1)
    right = (predicted == labels).double()
    bins = (best * BINS).ceil().long().clamp(1, BINS) - 1
    gaps = torch.zeros(BINS, dtype=torch.double).index_add_(0, bins, right - best)
    return gaps.abs().sum().item() / len(labels)


def fit_temperature(labels: Tensor, logits: Tensor) -> float:
    """The temperature (Guo et al. 2017), 0.2 to 5, at which the views' mean probabilities have the least Brier score.

    Cross-entropy, which Guo et al. take, rises without limit for an answer that is surely wrong, of which labels that
    overlap make some: for the sake of these few it would have all others doubt themselves.

    Args:
        logits: (n, views, classes).
    """
    tried = torch.logspace(math.log10(0.2), math.log10(5), 120).tolist()
    truth = torch.nn.functional.one_hot(labels, logits.shape[2])
    losses = [((logits / one).softmax(2).mean(1) - truth).square().sum(1).mean().item() for one in tried]
    return tried[losses.index(min(losses))]


def auroc(inside: Tensor, outside: Tensor) -> float:
    """Probability that a score drawn from ``inside`` exceeds one from ``outside``; ties count half."""
    difference = inside[:, None] - outside[None, :]
    return ((difference > 0).double() + 0.5 * (difference == 0).double()).mean().item()


def sure_figures(labels: Tensor, probabilities: Tensor, least: float) -> dict[str, float]:
    """How many first answers have a probability of ``least``, and how often these and the others are right."""
    best, predicted = probabilities.max(1)
    sure, right = best >= least, (predicted == labels).double()
    return {
        "sure": sure.double().mean().item(),
        "accuracy_sure": right[sure].mean().item() if sure.any() else 0.0,
        "accuracy_unsure": right[~sure].mean().item() if not sure.all() else 0.0,
    }


def classifier_figures(labels: Tensor, probabilities: Tensor) -> dict[str, float]:
    """The figures of ``metrics.json`` that predictions alone give."""
    share = accuracy(labels, probabilities)
    low, high = wilson(share, len(labels))
    return {
        "accuracy": share,
        "accuracy_low": low,
        "accuracy_high": high,
        "top3": top_k(labels, probabilities, 3),
        "macro_f1": per_class(labels, probabilities)[:, 2].mean().item(),
        "ece": expected_calibration_error(labels, probabilities),
        "images": len(labels),
    }
