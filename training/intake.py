"""Pictures that somebody hands in for training: checked, bounded, and copied as plain JPEGs.

Nothing of the original files is kept but their pixels, and nothing is written outside the folder given.
"""

from __future__ import annotations

import contextlib
import os
import threading
import zipfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from PIL import Image, ImageOps

from gan.errors import CantingError, DataError, PictureError
from gan.pictures import open_picture
from gan.texts import say

if TYPE_CHECKING:
    from training.data.sources import Entry

LEAST_PICTURES, MOST = 10, 500
MAX_FILE_BYTES = 60_000_000
# Random crops at 256² or 512² need no more, and five hundred of them stay under half a gigabyte.
SHORT_SIDE = 1024
# JPEG knows none above 65,535 pixels, and Pillow writes none above 65,500.
LONG_SIDE = 65_500
# A picture of 60 megapixels may take a gigabyte while it is decoded: so many at once, over all visitors and zips.
_decoding = threading.BoundedSemaphore(min(4, os.cpu_count() or 1))


@dataclass(frozen=True)
class Taken:
    """One file handed in: its name, its class (``training.labels``), and the copy made of it or why there is none."""

    name: str
    label: str = ""
    copy: Path | None = None
    error: PictureError | None = None


class UploadError(DataError):
    """One file that is no usable picture; says its name and what is wrong with it."""

    def __init__(self, name: str, reason: CantingError) -> None:
        super().__init__("error.upload.picture", name=name, reason=reason)
        self.reason = reason

    def say(self, language: str = "en") -> str:
        """The sentence in ``language``, the reason's part too."""
        return say(self.key, language, **{**self.values, "reason": self.reason.say(language)})


class TooFew(DataError):
    """Pictures of which too few are left to train on; says how many were left out by which rule."""

    def __init__(self, files: int, rules: Counter[str]) -> None:
        kept = files - rules.total()
        key = "error.upload.few" if files else "error.upload.nothing"
        super().__init__(key, files=files, kept=kept, least=LEAST_PICTURES, rules=rules)

    def say(self, language: str = "en") -> str:
        """The sentence in ``language``, the rules' names too."""
        rules = self.values["rules"]
        found = ", ".join(f"{say(f'train.rule.{rule}', language)}: {n}" for rule, n in sorted(rules.items()))
        return say(self.key, language, **{**self.values, "found": f"; {found}" if found else ""})


def take_in(pictures: Path | str | Sequence[Path | str], folder: Path, present: int = 0) -> list[Taken]:
    """Copy pictures into ``folder`` as 0001.jpg, 0002.jpg, …, RGB, short side at most 1024; what became of each.

    Args:
        pictures: a folder, a zip, or a list of picture files and zips.
        folder: made if needed.
        present: how many are there already; the copies' numbers go on from it.

    Raises:
        DataError: for more than 500 pictures in all, or an unsafe or oversized zip.
    """
    from training.data.sources import Entry, ZipLimits, folder_entries, zip_entries
    from training.labels import labels_of

    limits = ZipLimits(files=4 * MOST, file_bytes=MAX_FILE_BYTES, total_bytes=1_500_000_000)
    given = [pictures] if isinstance(pictures, Path | str) else list(pictures)
    with contextlib.ExitStack() as opened:
        entries: list[tuple[Entry, str]] = []
        for path in map(Path, given):
            if path.is_dir():
                found, container = opened.enter_context(folder_entries(path)), path.name
            elif path.suffix.lower() == ".zip" or zipfile.is_zipfile(path):
                found, container = opened.enter_context(zip_entries(path, limits)), path.stem
            else:
                found, container = [Entry(PurePosixPath(path.name), lambda path=path: path)], ""
            entries += zip(found, labels_of([one.name for one in found], container), strict=True)
        if present + len(entries) > MOST:
            raise DataError("error.upload.count", found=present + len(entries), most=MOST)
        folder.mkdir(parents=True, exist_ok=True)
        entries.sort(key=lambda one: (one[1], one[0].name.parts))
        copies = [folder / f"{number:04d}.jpg" for number in range(present + 1, present + 1 + len(entries))]
        # Decoding and resizing let other threads go on.
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            return list(threads.map(take, *zip(*entries, strict=True), copies)) if entries else []


def take(entry: Entry, label: str, copy: Path) -> Taken:
    """Write one picture to ``copy``; what became of it."""
    try:
        contents = entry.read()
        if isinstance(contents, Path) and contents.stat().st_size > MAX_FILE_BYTES:
            raise PictureError("error.upload.bytes", most=MAX_FILE_BYTES // 1_000_000)
        with _decoding:
            # Half of it, as large JPEGs are decoded at no less than twice the side given.
            picture = reduce(open_picture(contents, side=SHORT_SIDE // 2))
    except PictureError as error:
        return Taken(entry.name.name, label, error=error)
    picture.save(copy, "JPEG", quality=95, subsampling=0)
    return Taken(entry.name.name, label, copy)


def reduce(picture: Image.Image) -> Image.Image:
    """The picture with its short side at most ``SHORT_SIDE``, and of one longer than JPEG can tell the middle."""
    if max(picture.size) > LONG_SIDE:
        picture = ImageOps.fit(picture, tuple(min(LONG_SIDE, side) for side in picture.size))
    short = min(picture.size)
    if short <= SHORT_SIDE:
        return picture
    size = tuple(max(1, round(length * SHORT_SIDE / short)) for length in picture.size)
    return picture.resize(size, Image.Resampling.LANCZOS)
