"""What is deleted, and when: runs and pictures that nobody came back for, and the oldest runs of who has too many.

A run that trains, here or elsewhere, waits or has been published is never touched.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from pathlib import Path
from typing import Any

from gan.errors import RunError
from gan.settings import keep_days, most_gigabytes, most_runs, runs_folder
from training import processes, records

# What a drop, a start or a deletion leaves behind when it is killed.
LEFTOVER_HOURS = 24
SWEEP_SECONDS = 600
_last_sweep = 0.0
# What the clock shows beyond the seconds since the machine's start. A clock that jumps while the app runs must not make
# everything old at once.
AHEAD = time.time() - time.monotonic()


# A run with its state and snapshots takes about half of it.
LEAST_FREE_BYTES = 10**9


def check_disk() -> None:
    """Raises RunError where the disk of the runs is nearly full: the limits are each visitor's, and visitors many."""
    folder = next(path for path in (runs_folder(), *runs_folder().parents) if path.is_dir())
    if shutil.disk_usage(folder).free < LEAST_FREE_BYTES:
        raise RunError("error.disk.low", gigabytes=LEAST_FREE_BYTES // 10**9)


def make_room(owner: str) -> None:
    """Delete the owner's oldest runs until one more keeps within the limits, for whoever holds the records' lock.

    Raises:
        RunError: when the runs that may not be deleted are too many already, nothing is deleted then; when the disk has
            no room for another all the same.
    """
    from training import jobs

    mine = sorted((one for one in records.every() if one["owner"] == owner), key=lambda one: one["created"])
    free = [one for one in mine if may_go(one)]
    sizes = {one["id"]: size(runs_folder() / one["id"]) for one in mine} if most_gigabytes() else {}
    count, room = len(mine), most_gigabytes() * 1e9 - sum(sizes.values())
    gone = []
    while (most_runs() and count >= most_runs()) or (most_gigabytes() and room <= 0):
        if not free:
            if most_runs() and count >= most_runs():
                raise RunError("error.job.most_runs", runs=most_runs())
            raise RunError("error.job.most_gb", gigabytes=f"{most_gigabytes():g}")
        gone.append(free.pop(0))
        count, room = count - 1, room + sizes.get(gone[-1]["id"], 0)
    for one in gone:
        # One that has begun to train since is left alone.
        with contextlib.suppress(RunError):
            shutil.rmtree(jobs.put_aside(one["id"]), ignore_errors=True)
    check_disk()


def sweep() -> None:
    """Delete runs and baskets that have lain for longer than the days allowed, and leftovers; at most every ten
    minutes."""
    from training import basket, jobs

    global _last_sweep
    if _last_sweep and time.monotonic() - _last_sweep < SWEEP_SECONDS:
        return
    _last_sweep = time.monotonic()
    if keep_days():
        limit = 86400 * keep_days()
        for one in records.every():
            if may_go(one) and age(runs_folder() / one["id"]) > limit:
                # It may have gone, or begun to train, meanwhile.
                with contextlib.suppress(RunError):
                    jobs.delete(one["id"])
        for folder in (runs_folder() / basket.FOLDER).glob("*[!k]"):
            if age(folder) > limit:
                shutil.rmtree(folder, ignore_errors=True)
        for lock in (runs_folder() / basket.FOLDER).glob("*.lock"):
            if age(lock) > limit and not lock.with_suffix("").exists():
                lock.unlink(missing_ok=True)
    for prefix in (records.MAKING, records.DELETING):
        for folder in runs_folder().glob(f"{prefix}*"):
            if age(folder) > 3600 * LEFTOVER_HOURS:
                shutil.rmtree(folder, ignore_errors=True)


def may_go(record: dict[str, Any]) -> bool:
    """Whether a run may be deleted without being asked for."""
    active = processes.state_of(record) in processes.ACTIVE or processes.astray(record)
    return not active and not record.get("published")


def age(folder: Path) -> float:
    """Seconds since anything directly in ``folder`` last changed, by the clock as it was when this process began, or as
    it is where it has been set back."""
    newest = 0.0
    for path in (folder, *folder.glob("*")):
        with contextlib.suppress(OSError):
            newest = max(newest, path.stat().st_mtime)
    return min(time.time(), time.monotonic() + AHEAD) - newest


def size(folder: Path) -> int:
    """Bytes of all files under ``folder``."""
    total = 0
    # A worker may remove what is being counted: then it does not count.
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += (Path(place) / name).stat().st_size
    return total
