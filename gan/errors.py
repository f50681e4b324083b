"""What can go wrong in a way that a person can mend. Each error is one sentence, in both languages."""

from __future__ import annotations

import errno
import re
from typing import Any

from gan.texts import say

FULL, REFUSED = (errno.ENOSPC, errno.EDQUOT), (errno.EROFS, errno.EACCES, errno.EPERM)
TAKEN = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG)


class CantingError(Exception):
    """An error that carries the key of its sentence in ``gan/texts`` and the values that fill it."""

    def __init__(self, key: str, /, **values: object) -> None:
        super().__init__(key, values)
        self.key, self.values = key, values

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled by its parts, as what crosses from one process to another is."""
        return type(self).__new__, (type(self),), self.__dict__ | {"args": self.args}

    def say(self, language: str = "en") -> str:
        """The sentence in ``language``."""
        return say(self.key, language, **self.values)

    def __str__(self) -> str:
        return self.say()


class PictureError(CantingError):
    """A file that is not a picture Canting can use."""


class CheckpointError(CantingError):
    """A model folder that is missing, incomplete or does not fit its network."""


class RequestError(CantingError, ValueError):
    """A seed, count, label or other argument out of range."""


class DataError(CantingError):
    """Training data that is missing, unreadable or unsuitable."""


class RunError(CantingError):
    """A training run that cannot be started, found or continued."""


class HubError(CantingError):
    """A model that cannot be published to the Hugging Face Hub, or fetched from it."""


class DiskError(CantingError):
    """A disk that is full, or a file that may not be read or written."""


def explained(error: Exception) -> CantingError | None:
    """What a person can do about an error: itself where it says so, a DiskError for a full or forbidden disk, or a path
    where nothing can be written, else None."""
    if isinstance(error, CantingError):
        return error
    # safetensors has no number of its own, only in its words.
    named = re.search(r"\(os error (\d+)\)", str(error))
    number = error.errno if isinstance(error, OSError) else int(named[1]) if named else None
    if number in FULL:
        return DiskError("error.disk.full")
    for numbers, key in ((REFUSED, "error.disk.refused"), (TAKEN, "error.disk.place")):
        if number in numbers:
            return DiskError(key, file=getattr(error, "filename", None) or "–")
    return None
