"""How good a generator is, from Inception features: FID, KID, precision and recall, and how much it memorised.

The features and the first three figures are torch-fidelity's; features are computed once and shared by all of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch_fidelity.metric_fid import (
    KEY_METRIC_FID,
    fid_features_to_statistics,
    fid_statistics_to_metric,
)
from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric
from torch_fidelity.metric_prc import KEY_METRIC_PRECISION, KEY_METRIC_RECALL, prc_features_to_metric

from gan.files import atomic
from gan.settings import cache_folder
from training import weights
from training.data.pictures import PictureSet, centre_square

BATCH = 16  # 299² activations of more pictures than this no longer fit a CPU's caches
FEATURES = 2048
KID_SUBSETS = 100
NEIGHBOURS = 3
BINS = 12


@cache
def extractor() -> nn.Module:
    """Inception on the best device there is, loaded once."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    # Channels last: on a CPU not much more than half the time.
    return weights.inception().to(device, memory_format=torch.channels_last)


@torch.inference_mode()
def features(pictures: Iterable[Tensor]) -> Tensor:
    """2,048 Inception features a picture, float32 (n, 2048) on the CPU.

    Args:
        pictures: uint8 tensors (n, c, h, w) of any size; one channel is repeated to three.

    Raises:
        ValueError: for anything but uint8 with one or three channels.
    """
    net = extractor()
    device = next(net.parameters()).device
    found = []
    for chunk in pictures:
        if chunk.dtype != torch.uint8 or chunk.ndim != 4 or chunk.shape[1] not in (1, 3):
            raise ValueError(f"Pictures must be uint8 (n, 1 or 3, h, w), not {chunk.dtype} {tuple(chunk.shape)}.")
        for part in chunk.expand(-1, 3, -1, -1).split(BATCH):
            found.append(net(part.to(device))[0].cpu())
    return torch.cat(found) if found else torch.empty(0, FEATURES)


def reference_pictures(data: PictureSet, resolution: int) -> Tensor:
    """The real pictures as FID compares them, uint8 (n, c, resolution, resolution).

    Short side to the resolution (Lanczos), centre square.
    """
    return torch.stack([centre_square(picture, resolution) for picture in data.pictures])


def reference_features(source: PictureSet, resolution: int, flipped: bool = False) -> Tensor:
    """Features (n, 2048) of the whole set as :func:`reference_pictures` gives it, kept in the cache folder.

    A set is told from another by its description, its number of pictures and a sample of its pixels, so that changed
    data are not mistaken for the data of last time. ``flipped`` mirrors every picture left to right.
    """
    pixels = hashlib.sha256()
    for picture in source.pictures:
        pixels.update(picture[..., ::8, ::8].contiguous().numpy())
    described = f"{source.description}|{len(source)}|{resolution}|{flipped}|{pixels.hexdigest()}"
    name = hashlib.sha256(described.encode()).hexdigest()[:20]
    file = cache_folder() / "features" / f"{name}.safetensors"
    if file.exists():
        return load_file(file)["features"]
    pictures = reference_pictures(source, resolution)
    found = features([pictures.flip(-1) if flipped else pictures])
    with atomic(file) as path:
        save_file({"features": found}, path, metadata={"described": described})
    return found


def generator_figures(fake: Tensor, real: Tensor, learnt: list[Tensor] | None = None) -> dict[str, Any]:
    """FID, KID, precision, recall and the share memorised, from features (n, 2048) of generated and real pictures.

    Args:
        learnt: what :func:`closeness` looks for copies of, where these are not just ``real``.

    Raises:
        ValueError: for fewer than five pictures on a side.
    """
    generated, count = len(fake), len(real)
    smaller = min(generated, count)
    if smaller < NEIGHBOURS + 2:
        raise ValueError(f"{smaller} pictures are too few to measure a generator.")
    subset = min(1000, smaller // 2)
    kid = kid_features_to_metric(fake, real, kid_subsets=KID_SUBSETS, kid_subset_size=subset, verbose=False)
    prc = precision_recall(fake, real)
    return {
        "fid": fid(fake, real),
        "kid": kid[KEY_METRIC_KID_MEAN],
        "precision": prc[KEY_METRIC_PRECISION],
        "recall": prc[KEY_METRIC_RECALL],
        **closeness(fake, learnt or [real]),
        "generated": generated,
        "real": count,
    }


def precision_recall(fake: Tensor, real: Tensor) -> dict[str, float]:
    """torch-fidelity's precision and recall (Kynkäänniemi et al. 2019) with the third nearest neighbours' distance."""
    return prc_features_to_metric(fake, real, prc_neighborhood=NEIGHBOURS, save_cpu_ram=True, verbose=False)


def recall_by_class(fake: Tensor, fake_labels: Tensor, real: Tensor, real_labels: Tensor) -> list[float]:
    """Recall within each class, from features (n, 2048) and class numbers (n,) of generated and real pictures.

    A class with fewer than five pictures on a side counts as 0.
    """
    found = []
    for number in range(int(real_labels.max()) + 1):
        one, other = fake[fake_labels == number], real[real_labels == number]
        enough = min(len(one), len(other)) >= NEIGHBOURS + 2
        found.append(precision_recall(one, other)[KEY_METRIC_RECALL] if enough else 0.0)
    return found


def fid(fake: Tensor, real: Tensor) -> float:
    """Fréchet distance of the two sets' normal distributions (Heusel et al. 2017, equation 6).

    A set of fewer pictures than features has a covariance of low rank: the trace of the root is then the sum of the
    singular values of the sets' centred features multiplied by one another, the same figure in a hundredth of the time.
    """
    if min(len(fake), len(real)) >= fake.shape[1]:
        statistics = fid_features_to_statistics(fake), fid_features_to_statistics(real)
        return fid_statistics_to_metric(*statistics, verbose=False)[KEY_METRIC_FID]
    fake, real = fake.double(), real.double()
    a, b = ((x - x.mean(0)) / (len(x) - 1) ** 0.5 for x in (fake, real))
    shared = torch.linalg.svdvals(a @ b.T).sum()
    return ((fake.mean(0) - real.mean(0)).square().sum() + a.square().sum() + b.square().sum() - 2 * shared).item()


def closeness(fake: Tensor, learnt: list[Tensor]) -> dict[str, Any]:
    """How near generated pictures come to training pictures, and how near these are to each other.

    Args:
        learnt: features of the training pictures, then any of the same pictures changed, mirrored say, in the same
            order: these count as training pictures on both sides, a picture's own left out with it.

    Returns:
        ``memorised``: share of generated pictures that lie nearer to a training picture than the 1st percentile of
        the reals' leave-one-out nearest-neighbour distances. ``nearest``: a histogram of these distances, for
        each bin where it begins and ends and the shares of generated and of training pictures in it.
    """
    among = torch.stack([nearest(learnt[0], other, leave_out=True) for other in learnt]).amin(0).double()
    distance = torch.stack([nearest(fake, other) for other in learnt]).amin(0).double()
    edges = torch.linspace(0, torch.cat([among, distance]).max().item() + 1e-9, BINS + 1, dtype=torch.double)
    shares = [(torch.histogram(x, edges).hist / len(x)).tolist() for x in (distance, among)]
    return {
        "memorised": (distance < torch.quantile(among, 0.01)).double().mean().item(),
        "nearest": list(zip(edges[:-1].tolist(), edges[1:].tolist(), *shares, strict=True)),
    }


def nearest(features: Tensor, others: Tensor, leave_out: bool = False) -> Tensor:
    """Euclidean distance from each row to the nearest of ``others``, (n,); ``leave_out`` skips the same position."""
    found = []
    for start in range(0, len(features), 1024):
        # The direct formula: the product form loses the small distances that matter here.
        part = features[start : start + 1024]
        distances = torch.cdist(part, others, compute_mode="donot_use_mm_for_euclid_dist")
        if leave_out:
            rows = torch.arange(len(part))
            distances[rows, rows + start] = torch.inf
        found.append(distances.amin(1))
    return torch.cat(found)
