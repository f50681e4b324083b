"""Where training pictures come from: one name opens a folder, a zip, an archive or a torchvision data set.

| name | what it opens |
|---|---|
| `batik-gan/batik-parang`, an absolute path | a folder under ``CANTING_DATA`` or any, less what its manifest drops |
| `batik-gan/batik-parang!all` | all of them |
| `batik-motifs` | a folder of class folders: pictures with labels |
| `batik-motifs:batik-bali,batik-celup` | only those classes, numbered in that order |
| `my-cloths.zip` | a zip laid out like either, read in memory and never unpacked |
| `mnist:train`, `mnist:test` | torchvision's MNIST |
| `cifar10:train`, `cifar10:test` | torchvision's CIFAR-10, else ``cifar10-jpeg.tar.gz`` |
| `anime-faces` | the folder of that name, else ``anime-faces-64.tar.gz`` |
| `textures` | a hundred drawn textures that are no batik, to measure with |

A manifest is ``training/manifests/<folder>.csv``; a file that it does not name is kept.
The order of the pictures is that of their sorted names, on every machine.
"""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from gan import settings
from gan.errors import DataError, PictureError
from gan.pictures import SUFFIXES, open_picture
from training.audit import dropped
from training.data.pictures import PictureSet
from training.data.textures import textures

# Short sides above this multiple of the resolution are reduced: what is left is what random crops can use.
HEADROOM = 1.25
FACE_SIDE = 64
FETCHABLE = ("batik-gan", "batik-motifs", "anime-faces", "mnist", "cifar10")
# What zips of pictures use, and the only methods that zipfile can unpack no further than asked.
ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# Bytes of a zip's directory a file, name and all.
MOST_LISTED = 1000


@dataclass(frozen=True)
class ZipLimits:
    """What a zip from a stranger may ask for. Sizes are those its directory declares, and reading stops there."""

    files: int = 20_000
    file_bytes: int = 100_000_000
    total_bytes: int = 2_000_000_000
    ratio: int = 200


def open_source(name: str, resolution: int, channels: int = 3) -> PictureSet:
    """The training pictures called ``name`` (see the table above).

    Args:
        name: of the source.
        resolution: side of the pictures that will be trained on. Larger ones are reduced to a short side of 1.25
            times that.
        channels: 3 for RGB, 1 for grey. MNIST is always (n, 1, 28, 28); CIFAR-10 (n, 3, 32, 32) and the anime faces
            (n, 3, 64, 64) likewise keep their own size and channels.

    Returns:
        Unreadable files are left out, counted and named in ``description``.

    Raises:
        DataError: the source is missing, half downloaded, unsafe, or holds no usable picture.
    """
    whole = name.endswith("!all") and not os.path.exists(name)
    given, name = name, name.removesuffix("!all") if whole else name
    special = SPECIAL.get(name)
    if special:
        return special()
    base = name.partition(":")[0]
    if f"{base}:train" in SPECIAL:
        raise DataError("error.data.split", name=name, base=base)
    path, selection = _locate(name)
    with zip_entries(path) if path.is_file() else folder_entries(path) as entries:
        left_out = frozenset() if whole or path.is_file() else dropped(path.name)
        kept = [entry for entry in entries if not (left_out and _digest(entry) in left_out)]
        if entries and not kept:
            raise DataError("error.data.dropped", path=path, files=len(entries))
        data = _read(kept, _title(given, path), path, selection, resolution, channels)
    if len(kept) < len(entries):
        data.description += f"; {len(entries) - len(kept)} left out by the manifest"
    return data


def _digest(entry: Entry) -> str:
    contents = entry.read()
    return hashlib.sha256(contents.read_bytes() if isinstance(contents, Path) else contents).hexdigest()


# --- names


def _locate(name: str) -> tuple[Path, list[str] | None]:
    """The folder or zip that a name stands for, and the classes asked for."""
    base, colon, classes = name.rpartition(":")
    candidates = [(name, None)]
    if colon and base:
        candidates.append((base, [word.strip() for word in classes.split(",") if word.strip()]))
    for text, selection in candidates:
        path = Path(text).expanduser()
        if not path.is_absolute():
            if ".." in path.parts:
                raise DataError("error.data.name", name=name, path=settings.data_folder())
            path = settings.data_folder() / path
        if os.path.isdir(path) or os.path.isfile(path):  # unlike Path's own, no error for names that are too long
            return path, selection
    text, _ = candidates[-1]
    path = settings.data_folder() / Path(text).expanduser()
    if text.split("/")[0] in FETCHABLE:
        raise _missing(text, path)
    raise DataError("error.data.folder", path=path)


def _title(name: str, path: Path) -> str:
    """The source's name without the folders it lies in: descriptions go onto public model cards."""
    return path.name if Path(name).expanduser().is_absolute() else name


def _missing(name: str, path: Path) -> DataError:
    base = settings.data_folder() / name.split("/")[0].split(":")[0]
    if base.exists():
        # A part of it is there, and fetching leaves alone what is.
        return DataError("error.data.broken", path=base, command=_command(name))
    return DataError("error.data.missing", name=name, path=path, command=_command(name))


def _command(name: str) -> str:
    return f"python -m training fetch {name.split('/')[0].split(':')[0]}"


# --- folders and zips


@dataclass(frozen=True)
class Entry:
    """One picture file: its name inside the source, "/" between folders, and how to get at its contents."""

    name: PurePosixPath
    read: Callable[[], Path | bytes]


def _is_picture(name: PurePosixPath) -> bool:
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in name.parts)
    return name.suffix.lower() in SUFFIXES and not hidden


@contextmanager
def folder_entries(path: Path) -> Iterator[list[Entry]]:
    """The pictures in a folder, or, where it has none of its own, those in its class folders."""
    files = [file for file in path.iterdir() if file.is_file()]
    entries = [Entry(PurePosixPath(file.name), lambda file=file: file) for file in files]
    if not any(_is_picture(entry.name) for entry in entries):
        folders = [folder for folder in path.iterdir() if folder.is_dir()]
        entries = [
            Entry(PurePosixPath(folder.name, file.name), lambda file=file: file)
            for folder in folders
            for file in folder.iterdir()
            if file.is_file()
        ]
    yield [entry for entry in entries if _is_picture(entry.name)]


@contextmanager
def zip_entries(path: Path, limits: ZipLimits | None = None) -> Iterator[list[Entry]]:
    """The pictures in a zip, without the folders that all of them share. Nothing is ever written to disk."""
    limits = limits or ZipLimits()
    try:
        with path.open("rb") as file:
            # Before there is an object for each member: what ZipFile itself takes the size of its directory from.
            end = zipfile._EndRecData(file)
        listed = end[zipfile._ECD_SIZE] if end else 0
        archive = zipfile.ZipFile(path) if listed <= limits.files * MOST_LISTED else None
    except Exception as error:  # zipfile raises nearly anything on hostile input
        raise DataError("error.data.zip", path=path.name) from error
    if archive is None:
        raise too_large(limits)
    with archive:
        members = [info for info in archive.infolist() if not info.filename.endswith("/")]
        if any(info.compress_type not in ZIP_METHODS for info in members):
            raise DataError("error.data.zip", path=path.name)
        _check_zip(members, limits)

        def read(info: zipfile.ZipInfo) -> bytes:
            try:
                with archive.open(info) as member:
                    # With a number: without one, zipfile unpacks all that is there before it looks at the size.
                    return member.read(info.file_size)
            except Exception as error:
                if info.flag_bits & 1:  # encrypted: so is all the rest
                    raise DataError("error.data.zip", path=path.name) from error
                raise PictureError("error.picture.broken") from error

        # As some tools on Windows write them.
        names = {info.filename: PurePosixPath(info.filename.replace("\\", "/")) for info in members}
        pictures = [info for info in members if _is_picture(names[info.filename])]
        shared = _shared_folders([names[info.filename] for info in pictures])
        yield [
            Entry(PurePosixPath(*names[info.filename].parts[shared:]), lambda info=info: read(info))
            for info in pictures
        ]


def _check_zip(members: list[zipfile.ZipInfo], limits: ZipLimits) -> None:
    for info in members:
        # The name as stored: zipfile itself cuts it at a NUL and mends separators, and Windows knows "\\" and "C:".
        name = info.orig_filename.replace("\\", "/")
        kind = info.external_attr >> 16 & 0o170000
        unsafe = name.startswith("/") or ":" in name or "\0" in name or ".." in name.split("/")
        if unsafe or kind not in (0, 0o100000):  # a plain file, or made where there are no kinds
            raise DataError("error.data.zip_name", name=ascii(info.filename))
    large = (
        len(members) > limits.files
        or any(info.file_size > limits.file_bytes for info in members)
        or sum(info.file_size for info in members) > limits.total_bytes
        or any(info.file_size > limits.ratio * max(info.compress_size, 1024) for info in members)
    )
    if large:
        raise too_large(limits)


def too_large(limits: ZipLimits) -> DataError:
    """What is said of a zip beyond its limits."""
    megabytes = {"file_mb": limits.file_bytes // 1_000_000, "total_mb": limits.total_bytes // 1_000_000}
    return DataError("error.data.zip_large", files=limits.files, ratio=limits.ratio, **megabytes)


def _shared_folders(names: list[PurePosixPath]) -> int:
    parents = [name.parts[:-1] for name in names]
    return len(os.path.commonprefix(parents)) if parents else 0


def _read(
    entries: Iterable[Entry], title: str, path: Path, selection: list[str] | None, resolution: int, channels: int
) -> PictureSet:
    entries = sorted(entries, key=lambda entry: entry.name.parts)
    labelled = bool(entries) and all(len(entry.name.parts) > 1 for entry in entries)
    classes = sorted({entry.name.parts[0] for entry in entries}) if labelled else []
    if selection is not None:
        for wanted in selection:
            if wanted not in classes:
                raise DataError("error.data.classes", path=title, name=wanted, known=", ".join(classes) or "–")
        classes = selection
        entries = [entry for wanted in classes for entry in entries if entry.name.parts[0] == wanted]
    number = {name: index for index, name in enumerate(classes)}
    pictures, labels, names, skipped = [], [], [], []
    for entry in entries:
        try:
            contents = entry.read()
            picture = open_picture(contents, side=round(resolution * HEADROOM))
        except PictureError:
            skipped.append(str(entry.name))
            continue
        pictures.append(to_tensor(reduced(picture, resolution), channels))
        names.append(str(entry.name))
        if classes:
            labels.append(number[entry.name.parts[0]])
    if not pictures:
        raise DataError("error.data.empty", path=path, skipped=len(skipped))
    description = f"{title}: {len(pictures)} pictures"
    if classes:
        description += f" in {len(classes)} classes"
    if skipped:
        more = ", …" if len(skipped) > 10 else ""
        description += f"; {len(skipped)} unreadable and left out ({', '.join(skipped[:10])}{more})"
    return PictureSet(pictures, torch.tensor(labels) if classes else None, classes, names, description)


def reduced(picture: Image.Image, resolution: int) -> Image.Image:
    """The picture with its short side at most 1.25 times ``resolution``; smaller ones as they are."""
    most, short = round(resolution * HEADROOM), min(picture.size)
    if short <= most:
        return picture
    size = tuple(max(most, round(length * most / short)) for length in picture.size)
    return picture.resize(size, Image.Resampling.LANCZOS)


def to_tensor(picture: Image.Image, channels: int = 3) -> Tensor:
    """An RGB picture as uint8 (channels, h, w)."""
    if channels == 1:
        return torch.from_numpy(np.array(picture.convert("L")))[None]
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous()


# --- data sets of one size, held as one tensor


def _mnist(train: bool) -> PictureSet:
    from torchvision.datasets import MNIST

    split, root = "train" if train else "test", settings.data_folder() / "mnist"
    if not root.is_dir():
        raise _missing(f"mnist:{split}", root)
    try:
        data = MNIST(root, train=train, download=False)
    except (RuntimeError, OSError, ValueError, AssertionError, IndexError) as error:
        raise DataError("error.data.broken", path=root, command=_command("mnist")) from error
    classes = [str(digit) for digit in range(10)]
    return PictureSet(data.data[:, None].contiguous(), data.targets, classes, description=f"MNIST, {split} set")


def _cifar10(train: bool) -> PictureSet:
    from torchvision.datasets import CIFAR10

    split, root = "train" if train else "test", settings.data_folder()
    if (root / "cifar10" / CIFAR10.base_folder).is_dir():
        try:
            data = CIFAR10(root / "cifar10", train=train, download=False)
        except (RuntimeError, OSError) as error:
            raise DataError("error.data.broken", path=root / "cifar10", command=_command("cifar10")) from error
        pictures = torch.from_numpy(data.data).permute(0, 3, 1, 2).contiguous()
        return PictureSet(pictures, torch.tensor(data.targets), data.classes, description=f"CIFAR-10, {split} set")
    archive = root / "cifar10-jpeg.tar.gz"
    if not archive.is_file():
        raise _missing(f"cifar10:{split}", root / "cifar10")
    pictures, names = _archive(archive, f"{split}/", 32, "cifar10")
    classes = sorted({name.split("/")[1] for name in names})
    labels = torch.tensor([classes.index(name.split("/")[1]) for name in names])
    return PictureSet(pictures, labels, classes, names, f"CIFAR-10 (JPEG), {split} set")


def _anime_faces() -> PictureSet:
    folder, archive = (settings.data_folder() / name for name in ("anime-faces", "anime-faces-64.tar.gz"))
    if folder.is_dir():
        with folder_entries(folder) as entries:
            data = _read(entries, "anime-faces", folder, None, FACE_SIDE, 3)
        data.pictures = torch.stack([_square(picture, FACE_SIDE) for picture in data.pictures])
        data.labels, data.classes = None, []
        data.description = f"anime faces: {len(data)} pictures"
        return data
    if not archive.is_file():
        raise _missing("anime-faces", folder)
    pictures, names = _archive(archive, "faces/", FACE_SIDE, "anime-faces")
    return PictureSet(pictures, names=names, description=f"anime faces, 64×64 JPEG: {len(names)} pictures")


def _square(picture: Tensor, side: int) -> Tensor:
    image = Image.fromarray(picture.permute(1, 2, 0).numpy())
    return to_tensor(ImageOps.fit(image, (side, side), Image.Resampling.LANCZOS))


def _archive(path: Path, prefix: str, side: int, name: str) -> tuple[Tensor, list[str]]:
    """The pictures under ``prefix`` in a tar archive, uint8 (n, 3, side, side), ordered by name.

    Decoding takes half a minute, so the stack is kept in the cache folder under the archive's size and date.
    """
    stat = path.stat()
    key = hashlib.sha256(f"{path.name} {stat.st_size} {stat.st_mtime_ns} {prefix} {side}".encode()).hexdigest()[:16]
    cache = settings.cache_folder() / f"{name}-{key}.safetensors"
    cached = _read_cache(cache)
    if cached:
        return cached
    found: dict[str, Tensor] = {}
    try:
        with tarfile.open(path, "r:*") as archive:
            for member in archive:
                if member.isfile() and member.name.startswith(prefix) and _is_picture(PurePosixPath(member.name)):
                    found[member.name] = _decode_member(archive, member, side)
    except (tarfile.TarError, EOFError, OSError, zlib.error, PictureError) as error:
        raise DataError("error.data.broken", path=path, command=_command(name)) from error
    if not found:
        raise DataError("error.data.empty", path=path, skipped=0)
    names = sorted(found)
    pictures = torch.stack([found[name] for name in names])
    _write_cache(cache, pictures, names)
    return pictures, names


def _decode_member(archive: tarfile.TarFile, member: tarfile.TarInfo, side: int) -> Tensor:
    stream = archive.extractfile(member)
    picture = open_picture(stream.read()) if stream else None
    if picture is None or picture.size != (side, side):
        raise PictureError("error.picture.broken")
    return to_tensor(picture)


def _read_cache(path: Path) -> tuple[Tensor, list[str]] | None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return file.get_tensor("pictures"), json.loads(file.metadata()["names"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return None


def _write_cache(path: Path, pictures: Tensor, names: list[str]) -> None:
    from safetensors.torch import save_file

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            written = Path(folder) / path.name
            save_file({"pictures": pictures}, written, metadata={"names": json.dumps(names)})
            written.replace(path)
    except OSError:  # a full or read-only disk costs the next open some seconds, no more
        return


SPECIAL: dict[str, Callable[[], PictureSet]] = {
    "mnist:train": lambda: _mnist(True),
    "mnist:test": lambda: _mnist(False),
    "cifar10:train": lambda: _cifar10(True),
    "cifar10:test": lambda: _cifar10(False),
    "anime-faces": _anime_faces,
    "textures": textures,
}
