"""Which process trains which job, and so what state the job is in.

A process is told by its id and its start together, so that a reused id is not mistaken for the job.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout

from gan.errors import RunError
from gan.settings import hub_patience

STOP_SECONDS = 20
ACTIVE = ("waiting", "running", "stopping")


def identity(pid: int) -> dict[str, Any] | None:
    """A process id with its start in seconds since the machine's, None when there is no such process."""
    try:
        return {"pid": pid, "began": since_boot(psutil.Process(pid))}
    except psutil.Error:
        return None


def since_boot(process: psutil.Process) -> float:
    """When a process began. Not by the clock: set to another hour, it moves the start of every process with it."""
    return process.create_time() - psutil.boot_time()


def process_of(record: dict[str, Any]) -> psutil.Process | None:
    """The living process of a job. One that merely has the same id is told by its start time and command."""
    process = living(record.get("process"))
    if process:
        with contextlib.suppress(psutil.Error):
            # A program that has only just begun has no arguments yet.
            arguments = process.cmdline()
            if not arguments or any(record["id"] in one for one in arguments):
                return process
    return None


def living(recorded: dict[str, Any] | None) -> psutil.Process | None:
    """The process of an :func:`identity`, None when it has ended."""
    if not recorded:
        return None
    try:
        process = psutil.Process(recorded["pid"])
        # The time of the machine's start, which the two are counted from, is given in whole seconds.
        same = abs(since_boot(process) - recorded["began"]) < 2
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.Error:
        return None


def state_of(record: dict[str, Any]) -> str:
    """waiting, running, stopping, stopped, finished or failed."""
    if "ended" in record:
        return record["ended"]["how"]
    if "process" not in record:
        return "waiting"
    stopping = "stopping" in record
    if process_of(record):
        return "stopping" if stopping else "running"
    # A job on the Hub that nobody could cancel goes on, whatever was wanted.
    return "stopped" if stopping and not astray(record) else "failed"


def astray(record: dict[str, Any]) -> bool:
    """Whether a job may go on, and cost, on the Hub, as far as is known here."""
    return "job" in record.get("remote", {})


def stop_seconds(record: dict[str, Any]) -> float:
    """How long a job may take to stop: one that trains elsewhere has to ask the Hub, and to bring its result home; one
    that has saved makes its model, which a busy machine takes a while for."""
    if "remote" in record:
        return 3 * STOP_SECONDS + hub_patience()
    return 6 * STOP_SECONDS if "keeping" in record else STOP_SECONDS


@contextlib.contextmanager
def training_alone(folder: Path, patience: float = 0) -> Iterator[None]:
    """Hold the run in ``folder`` for this process: two that train one run would undo each other's work.

    Raises:
        RunError: when another process still trains it after ``patience`` seconds.
    """
    try:
        held = FileLock(folder / ".worker.lock", timeout=patience).acquire()
    except Timeout as error:
        raise RunError("error.run.held", folder=folder) from error
    with held:
        yield
