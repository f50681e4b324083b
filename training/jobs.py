"""Trainings in the background: start, stop, resume, list.

A job is a run directory (see ``training.runs``) with three things more:

    job.json     what was asked for, by whom, and the process that trains it
    pictures/    copies of the pictures handed in
    checkpoint/  the model it made, a checkpoint folder, once it has ended

The process (``training.worker``) is detached from whoever starts it and outlives the app. One trains at a time, the
others wait; whoever looks at the jobs, and every process that ends, starts the next. Which process is whose is told by
process id and start time together, so a reused id is not mistaken for the job.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout

from gan import catalog
from gan.checkpoint import read_config
from gan.errors import CantingError, RunError
from gan.files import atomic
from gan.settings import ROOT, checkpoints_folder, data_folder, runs_folder
from gan.texts import LANGUAGES, say
from training.intake import take_in
from training.recipes import RECIPES, GanRecipe
from training.runs import Run

SLOTS = 1
STOP_SECONDS = 20
MOST_STEPS = 100_000
DEFAULT_STEPS = 1000
LAST_LINES = 8
ACTIVE = ("waiting", "running", "stopping")


@dataclass(frozen=True)
class Status:
    """What is known of one job.

    Attributes:
        state: waiting, running, stopping, stopped, finished or failed.
        seconds: of training so far; ``seconds_left`` at the present speed, None while that is unknown.
        images_per_second: over the last few steps.
        reason: why it failed: a sentence, or the last lines of its log.
        checkpoint: the folder of the model it made, if it has made one.
    """

    id: str
    title: str
    base: str
    state: str
    step: int
    steps: int
    pictures: int
    created: float
    seconds: float = 0.0
    images_per_second: float | None = None
    seconds_left: float | None = None
    reason: str = ""
    checkpoint: Path | None = None


# What a job is made of ------------------------------------------------------------------------------------------


def bases() -> list[catalog.Entry]:
    """The models that can be fine-tuned: unconditional generators whose recipe is known."""
    return [
        entry
        for entry in catalog.entries("generator")
        if not entry.classes and isinstance(RECIPES.get(entry.recipe), GanRecipe)
    ]


def fine_tuning(base: str, folder: Path, steps: int, mirror: bool | None = None) -> GanRecipe:
    """The recipe that carries ``base`` over to the pictures in ``folder``: its own, shorter and slower.

    Raises:
        RunError: when ``base`` is not one of :func:`bases`.
    """
    known = {entry.name: entry for entry in bases()}
    if base not in known:
        raise RunError("error.job.base", name=base, known=", ".join(known) or "–")
    config = read_config(known[base].folder)
    recipe = RECIPES[config["recipe"]]
    # At most twenty snapshots: enough to choose from, and a run stays within a few hundred megabytes.
    snapshot_every = max(1, steps // 20)
    return dataclasses.replace(
        recipe,
        source=str(folder),
        start=base,
        network=config["network"],
        network_args=config["arguments"],
        resolution=config.get("resolution", recipe.resolution),
        flip=recipe.flip if mirror is None else mirror,
        # The features are there already: half the rate moves them without washing them out.
        rate_g=recipe.rate_g / 2,
        rate_d=recipe.rate_d / 2,
        steps=steps,
        low_steps=0,
        snapshot_every=snapshot_every,
        save_every=min(50, snapshot_every),
    )


def check_settings(settings: dict[str, Any] | None) -> dict[str, Any]:
    """Settings with defaults filled in: steps (1 to 100,000), name (up to 60 characters), mirror.

    Raises:
        RunError: naming the setting that cannot be used.
    """
    checked = {"steps": DEFAULT_STEPS, "name": "", "mirror": None, **(settings or {})}
    for key in checked:
        if key not in ("steps", "name", "mirror"):
            raise RunError("error.job.setting", setting=key, known="steps, name, mirror")
    steps = checked["steps"]
    if isinstance(steps, float) and steps.is_integer():
        checked["steps"] = steps = int(steps)
    if not isinstance(steps, int) or isinstance(steps, bool) or not 1 <= steps <= MOST_STEPS:
        raise RunError("error.job.steps", most=MOST_STEPS)
    if checked["mirror"] not in (None, True, False):
        raise RunError("error.job.mirror")
    if not isinstance(checked["name"], str) or len(checked["name"]) > 60:
        raise RunError("error.job.name")
    return checked


# What can be done with jobs -------------------------------------------------------------------------------------


def start(
    base: str, pictures: Path | str | Sequence[Path | str], settings: dict[str, Any] | None = None, owner: str = ""
) -> str:
    """Begin to fine-tune ``base`` on ``pictures``; returns the new job's id at once.

    Args:
        base: a name of :func:`bases`.
        pictures: a folder, a zip, or a list of picture files and zips; see ``training.intake``.
        settings: see :func:`check_settings`.
        owner: whoever may see the job in :func:`list_jobs`.

    Raises:
        RunError: for an unknown base or an unusable setting.
        DataError: for pictures that cannot be used.
    """
    wanted = check_settings(settings)
    job = secrets.token_hex(12)
    folder = runs_folder() / job
    recipe = fine_tuning(base, folder / "pictures", wanted["steps"], wanted["mirror"])
    folder.mkdir(parents=True)
    try:
        count = take_in(pictures, folder / "pictures")
        Run(folder).create(recipe, started=time.time())
        with changing(job, new=True) as record:
            record.update(
                id=job,
                owner=owner,
                title=wanted["name"].strip()
                or f"{catalog.entry(catalog.find(base)).title}, {time.strftime('%d.%m. %H:%M')}",
                base=base,
                pictures=count,
                steps=recipe.steps,
                created=time.time(),
                ticket=next_ticket(),
            )
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    advance()
    return job


def stop(job: str) -> None:
    """Ask a job to save and end; after 20 seconds it is killed. A waiting one leaves the queue; one that has ended
    stays as it is.

    Raises:
        RunError: when there is no such job.
    """
    with changing(job) as record:
        state = state_of(record)
        if state == "waiting":
            record["ended"] = {"how": "stopped"}
        elif state == "running":
            record["stopping"] = time.time()
            with contextlib.suppress(psutil.NoSuchProcess):
                process_of(record).terminate()
            # Should this app end first, whoever looks at the jobs next does it.
            timer = threading.Timer(STOP_SECONDS, advance)
            timer.daemon = True
            timer.start()


def resume(job: str) -> None:
    """Queue a job that stopped or failed; it goes on exactly from its last saved state.

    Raises:
        RunError: when there is no such job, it is active, or it is finished.
    """
    with changing(job) as record:
        state = state_of(record)
        if state in ACTIVE:
            raise RunError("error.job.active")
        if state == "finished":
            raise RunError("error.job.finished")
        for key in ("process", "stopping", "ended"):
            record.pop(key, None)
        record["ticket"] = next_ticket()
    advance()


def status(job: str, language: str = "en") -> Status:
    """How a job stands. Raises RunError when there is no such job."""
    advance()
    return describe(read(job), language)


def list_jobs(owner: str | None = None, language: str = "en") -> list[Status]:
    """The jobs of ``owner``, newest first; all there are for None."""
    advance()
    mine = [record for record in records() if owner is None or record["owner"] == owner]
    return [describe(record, language) for record in sorted(mine, key=lambda record: record["created"], reverse=True)]


def advance() -> None:
    """Start the next waiting job if none trains, and kill one that was told to stop more than 20 seconds ago."""
    if not any(state_of(record) in ("waiting", "stopping") for record in records()):
        return
    with locked():
        everything = records()
        states = {record["id"]: state_of(record) for record in everything}
        for record in everything:
            if states[record["id"]] == "stopping" and time.time() - record["stopping"] > STOP_SECONDS:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process_of(record).kill()
        busy = sum(state in ("running", "stopping") for state in states.values())
        waiting = [record for record in everything if states[record["id"]] == "waiting"]
        for record in sorted(waiting, key=lambda record: record["ticket"])[: max(0, SLOTS - busy)]:
            record["process"] = spawn(record["id"])
            write(record)


# Processes ------------------------------------------------------------------------------------------------------


def spawn(job: str) -> dict[str, Any]:
    """Start the worker of a job, detached; returns its process id and start time."""
    folder = folder_of(job)
    environment = {
        **os.environ,
        "CANTING_RUNS": str(runs_folder()),
        "CANTING_CHECKPOINTS": str(checkpoints_folder()),
        "CANTING_DATA": str(data_folder()),
        # The other half stays free for the app. Threads that must wait for each other, as these do, would also come
        # to a standstill on cores that others keep busy.
        "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // 2)),
        "PYTHONUNBUFFERED": "1",
    }
    # Training needs no token, and what a process does not have it cannot print.
    environment.pop("HF_TOKEN", None)
    with (folder / "log.txt").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "training.worker", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=ROOT,
            env=environment,
            start_new_session=True,
        )
    # So that no zombie stays behind while this app lives.
    threading.Thread(target=process.wait, daemon=True).start()
    return identity(process.pid) or {"pid": process.pid, "began": 0.0}


def identity(pid: int) -> dict[str, Any] | None:
    """A process id with its start time, None when there is no such process."""
    try:
        return {"pid": pid, "began": psutil.Process(pid).create_time()}
    except psutil.Error:
        return None


def process_of(record: dict[str, Any]) -> psutil.Process | None:
    """The living process of a job. One that merely has the same id is told by its start time and command."""
    recorded = record.get("process")
    if not recorded:
        return None
    try:
        process = psutil.Process(recorded["pid"])
        # The start time is counted from the boot time, which the system gives in whole seconds.
        same = abs(process.create_time() - recorded["began"]) < 2
        if same and process.status() != psutil.STATUS_ZOMBIE and any(record["id"] in a for a in process.cmdline()):
            return process
    except psutil.Error:
        pass
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
    return "stopped" if stopping else "failed"


# Records --------------------------------------------------------------------------------------------------------


def folder_of(job: str) -> Path:
    """The run directory of a job id. Raises RunError for what is no id, or no job's."""
    folder = runs_folder() / str(job)
    if not re.fullmatch("[0-9a-f]{24}", str(job)) or not (folder / "job.json").is_file():
        raise RunError("error.job.unknown")
    return folder


def read(job: str) -> dict[str, Any]:
    """A job's record. Raises RunError when there is none that can be read."""
    try:
        return json.loads((folder_of(job) / "job.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError("error.job.unknown") from error


def records() -> list[dict[str, Any]]:
    """Every job's record; folders that are no jobs are passed over."""
    found = []
    for path in runs_folder().glob("*/job.json"):
        with contextlib.suppress(RunError):
            found.append(read(path.parent.name))
    return found


def write(record: dict[str, Any]) -> None:
    with atomic(runs_folder() / record["id"] / "job.json") as path:
        path.write_text(json.dumps(record, indent=1, ensure_ascii=False), encoding="utf-8")


def next_ticket() -> int:
    """A place at the end of the queue. Not a time: clocks jump."""
    return 1 + max((record["ticket"] for record in records()), default=0)


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
def changing(job: str, new: bool = False) -> Iterator[dict[str, Any]]:
    """A job's record, written back on leaving without an error."""
    with locked():
        record = {} if new else read(job)
        yield record
        write(record)


# Reports --------------------------------------------------------------------------------------------------------


def describe(record: dict[str, Any], language: str = "en") -> Status:
    """A record and what lies in its run directory, as a :class:`Status`."""
    folder = runs_folder() / record["id"]
    run = Run(folder)
    lines = run.metrics()
    state = state_of(record)
    speed, left = None, None
    recent = lines[-10:]
    if state == "running" and len(recent) > 1 and recent[-1]["seconds"] > recent[0]["seconds"]:
        seconds = recent[-1]["seconds"] - recent[0]["seconds"]
        speed = (recent[-1]["images"] - recent[0]["images"]) / seconds
        left = (record["steps"] - recent[-1]["step"]) * seconds / (recent[-1]["step"] - recent[0]["step"])
    checkpoint = folder / "checkpoint"
    return Status(
        id=record["id"],
        title=record["title"],
        base=record["base"],
        state=state,
        step=int(lines[-1]["step"]) if lines else 0,
        steps=record["steps"],
        pictures=record["pictures"],
        created=record["created"],
        seconds=lines[-1]["seconds"] if lines else 0.0,
        images_per_second=speed,
        seconds_left=left,
        reason=reason_of(record, folder, language) if state == "failed" else "",
        checkpoint=checkpoint if (checkpoint / "config.json").is_file() else None,
    )


def reason_of(record: dict[str, Any], folder: Path, language: str = "en") -> str:
    """Why a job failed: the error's sentence where it had one, else the last lines of its log."""
    known = record.get("ended", {}).get("reason")
    if known:
        return known.get(language[:2].lower(), known["en"])
    try:
        with (folder / "log.txt").open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - 8000))
            lines = log.read().decode("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    died = [] if "ended" in record else [say("train.died", language)]
    return "\n".join([*died, *lines[-LAST_LINES:]])


def in_all_languages(error: CantingError) -> dict[str, str]:
    """An error's sentence by language, as it is kept for whoever looks later."""
    return {code: error.say(code) for code in LANGUAGES}
