"""How a job is doing, out of its record, its run directory and its process."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from gan.errors import CantingError
from gan.settings import runs_folder
from gan.texts import LANGUAGES, say
from training import processes, records
from training.promote import checkpoint_of
from training.runs import Run

LAST_LINES = 8


@dataclass(frozen=True)
class Status:
    """What is known of one job.

    Attributes:
        kind: of the model that it makes, "generator" or "classifier".
        state: waiting, running, stopping, stopped, finished or failed.
        seconds: of training so far; ``seconds_left`` at the present speed, None while that is unknown.
        images_per_second: over the last few steps.
        ahead: how many jobs come before it while it waits.
        memory: bytes that its process holds while it trains.
        published: whether its model has been published; such a job is never deleted but by its owner.
        place: the hardware of the Hugging Face job that trains it; empty for this machine.
        note: what that job said last, or what came of the last push of a snapshot.
        reason: why it failed: a sentence, or the last lines of its log.
        checkpoint: the folder of the model it made, if it has made one.
    """

    id: str
    title: str
    base: str
    kind: str
    state: str
    step: int
    steps: int
    pictures: int
    created: float
    seconds: float = 0.0
    images_per_second: float | None = None
    ahead: int = 0
    memory: int | None = None
    published: bool = False
    place: str = ""
    note: str = ""
    seconds_left: float | None = None
    reason: str = ""
    checkpoint: Path | None = None


def describe(record: dict[str, Any], language: str = "en") -> Status:
    """A record and what lies in its run directory, as a :class:`Status`."""
    folder = runs_folder() / record["id"]
    run = Run(folder)
    lines = run.metrics()
    state = processes.state_of(record)
    speed, left = None, None
    recent = lines[-10:]
    if state == "running" and len(recent) > 1 and recent[-1]["seconds"] > recent[0]["seconds"]:
        seconds = recent[-1]["seconds"] - recent[0]["seconds"]
        speed = (recent[-1]["images"] - recent[0]["images"]) / seconds
        left = (record["steps"] - recent[-1]["step"]) * seconds / (recent[-1]["step"] - recent[0]["step"])
    return Status(
        id=record["id"],
        title=record["title"],
        base=record["base"],
        kind=kind_of(record),
        state=state,
        step=int(lines[-1]["step"]) if lines else 0,
        steps=record["steps"],
        pictures=record["pictures"],
        created=record["created"],
        seconds=lines[-1]["seconds"] if lines else 0.0,
        images_per_second=speed,
        ahead=ahead_of(record) if state == "waiting" else 0,
        memory=memory_of(record) if state == "running" else None,
        published="published" in record,
        place=record.get("remote", {}).get("flavor", ""),
        note=note_of(record, folder, language),
        seconds_left=left,
        reason=reason_of(record, folder, language) if state == "failed" else "",
        checkpoint=checkpoint_of(folder),
    )


def kind_of(record: dict[str, Any]) -> str:
    """What a job makes, a generator or a classifier."""
    return record.get("kind", "generator")


def ahead_of(record: dict[str, Any]) -> int:
    """How many jobs train or wait before this one."""
    states = [(one["ticket"], processes.state_of(one)) for one in records.every() if "remote" not in one]
    return sum(state != "waiting" or ticket < record["ticket"] for ticket, state in states if state in processes.ACTIVE)


def memory_of(record: dict[str, Any]) -> int | None:
    """Bytes that a job's process holds in memory; None when it is gone."""
    process = processes.process_of(record)
    try:
        return process.memory_info().rss if process else None
    except psutil.Error:
        return None


def reason_of(record: dict[str, Any], folder: Path, language: str = "en") -> str:
    """Why a job failed: the error's sentence where it had one, else the last lines of its log."""
    known = record.get("ended", {}).get("reason")
    if known:
        return known.get(language[:2].lower(), known["en"])
    died = [] if "ended" in record else [say("train.died_remote" if "remote" in record else "train.died", language)]
    return "\n".join([*died, *last_lines(folder)])


def note_of(record: dict[str, Any], folder: Path, language: str = "en") -> str:
    """What there is to say of a job's dealings with the Hub."""
    if "remote" in record and processes.state_of(record) in processes.ACTIVE:
        return "".join(last_lines(folder)[-1:])
    note = record.get("push", {}).get("note", {})
    return note.get(language[:2].lower(), note.get("en", ""))


def last_lines(folder: Path) -> list[str]:
    """The last lines of a job's log."""
    try:
        with (folder / "log.txt").open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - 8000))
            return log.read().decode("utf-8", "replace").splitlines()[-LAST_LINES:]
    except OSError:
        return []


def in_all_languages(error: CantingError) -> dict[str, str]:
    """An error's sentence by language, as it is kept for whoever looks later."""
    return {code: error.say(code) for code in LANGUAGES}
