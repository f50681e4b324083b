"""python -m training.worker FOLDER: the process that trains one job, or watches over it where it trains elsewhere.

It gives way to everything else on the machine, notes in ``job.json`` how it ended, makes a checkpoint folder of the
result, measures it where it is a classifier, and starts the next job that waits. SIGTERM makes it save and end. A token
comes through standard input.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

from gan import settings
from gan.errors import HubError, RunError, explained
from training import jobs, processes, progress, records
from training.runs import Run

# For one that has ended its training and is on its way out.
TURN_SECONDS = 30


def main(folder: Path, token: str = "") -> int:
    """Train the job in ``folder`` to its end or until told to stop; the process's exit code."""
    give_way(settings.niceness())
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(processes.training_alone(folder, TURN_SECONDS))
        except RunError as error:
            print(error)
            return 1
        return carry_out(folder, token)


def carry_out(folder: Path, token: str) -> int:
    """Train the job, note how it ended, and start the next; the exit code."""
    job = folder.name
    with records.changing(job) as record:
        # Whoever started this process may have been killed before noting it.
        record["process"] = processes.identity(os.getpid())
    Run(folder).clear_up()
    try:
        elsewhere = "remote" in records.read(job)
        ended: dict[str, Any] = {"how": oversee(folder, token) if elsewhere else train(folder, token)}
    except Exception as error:
        known = explained(error)
        ended = {"how": "failed", "reason": progress.in_all_languages(known)} if known else {"how": "failed"}
        # A log on a full disk takes no more lines.
        with contextlib.suppress(OSError):
            if known is error:
                print(error)
            else:
                traceback.print_exc()
    with records.changing(job) as record:
        record["ended"] = ended
    jobs.advance()
    return 1 if ended["how"] == "failed" else 0


def oversee(folder: Path, token: str) -> str:
    """Watch over a run that trains elsewhere; "finished" or "stopped"."""
    told = threading.Event()

    def on_signal(number: int, frame: Any) -> None:
        told.set()
        give_way(0)

    # Before anything takes time: who is told to stop must still cancel the job.
    signal.signal(signal.SIGTERM, on_signal)
    from training import remote

    return remote.oversee(folder, token, told)


def train(folder: Path, token: str) -> str:
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
        pushing = pushing_of(folder, token)
        training = True

        def on_step(*_: Any) -> None:
            if told:
                raise Stopped
            if pushing and pushing.due() and trainer.run.snapshots():
                # Should it take too long, and this process be told to stop and killed, nothing is lost.
                if trainer.finite():
                    trainer.save()
                pushing.attempt()

        on_step()
        trainer.train(on_step)
        # Whoever stops it waits longer then.
        with contextlib.suppress(RunError, OSError), records.changing(folder.name) as record:
            record["keeping"] = True
        promote(folder)
        if trainer.step < trainer.recipe.steps:
            raise Stopped
        if progress.kind_of(records.read(folder.name)) == "classifier":
            from training.held_out import measure

            measure(folder, on_step)
        how = "finished"
    except Stopped:
        how = "stopped"
    if training and pushing:
        pushing.attempt()
    return how


def pushing_of(folder: Path, token: str) -> Any:
    """What pushes the run's snapshots to its owner's repository; None where they did not ask for it, or have gone."""
    job = folder.name
    if "push" not in records.read(job):
        return None
    from training.pushing import Pushing, note_push, push_model

    if not token:
        note_push(job, HubError("error.remote.sign_in"))
        return None
    return Pushing(folder, lambda: push_model(job, token), lambda made: note_push(job, made))


def give_way(niceness: int) -> None:
    """Take a low priority, so that the app's answers stay quick; with 0, an ordinary one where that is allowed."""
    with contextlib.suppress(OSError, AttributeError):
        os.nice(niceness - os.nice(0))
    # Where Linux groups processes by session, only the group's niceness counts against other sessions.
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(niceness))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.stdin.read().strip()))
