"""Getting the public data sets, where there is internet: each lands in ``CANTING_DATA`` as ``open_source`` reads it.

Kaggle's sets come through kagglehub, which keeps what it downloads in a cache of its own: the files are hard links to
that cache where the disk allows it, copies elsewhere.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gan import settings
from gan.errors import DataError
from gan.pictures import SUFFIXES

GAN_MOTIFS = ("parang", "kawung", "megamendung")


@dataclass(frozen=True)
class Origin:
    """Where a data set is published, and what puts it into an empty folder."""

    address: str
    place: Callable[[str, Path], None]


def fetch(name: str) -> Path:
    """Downloads one of ``ORIGINS`` and returns its folder; one that is there already is left alone.

    The folder appears when it is complete, never before: an interrupted download leaves nothing that could be taken
    for a data set.

    Raises:
        DataError: an unknown name; a download that failed; a download without the pictures that were expected.
    """
    if name not in ORIGINS:
        raise DataError("error.data.fetch_name", name=name, known=", ".join(ORIGINS))
    origin, target = ORIGINS[name], settings.data_folder() / name
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{name}-") as scratch:
        made = Path(scratch) / name
        made.mkdir()
        try:
            origin.place(origin.address, made)
        except DataError:
            raise
        except Exception as error:  # network, credentials, disk: each library has its own errors for them
            raise DataError("error.data.fetch", name=name, origin=origin.address, detail=error) from error
        if not any(made.iterdir()):
            raise DataError("error.data.empty", path=origin.address, skipped=0)
        made.rename(target)
    return target


def _kaggle(slug: str) -> Path:
    import kagglehub

    return Path(kagglehub.dataset_download(slug))


def _gan_motifs(slug: str, target: Path) -> None:
    """The three motifs of report 1, whatever the set calls their folders."""
    for folder, files in _picture_folders(_kaggle(slug)):
        motif = next((motif for motif in GAN_MOTIFS if motif in _plain(folder.name).replace("-", "")), None)
        if motif:
            _place(files, target / f"batik-{motif}")


def _class_folders(slug: str, target: Path) -> None:
    """Every folder that holds pictures is a class; folders of one name (a set's own train and test) become one."""
    for folder, files in _picture_folders(_kaggle(slug)):
        name = _plain(folder.name)
        _place(files, target / (name if name.startswith("batik-") else f"batik-{name}"))


def _flat(slug: str, target: Path) -> None:
    for _, files in _picture_folders(_kaggle(slug)):
        _place(files, target)


def _mnist(_: str, target: Path) -> None:
    from torchvision.datasets import MNIST

    MNIST(target, download=True)


def _cifar10(_: str, target: Path) -> None:
    from torchvision.datasets import CIFAR10

    CIFAR10(target, download=True)


def _picture_folders(root: Path) -> list[tuple[Path, list[Path]]]:
    found: dict[Path, list[Path]] = {}
    for file in sorted(root.rglob("*")):
        if file.suffix.lower() in SUFFIXES and file.is_file():
            found.setdefault(file.parent, []).append(file)
    return list(found.items())


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _place(files: list[Path], folder: Path) -> None:
    """Links or copies the files; a name taken by another of the set's folders gets a number."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        names = (file.name, *(f"{file.stem}-{number}{file.suffix}" for number in range(2, 1000)))
        target = next(folder / name for name in names if not (folder / name).exists())
        try:
            os.link(file.resolve(), target)
        except OSError:
            shutil.copyfile(file, target)


ORIGINS = {
    "batik-gan": Origin("hydiexe/dataset-fix", _gan_motifs),
    "batik-motifs": Origin("dionisiusdh/indonesian-batik-motifs", _class_folders),
    "anime-faces": Origin("splcher/animefacedataset", _flat),
    "mnist": Origin("torchvision's mirrors", _mnist),
    "cifar10": Origin("torchvision's mirrors", _cifar10),
}
