"""Writing files so that no reader, and no kill, ever meets half of one; marking those in use."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

BEFORE, ABANDONED_SECONDS = "before", 3600


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path``; on leaving without an error it becomes ``path``, durably."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        # mkstemp makes files that only their owner reads.
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """An empty folder of the same name in a room beside ``folder``; on leaving without an error it takes its place.

    What was there is gone then. After a kill in between, :func:`restore` brings it back.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    # A name with a dot in front is in no list of models.
    room = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        made = room / folder.name
        made.mkdir()
        yield made
        if folder.exists():
            folder.rename(room / BEFORE)
        made.rename(folder)
    finally:
        if not folder.exists() and (room / BEFORE).exists():
            (room / BEFORE).rename(folder)
        shutil.rmtree(room, ignore_errors=True)


def restore(folder: Path) -> None:
    """Bring back what a :func:`replacing` that was killed had set aside, and remove what it left."""
    # As ``tempfile`` names them: a folder's name may have dots too.
    made = re.compile(rf"\.{re.escape(folder.name)}\.[a-z0-9_]{{8}}")
    for room in folder.parent.glob(".*"):
        # A younger one may be at work still.
        if made.fullmatch(room.name) and room.is_dir() and time.time() - room.stat().st_mtime > ABANDONED_SECONDS:
            with contextlib.suppress(OSError):
                if (room / BEFORE).is_dir() and not folder.exists():
                    (room / BEFORE).rename(folder)
            shutil.rmtree(room, ignore_errors=True)


def used(folder: Path) -> None:
    """Note that somebody has use for what lies in ``folder``, so that it is not deleted as old; hourly is enough."""
    with contextlib.suppress(OSError):
        if time.time() - folder.stat().st_mtime > 3600:
            os.utime(folder)
