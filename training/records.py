"""What is known of each job, in its run directory's ``job.json``: found, read, changed by one process at a time."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from gan.errors import RunError
from gan.files import atomic, used
from gan.settings import runs_folder

# Folders of jobs that are being made or deleted.
MAKING, DELETING = ".new-", ".deleted-"
# The parts of a classifier's run that only its training needs.
FEATURES, FOLDS = "features", "folds"
# What every record has.
NEEDED = {"id", "owner", "title", "base", "pictures", "steps", "created", "ticket"}


def own(owner: str, job: str | None) -> str:
    """A job's id, which its owner has use for: that is noted. Raises RunError when it is nobody's, or somebody else's
    than ``owner``'s."""
    if not owner or read(job)["owner"] != owner:
        raise RunError("error.job.unknown")
    used(folder_of(job))
    return job


def folder_of(job: str) -> Path:
    """The run directory of a job id. Raises RunError for what is no id, or no job's."""
    folder = runs_folder() / str(job)
    if not re.fullmatch("[0-9a-f]{24}", str(job)) or not (folder / "job.json").is_file():
        raise RunError("error.job.unknown")
    return folder


def read(job: str) -> dict[str, Any]:
    """A job's record. Raises RunError when there is none that can be read, or it is none of a job."""
    try:
        record = json.loads((folder_of(job) / "job.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RunError("error.job.unknown") from error
    if not isinstance(record, dict) or record.get("id") != job or not record.keys() >= NEEDED:
        raise RunError("error.job.unknown")
    return record


def every() -> list[dict[str, Any]]:
    """Every job's record; folders that are no jobs are passed over."""
    found = []
    for path in runs_folder().glob("*/job.json"):
        with contextlib.suppress(RunError):
            found.append(read(path.parent.name))
    return found


def write(record: dict[str, Any], folder: Path | None = None) -> None:
    """Store a record in its job's folder, or in another that is to become it."""
    with atomic((folder or runs_folder() / record["id"]) / "job.json") as path:
        path.write_text(json.dumps(record, indent=1, ensure_ascii=False), encoding="utf-8")


def next_ticket() -> int:
    """A place at the end of the queue. Not a time: clocks jump."""
    return 1 + max((record["ticket"] for record in every()), default=0)


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """Only one process at a time changes jobs. Raises RunError after ten seconds without a turn."""
    root = runs_folder()
    root.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(root / ".jobs.lock", timeout=10):
            yield
    except Timeout as error:
        raise RunError("error.job.busy") from error


@contextlib.contextmanager
def changing(job: str) -> Iterator[dict[str, Any]]:
    """A job's record, written back on leaving without an error."""
    with locked():
        record = read(job)
        yield record
        write(record)
