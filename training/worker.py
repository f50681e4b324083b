"""python -m training.worker FOLDER: the process that trains one job.

It gives way to everything else on the machine, notes in ``job.json`` how it ended, makes a checkpoint folder of the
result, measures it where it is a classifier, and starts the next job that waits. SIGTERM makes it save and end.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from gan.errors import CantingError
from training import jobs

# For one that has ended its training and is on its way out.
TURN_SECONDS = 30


def main(folder: Path) -> int:
    """Train the job in ``folder`` to its end or until told to stop; the process's exit code."""
    give_way()
    # Held until the process is gone, however it goes: two processes never train one run.
    mine = FileLock(folder / ".worker.lock", timeout=TURN_SECONDS)
    try:
        mine.acquire()
    except Timeout:
        print("Another process trains this run.")
        return 1
    job = folder.name
    with jobs.changing(job) as record:
        # Whoever started this process may have been killed before noting it.
        record["process"] = jobs.identity(os.getpid())
    clear_up(folder)
    try:
        ended: dict[str, Any] = {"how": train(folder)}
    except CantingError as error:
        ended = {"how": "failed", "reason": jobs.in_all_languages(error)}
        print(error)
    except Exception:
        ended = {"how": "failed"}
        traceback.print_exc()
    with jobs.changing(job) as record:
        record["ended"] = ended
    jobs.advance()
    return 1 if ended["how"] == "failed" else 0


def train(folder: Path) -> str:
    """Carry the run on; "finished" or "stopped"."""
    told: list[int] = []

    def on_signal(number: int, frame: Any) -> None:
        told.append(number)
        give_way(0)
        if not training:
            # Nothing has changed since the last save.
            raise Stopped

    training = False
    from training.loop import Stopped

    signal.signal(signal.SIGTERM, on_signal)
    try:
        from training.promote import promote
        from training.start import prepare

        trainer = prepare(folder)
        training = True

        def on_step(*_: Any) -> None:
            if told:
                raise Stopped

        on_step()
        trainer.train(on_step)
        record = jobs.read(folder.name)
        promote(folder, record["title"], record["pictures"])
        if trainer.step < trainer.recipe.steps:
            return "stopped"
        if jobs.kind_of(record) == "classifier":
            from training.held_out import measure

            measure(folder, on_step)
    except Stopped:
        return "stopped"
    return "finished"


def clear_up(folder: Path) -> None:
    """Remove what a kill in the middle of a write left behind."""
    for place in (folder, folder / "samples", folder / "snapshots", folder / "checkpoint"):
        for leftover in place.glob(".*.*.*"):
            if leftover.suffix in (".safetensors", ".json", ".jsonl", ".png", ".csv", ".md"):
                leftover.unlink(missing_ok=True)


def give_way(niceness: int = 10) -> None:
    """Lowest sensible priority, so that the app's answers stay quick; with 0, an ordinary one where that is allowed."""
    with contextlib.suppress(OSError, AttributeError):
        os.nice(niceness - os.nice(0))
    # Where Linux groups processes by session, only the group's niceness counts against other sessions.
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(niceness))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
