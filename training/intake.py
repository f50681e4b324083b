"""Pictures that somebody hands in for training: checked, bounded, and copied as plain JPEGs.

Nothing of the original files is kept but their pixels, and nothing is written outside the folder given.
"""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from PIL import Image

from gan.errors import CantingError, DataError, PictureError
from gan.pictures import open_picture
from gan.texts import say

LEAST, MOST = 2, 500
MAX_FILE_BYTES = 60_000_000
# Random crops at 256² or 512² need no more, and five hundred of them stay under half a gigabyte.
SHORT_SIDE = 1024


class UploadError(DataError):
    """One file that cannot be trained on; says its name and what is wrong with it."""

    def __init__(self, name: str, reason: CantingError) -> None:
        super().__init__("error.upload.picture", name=name, reason=reason)
        self.reason = reason

    def say(self, language: str = "en") -> str:
        """The sentence in ``language``, the reason's part too."""
        return say(self.key, language, **{**self.values, "reason": self.reason.say(language)})


def take_in(pictures: Path | str | Sequence[Path | str], folder: Path) -> int:
    """Copy pictures into ``folder`` as 0001.jpg, 0002.jpg, …, RGB, short side at most 1024; returns how many.

    Args:
        pictures: a folder, a zip, or a list of picture files and zips.
        folder: made if needed.

    Raises:
        DataError: for fewer than 2 or more than 500 pictures, an unsafe or oversized zip, or a file (named in the
            message) that is no usable picture.
    """
    from training.data.sources import Entry, ZipLimits, folder_entries, zip_entries

    limits = ZipLimits(files=4 * MOST, file_bytes=MAX_FILE_BYTES, total_bytes=1_500_000_000)
    given = [pictures] if isinstance(pictures, Path | str) else list(pictures)
    with contextlib.ExitStack() as opened:
        entries: list[Entry] = []
        for path in map(Path, given):
            if path.is_dir():
                entries += opened.enter_context(folder_entries(path))
            elif path.suffix.lower() == ".zip" or zipfile.is_zipfile(path):
                entries += opened.enter_context(zip_entries(path, limits))
            else:
                entries.append(Entry(PurePosixPath(path.name), lambda path=path: path))
        if not LEAST <= len(entries) <= MOST:
            raise DataError("error.upload.count", found=len(entries), least=LEAST, most=MOST)
        folder.mkdir(parents=True, exist_ok=True)
        for number, entry in enumerate(sorted(entries, key=lambda entry: entry.name.parts), start=1):
            try:
                contents = entry.read()
                if isinstance(contents, Path) and contents.stat().st_size > MAX_FILE_BYTES:
                    raise PictureError("error.upload.bytes", most=MAX_FILE_BYTES // 1_000_000)
                picture = open_picture(contents, side=SHORT_SIDE)
            except PictureError as error:
                raise UploadError(entry.name.name, error) from error
            reduce(picture).save(folder / f"{number:04d}.jpg", "JPEG", quality=95, subsampling=0)
    return len(entries)


def reduce(picture: Image.Image) -> Image.Image:
    """The picture with its short side at most ``SHORT_SIDE``."""
    short = min(picture.size)
    if short <= SHORT_SIDE:
        return picture
    size = tuple(max(1, round(length * SHORT_SIDE / short)) for length in picture.size)
    return picture.resize(size, Image.Resampling.LANCZOS)
