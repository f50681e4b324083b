"""A run's model: the checkpoint folder inside its run directory, made of one of its snapshots.

It is made beside the present one and then put in its place, so that a reader, or a kill, meets one or the other.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from filelock import FileLock, Timeout

from gan.checkpoint import CONFIG, read_config
from gan.errors import RunError
from gan.files import atomic

CHECKPOINT, NEW, OLD = "checkpoint", ".checkpoint-new", ".checkpoint-old"


def checkpoint_of(folder: Path) -> Path | None:
    """The checkpoint folder of the run in ``folder``; None before there is one."""
    for name in (CHECKPOINT, OLD):
        # The old one is left where it was put aside by a process killed before its successor was in place.
        if (folder / name / CONFIG).is_file():
            return folder / name
    return None


def promote(folder: Path, title: str, pictures: int, step: int | None = None) -> Path:
    """Make the snapshot of ``step`` the run's model, without one the best by KID, else the newest; returns its folder.

    Raises:
        RunError: when there is no such snapshot, or another process is at it.
    """
    from training.export import export_run

    checkpoint, new, old = (folder / name for name in (CHECKPOINT, NEW, OLD))
    try:
        with FileLock(folder / ".promote.lock", timeout=120):
            if old.is_dir() and not checkpoint.is_dir():
                old.rename(checkpoint)
            for leftover in (new, old):
                shutil.rmtree(leftover, ignore_errors=True)
            try:
                export_run(folder, new, step)
                entitle(new, title, pictures)
                if checkpoint.is_dir():
                    checkpoint.rename(old)
                new.rename(checkpoint)
            finally:
                shutil.rmtree(new, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)
    except Timeout as error:
        raise RunError("error.job.busy") from error
    return checkpoint


def entitle(checkpoint: Path, title: str, pictures: int) -> None:
    """Give a checkpoint its owner's title, and keep this machine's folders out of it."""
    config = {**read_config(checkpoint), "title": title, "source": f"{pictures} pictures"}
    with atomic(checkpoint / CONFIG) as path:
        path.write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
