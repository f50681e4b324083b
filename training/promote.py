"""A run's model: the checkpoint folder inside its run directory, made of one of its snapshots.

It is made beside the present one and then put in its place, so that a reader, or a kill, meets one or the other.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from gan.checkpoint import CONFIG, read_config, write_config
from gan.errors import RunError
from training import records

CHECKPOINT, NEW, OLD = "checkpoint", ".checkpoint-new", ".checkpoint-old"


def checkpoint_of(folder: Path) -> Path | None:
    """The checkpoint folder of the run in ``folder``; None before there is one."""
    for name in (CHECKPOINT, OLD):
        # The old one is left where it was put aside by a process killed before its successor was in place.
        if (folder / name / CONFIG).is_file():
            return folder / name
    return None


def promote(folder: Path, step: int | None = None) -> Path:
    """Make the snapshot of ``step`` the run's model, without one the best by KID, else the newest; returns its folder.

    Raises:
        RunError: when there is no such snapshot, or another process is at it.
    """
    from training.export import export_run

    checkpoint, new, old = (folder / name for name in (CHECKPOINT, NEW, OLD))
    with alone(folder):
        if old.is_dir() and not checkpoint.is_dir():
            old.rename(checkpoint)
        # A killed export's room, too: it makes the new one in a room of its own.
        for leftover in (new, old, *folder.glob(f".{NEW}.*")):
            shutil.rmtree(leftover, ignore_errors=True)
        try:
            export_run(folder, new, step)
            entitle(new, folder)
            if checkpoint.is_dir():
                checkpoint.rename(old)
            new.rename(checkpoint)
        finally:
            shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
    return checkpoint


def renamed(folder: Path) -> None:
    """Give the model of a job, where there is one, the title that the job now has.

    Raises:
        RunError: when another process is making it.
    """
    with alone(folder):
        checkpoint = checkpoint_of(folder)
        if checkpoint:
            entitle(checkpoint, folder)


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """While no other process makes or names the model of the run in ``folder``. Raises RunError after two minutes."""
    try:
        lock = FileLock(folder / ".promote.lock", timeout=120).acquire()
    except Timeout as error:
        raise RunError("error.job.busy") from error
    with lock:
        yield


def entitle(checkpoint: Path, folder: Path) -> None:
    """Give a checkpoint its owner's title as it is by now, and keep this machine's folders out of it; one of a run that
    is no job keeps its recipe's."""
    if (folder / "job.json").is_file():
        record = records.read(folder.name)
        config = read_config(checkpoint) | {"title": record["title"], "source": f"{record['pictures']} pictures"}
        write_config(checkpoint, config)
