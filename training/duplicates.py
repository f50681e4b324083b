"""Which pictures show the same thing: groups that must never be split between training and test.

Copies travel: batik pictures on the web are resized, recompressed, recoloured, mirrored, turned and cut to a square,
and the same cloth then lies in two folders under two names. Every picture gets 256-bit perceptual hashes (pHash: the
low frequencies of its grey version against their median; ``imagehash``) of

- the whole and of its centre square, in all eight orientations;
- seven cuts of it (edges trimmed, a watermark strip gone, a square from either end), upright.

Two pictures belong together when their files are equal, when whole or centre square lie within 64 bits of the other's
in some orientation, or a cut lies within 48.

How the limits were chosen, on the 1,977 different files of the two batik folders, 1.95 million pairs, by looking at
samples of the pairs: unrelated ones differ by 115 ± 5 bits in their best orientation. The whole alone finds 181
pairs. Of those seen up to 44 every one is the same cloth; from 46 to 64 nearly all are (another take of the same shop
photo, a recoloured print; a few are equal lattices); from 68 on most merely repeat a lattice or a mannequin. The
centre square adds 107 pairs, 87 of them within 50: one collection is a square cut of another. The cuts add 54, of
which about six are only equal lattices of kawung; at 64 they would add 138, and such lattices prevail, hence their
stricter limit. Erring towards one group too large costs a little training data; one group too small lets a test
picture leak into training.

Hashes do not find a cloth cut or photographed anew. Given features of a frozen network as well, pictures whose features
have a cosine of at least 0.92 belong together too. With MobileNetV2's pooled features (the whole picture squeezed to
224×224) that adds 158 pairs, 19 of them within the motif set: shifted cuts, other prints of one cloth, one
shop's shots of one garment. The largest group then has 21 pictures; at 0.90 chains set in (84), at 0.88 136.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import imagehash
import numpy as np
from PIL import Image
from torch import Tensor

from gan.errors import PictureError
from gan.pictures import open_picture

HASH_SIDE = 16
SIDE = 4 * HASH_SIDE  # what pHash itself reduces to: doing it once serves all orientations
WHOLE_LIMIT = 64
CUT_LIMIT = 48
LEAST_COSINE = 0.92
BLOCK = 512

ORIENTATIONS = (None, *Image.Transpose)


def duplicate_groups(
    pictures: Sequence[Path | str | Tensor | Image.Image], features: np.ndarray | Tensor | None = None
) -> list[int]:
    """A group number for each picture: equal numbers for near-duplicates, also through a chain of them.

    Args:
        pictures: files, uint8 tensors (channels, h, w) or Pillow's pictures. Files that are no pictures are compared
            byte by byte alone.
        features: (n, d), what a frozen network sees in each, to find more of them.

    Returns:
        Numbers from 0 in the order in which the groups first appear. About 15 ms a picture.

    Raises:
        PictureError: a file does not exist.
    """
    first: dict[bytes, int] = {}
    twin = [first.setdefault(_digest(picture), index) for index, picture in enumerate(pictures)]
    parent = list(range(len(twin)))
    readable, uprights, cuts, turned = [], [], [], []
    for index in first.values():
        try:
            grey = _grey(pictures[index])
        except PictureError:
            continue
        bases = [_small(grey, None), _small(grey, _centre(grey.size))]
        readable.append(index)
        uprights.append([_hash(base) for base in bases])
        cuts.append([_hash(_small(grey, box)) for box in _cuts(grey.size)])
        turned.append(
            [_hash(base if turn is None else base.transpose(turn)) for turn in ORIENTATIONS for base in bases]
        )
    if readable:
        for views, limit in ((uprights, WHOLE_LIMIT), (cuts, CUT_LIMIT)):
            for left, right in _within(np.stack(views), np.stack(turned), limit):
                _join(parent, readable[left], readable[right])
    if features is not None:
        for one, other in _alike(np.asarray(features, np.float32)):
            _join(parent, one, other)
    for index, other in enumerate(twin):
        _join(parent, index, other)
    numbers: dict[int, int] = {}
    return [numbers.setdefault(_root(parent, index), len(numbers)) for index in range(len(twin))]


def _digest(picture: Path | str | Tensor | Image.Image) -> bytes:
    if isinstance(picture, Tensor):
        data = repr(tuple(picture.shape)).encode() + picture.contiguous().numpy().tobytes()
    elif isinstance(picture, Image.Image):
        data = repr((picture.mode, picture.size)).encode() + picture.tobytes()
    else:
        try:
            data = Path(picture).read_bytes()
        except OSError as error:
            raise PictureError("error.picture.missing", path=picture) from error
    return hashlib.sha256(data).digest()


def _grey(picture: Path | str | Tensor | Image.Image) -> Image.Image:
    if isinstance(picture, Tensor):
        array = picture.permute(1, 2, 0).numpy()
        picture = Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array)
    return (picture if isinstance(picture, Image.Image) else open_picture(picture, side=2 * SIDE)).convert("L")


def _small(grey: Image.Image, box: tuple[float, float, float, float] | None) -> Image.Image:
    return grey.resize((SIDE, SIDE), Image.Resampling.LANCZOS, box=box)


def _hash(small: Image.Image) -> np.ndarray:
    """Its pHash as 256 numbers, 1 and -1: the distance of two is then half of 256 less their product."""
    return imagehash.phash(small, hash_size=HASH_SIDE).hash.ravel().astype(np.float32) * 2 - 1


def _centre(size: tuple[int, int]) -> tuple[float, float, float, float]:
    (width, height), side = size, min(size)
    return (width - side) / 2, (height - side) / 2, (width + side) / 2, (height + side) / 2


def _cuts(size: tuple[int, int]) -> list[tuple[float, float, float, float]]:
    (width, height), side = size, min(size)
    shares = ((0.05, 0.05, 0.95, 0.95), (0.1, 0.1, 0.9, 0.9), (0, 0, 1, 0.9), (0, 0, 1, 0.8), (0, 0.1, 1, 0.9))
    trimmed = [(width * left, height * top, width * right, height * bottom) for left, top, right, bottom in shares]
    return [*trimmed, (0, 0, side, side), (width - side, height - side, width, height)]


def _within(views: np.ndarray, turned: np.ndarray, limit: int) -> list[tuple[int, int]]:
    """Pairs of which some view (n, v, bits) of one lies within ``limit`` bits of some turned view of the other."""
    least = turned.shape[-1] - 2 * limit
    pairs = []
    for start in range(0, len(views), BLOCK):
        block = views[start : start + BLOCK]
        best = np.full((len(block), len(turned)), -np.inf, np.float32)
        for view in range(block.shape[1]):
            for turn in range(turned.shape[1]):
                np.maximum(best, block[:, view] @ turned[:, turn].T, out=best)
        pairs += [
            (start + int(left), int(right)) for left, right in np.argwhere(best >= least) if start + left != right
        ]
    return pairs


def _alike(features: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of rows that point nearly the same way."""
    unit = features / np.linalg.norm(features, axis=1, keepdims=True).clip(1e-12)
    pairs = []
    for start in range(0, len(unit), BLOCK):
        close = np.argwhere(unit[start : start + BLOCK] @ unit.T >= LEAST_COSINE)
        pairs += [(start + int(one), int(other)) for one, other in close if start + one < other]
    return pairs


def _root(parent: list[int], index: int) -> int:
    while parent[index] != index:
        parent[index] = parent[parent[index]]
        index = parent[index]
    return index


def _join(parent: list[int], one: int, other: int) -> None:
    one, other = sorted((_root(parent, one), _root(parent, other)))
    parent[other] = one
