"""Trainings in the background: start, stop, resume, rename, repeat, delete, list.

A job is a run directory (see ``training.runs``) with three things more:

    job.json     what was asked for, by whom, and the process that trains it
    pictures/    copies of the pictures handed in, a classifier's in a folder for each class
    checkpoint/  the model it made, a checkpoint folder, once it has ended (``training.promote``)

The process (``training.worker``) is detached from whoever starts it and outlives the app. One trains at a time, more
by a setting, the others wait in order; whoever looks at the jobs, every process that ends, and the app every few
seconds, starts the next. One that trains elsewhere (``training.remote``) waits for nobody.
``training.records`` is what is written of jobs, ``training.processes`` what runs, ``training.progress`` how it goes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from gan import catalog
from gan.errors import CantingError, HubError, RunError
from gan.settings import (
    ROOT,
    checkpoints_folder,
    data_folder,
    run_slots,
    runs_folder,
    training_allowed,
)
from training import bases, basket, labels, processes, progress, records, retention
from training.intake import LEAST_PICTURES, TooFew, UploadError, take_in
from training.place import Place, usable
from training.promote import checkpoint_of, renamed
from training.promote import promote as promote_snapshot
from training.runs import Run

log = logging.getLogger("canting")
MOST_STEPS = 100_000
# Without steps: 1000 for a generator, as many as its recipe says for a classifier.
DEFAULTS = {"steps": None, "name": "", "mirror": None, "keep_all": False}
# Of the classes' names in the title of a run that was given none.
LONGEST_SUBJECT = 40
# The owners' tokens by job, for as long as this process lives: they are never written anywhere.
_tokens: dict[str, str] = {}


def check_settings(settings: dict[str, Any] | None) -> dict[str, Any]:
    """Settings with defaults filled in: steps (1 to 100,000), name (up to 60 characters), mirror, keep_all.

    Raises:
        RunError: naming the setting that cannot be used.
    """
    if not isinstance(settings, dict | None):
        raise RunError("error.job.settings", known=", ".join(DEFAULTS))
    checked = {**DEFAULTS, **(settings or {})}
    for key in checked:
        if key not in DEFAULTS:
            raise RunError("error.job.setting", setting=key, known=", ".join(DEFAULTS))
    steps = checked["steps"]
    if isinstance(steps, float) and steps.is_integer():
        checked["steps"] = steps = int(steps)
    if steps is not None and (not isinstance(steps, int) or isinstance(steps, bool) or not 1 <= steps <= MOST_STEPS):
        raise RunError("error.job.steps", most=MOST_STEPS)
    if checked["mirror"] not in (None, True, False):
        raise RunError("error.job.mirror")
    if checked["keep_all"] not in (True, False):
        raise RunError("error.job.keep_all")
    name = checked["name"]
    # Half a character, which programs can send, is no text that could be written down.
    if not isinstance(name, str) or len(name) > 60 or name != name.encode("utf-8", "ignore").decode():
        raise RunError("error.job.name")
    return checked


# What can be done with jobs -------------------------------------------------------------------------------------


def start(
    base: str,
    pictures: Path | str | Sequence[Path | str],
    settings: dict[str, Any] | None = None,
    owner: str = "",
    place: Place | None = None,
) -> str:
    """Begin to train ``base`` on what the audit keeps of ``pictures``; returns the new job's id.

    Args:
        base: a name of :func:`training.bases.generators` or :func:`training.bases.classifiers`.
        pictures: a folder, a zip, or a list of picture files and zips; see ``training.intake``, and
            ``training.labels`` for the classes that a classifier is taught.
        settings: see :func:`check_settings`. With ``keep_all`` nothing is left out.
        owner: whoever may see the job in :func:`list_jobs`.
        place: where it trains; on this machine when absent.

    Raises:
        RunError: for an unknown base or an unusable setting, when the owner has too many jobs, or training is off.
        HubError: when the place needs a token and there is none.
        DataError: for a file that is no picture, fewer than 10 that can be trained on, or classes that cannot be.
    """
    check_allowed()
    wanted = check_settings(settings)
    classes = bases.entry(base).kind == "classifier"
    runs_folder().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=runs_folder(), prefix=records.MAKING) as temporary:
        folder = Path(temporary)
        taken = take_in(pictures, folder)
        for one in taken:
            if one.error:
                raise UploadError(one.name, one.error) from one.error
        items = [basket.item(one) for one in taken]
        if wanted["keep_all"]:
            labels.unify(items)
        else:
            basket.judge(folder, items)
            items = labels.judge(items) if classes else items
        kept = [one for one in items if not one.rule]
        if classes:
            labels.check([one.label for one in kept])
        elif len(kept) < LEAST_PICTURES:
            raise TooFew(len(taken), Counter(one.rule for one in items if one.rule))
        return begin(base, [folder / one.copy for one in kept], settings, owner, [one.label for one in kept], place)


def begin(
    base: str,
    copies: Sequence[Path],
    settings: dict[str, Any] | None,
    owner: str,
    classes: Sequence[str] = (),
    place: Place | None = None,
    language: str = "en",
) -> str:
    """Queue a job on pictures that ``training.intake`` has prepared and somebody has chosen; returns its id.

    Args:
        classes: of each picture, as ``training.labels`` writes them; a generator has no use for them.
        language: of the title of a job that is given none.

    Raises:
        RunError, HubError: as :func:`start`; also for a classifier that is to train elsewhere.
        DataError: for classes that no classifier can learn.
    """
    check_allowed()
    wanted = check_settings(settings)
    kind = bases.entry(base).kind
    place = place or Place()
    if kind == "classifier" and place.flavor:
        raise RunError("error.remote.classifier")
    placed = place.record()
    job = secrets.token_hex(12)
    home, facts = runs_folder() / job, {}
    if kind == "classifier":
        labels.check(classes)
        recipe = bases.own_classes(base, home / "pictures", wanted["steps"], wanted["mirror"])
        facts = {"classes": sorted(set(classes)), "features": str(home / records.FEATURES)}
        names = [f"{label}/{number:04d}.jpg" for number, label in enumerate(classes, start=1)]
        # Of the base only the frozen part stays: its title would name classes that are not these.
        subject = ", ".join(facts["classes"])
        subject = subject if len(subject) <= LONGEST_SUBJECT else f"{subject[:LONGEST_SUBJECT]}…"
    else:
        recipe = bases.fine_tuning(base, home / "pictures", wanted["steps"] or bases.DEFAULT_STEPS, wanted["mirror"])
        facts = bases.trained_before(base)
        names = [f"{number:04d}.jpg" for number in range(1, len(copies) + 1)]
        subject = bases.entry(base).titled(language)
    folder = runs_folder() / f"{records.MAKING}{job}"
    try:
        for copy, name in zip(copies, names, strict=True):
            (folder / "pictures" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(copy, folder / "pictures" / name)
        Run(folder).create(recipe, started=time.time(), **facts)
        # Not before: the run that makes room may be the one whose pictures these are.
        with records.locked():
            retention.make_room(owner)
            record = {
                "id": job,
                "owner": owner,
                "title": wanted["name"].strip() or f"{subject}, {time.strftime('%d.%m. %H:%M')}",
                "base": base,
                "kind": kind,
                "settings": wanted,
                "pictures": len(copies),
                "steps": recipe.steps,
                "created": time.time(),
                "ticket": records.next_ticket(),
                **placed,
            }
            records.write(record, folder)
            folder.rename(runs_folder() / job)
            take_up(record, place.token)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    advance()
    return job


def stop(job: str) -> None:
    """Ask a job to save and end; after 20 seconds it is killed, after two minutes where it is making its model by then,
    or a few elsewhere. A waiting one leaves the queue; one that has ended stays as it is.

    Raises:
        RunError: when there is no such job.
    """
    with records.changing(job) as record:
        state = processes.state_of(record)
        if state == "waiting":
            record["ended"] = {"how": "stopped"}
        elif state == "running":
            # The machine's own seconds, which all processes share and no clock moves.
            record["stopping"] = time.monotonic()
            with contextlib.suppress(psutil.NoSuchProcess):
                # It may have ended since.
                if process := processes.process_of(record):
                    process.terminate()
            # Should this app end first, whoever looks at the jobs next does it.
            timer = threading.Timer(processes.stop_seconds(record), advance)
            timer.daemon = True
            timer.start()


def stop_all() -> int:
    """Stop every job and wait until none of their processes is left; how many there were, waiting ones included.

    Those that wait come first: no place that becomes free is to start one.
    """
    going = [record for record in records.every() if processes.state_of(record) in processes.ACTIVE]
    for record in sorted(going, key=lambda record: processes.state_of(record) != "waiting"):
        stop(record["id"])
    while any(processes.process_of(record) for record in records.every()):
        advance()
        time.sleep(0.2)
    return len(going)


def resume(job: str, token: str | None = None) -> None:
    """Queue a job that stopped or failed; it goes on exactly from its last saved state.

    Args:
        token: as in :class:`training.place.Place`, for a job that needs one.

    Raises:
        RunError: when there is no such job, it is active, or it is finished, or training is off.
        HubError: when it trains elsewhere and there is no token.
    """
    check_allowed()
    with records.changing(job) as record:
        state = processes.state_of(record)
        if state in processes.ACTIVE:
            raise RunError("error.job.active")
        if state == "finished":
            raise RunError("error.job.finished")
        if "remote" in record and not usable(token):
            raise HubError("error.remote.sign_in")
        for key in ("process", "stopping", "keeping", "ended"):
            record.pop(key, None)
        record["ticket"] = records.next_ticket()
        take_up(record, token)
    advance()


def repeat(job: str, base: str, settings: dict[str, Any], place: Place | None = None, language: str = "en") -> str:
    """Queue a new job on the same pictures with another base, other settings or elsewhere; returns its id.

    Raises:
        RunError: when there is no such job, for an unknown base or an unusable setting, or when training is off.
        HubError: as :func:`start`.
        DataError: when a classifier is to learn pictures without classes.
    """
    record = records.read(job)
    pictures = records.folder_of(job) / "pictures"
    copies = sorted(pictures.rglob("*.jpg"), key=lambda copy: copy.name)
    # A generator's pictures lie in no class.
    classes = ["" if copy.parent == pictures else copy.parent.name for copy in copies]
    settings = {**record.get("settings", {}), **settings}
    return begin(base, copies, settings, record["owner"], classes, place, language)


def rename(job: str, title: str) -> None:
    """Give a job, and the model it has made, another title of 1 to 60 characters.

    Raises:
        RunError: when there is no such job, the title is empty or too long, or its model is just being made.
    """
    title = check_settings({"name": title})["name"].strip()
    if not title:
        raise RunError("error.job.no_name")
    with records.changing(job) as record:
        record["title"] = title
    renamed(records.folder_of(job))


def delete(job: str) -> None:
    """Delete a job with its pictures and its model; one that waits leaves the queue.

    Raises:
        RunError: when there is no such job, or it is training, here or on Hugging Face.
    """
    with records.locked():
        gone = put_aside(job)
    shutil.rmtree(gone, ignore_errors=True)


def put_aside(job: str) -> Path:
    """Take a job out of everyone's sight, in one move, for whoever holds the records' lock; the folder to delete then.

    Raises:
        RunError: as :func:`delete`.
    """
    record = records.read(job)
    if processes.state_of(record) in ("running", "stopping"):
        raise RunError("error.job.delete_active")
    if processes.astray(record):
        raise RunError("error.job.delete_astray")
    return records.folder_of(job).rename(runs_folder() / f"{records.DELETING}{job}")


def promote(job: str, step: int) -> None:
    """Make an earlier snapshot the job's model.

    Raises:
        RunError: when there is no such job or snapshot, or the job is going on: it would overwrite the choice.
    """
    record = records.read(job)
    if processes.state_of(record) in processes.ACTIVE:
        raise RunError("error.job.promote_active")
    folder = records.folder_of(job)
    # The pictures of its beginning are kept, but no network.
    if not any(path.stem == f"step-{step:06d}" for path in Run(folder).snapshots()):
        raise RunError("error.job.no_snapshot", step=step)
    promote_snapshot(folder, step)


def mark_published(job: str) -> None:
    """Note that a job's model has been published."""
    with records.changing(job) as record:
        record["published"] = True


def status(job: str, language: str = "en") -> progress.Status:
    """How a job stands. Raises RunError when there is no such job."""
    try_to_advance()
    return progress.describe(records.read(job), language)


def list_jobs(owner: str | None = None, language: str = "en") -> list[progress.Status]:
    """The jobs of ``owner``, newest first; all there are for None."""
    try_to_advance()
    mine = [record for record in records.every() if owner is None or record["owner"] == owner]
    mine.sort(key=lambda record: record["created"], reverse=True)
    return [progress.describe(record, language) for record in mine]


def check_allowed() -> None:
    """Raises RunError where the owner of the app has turned training off."""
    if not training_allowed():
        raise RunError("error.job.off")


def advance() -> None:
    """Start the next waiting jobs while there are places, and kill what was told to stop too long ago. A job whose
    token another app has is left to it."""
    if not any(processes.state_of(record) in ("waiting", "stopping") for record in records.every()):
        return
    with records.locked():
        everything = records.every()
        states = {record["id"]: processes.state_of(record) for record in everything}
        for record in everything:
            patience = processes.stop_seconds(record)
            if states[record["id"]] == "stopping" and time.monotonic() - record["stopping"] > patience:
                with contextlib.suppress(psutil.NoSuchProcess):
                    if process := processes.process_of(record):
                        process.kill()
        slots = run_slots() if training_allowed() else 0
        here = [record for record in everything if "remote" not in record]
        busy = sum(states[record["id"]] in ("running", "stopping") for record in here)
        waiting = [record for record in here if states[record["id"]] == "waiting"]
        waiting = [record for record in waiting if not left_to_another(record)]
        for record in sorted(waiting, key=lambda record: record["ticket"])[: max(0, slots - busy)]:
            record["process"] = spawn(record["id"])
            try:
                records.write(record)
            except OSError:
                # Nobody would know of it, and the next look would start another.
                if process := processes.process_of(record):
                    process.kill()
                raise


def try_to_advance() -> None:
    """:func:`advance`, where a full disk or a busy lock must not keep anyone from seeing, or deleting, their runs:
    :func:`watch` goes on trying."""
    with contextlib.suppress(CantingError, OSError):
        advance()


def watch(seconds: float = 5) -> None:
    """Keep the queue moving and what is too old deleted, with or without a page open; never returns."""
    while True:
        # A full disk or a busy lock now is no reason to give up for good, nor is anything else.
        try:
            advance()
            retention.sweep()
        except (CantingError, OSError):
            pass
        except Exception:
            log.exception("watch failed")
        time.sleep(seconds)


# Processes ------------------------------------------------------------------------------------------------------


def take_up(record: dict[str, Any], token: str | None) -> None:
    """Keep a job's token, and start the job at once where it takes no place from those that train here."""
    if token:
        _tokens[record["id"]] = token
        # Other apps on the same runs leave it to this one.
        record["app"] = processes.identity(os.getpid())
    try:
        if "remote" in record:
            record["process"] = spawn(record["id"])
    except OSError:
        # It takes no turn in the queue: nobody else would start it.
        record["ended"] = {"how": "failed"}
        raise
    finally:
        records.write(record)


def token_of(record: dict[str, Any]) -> str | None:
    """The token that a job's worker is given; None for a job that needs none, and where there is none."""
    return usable(_tokens.get(record["id"])) if "remote" in record or "push" in record else None


def left_to_another(record: dict[str, Any]) -> bool:
    """Whether another app, which lives, has the token of a job that is to have one."""
    app = record.get("app")
    return bool(app and app["pid"] != os.getpid() and processes.living(app) and not token_of(record))


def spawn(job: str) -> dict[str, Any]:
    """Start the worker of a job, detached; returns its process id and start time."""
    folder = records.folder_of(job)
    token = token_of(records.read(job)) or ""
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
    # What a process does not have in its environment, neither it nor its children can print.
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        environment.pop(name, None)
    with (folder / "log.txt").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "training.worker", str(folder)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            cwd=ROOT,
            env=environment,
            start_new_session=True,
        )
    with contextlib.suppress(BrokenPipeError), process.stdin:
        process.stdin.write(token.encode())
    # So that no zombie stays behind while this app lives.
    threading.Thread(target=process.wait, daemon=True).start()
    return processes.identity(process.pid) or {"pid": process.pid, "began": 0.0}


def own_models(owner: str) -> list[catalog.Entry]:
    """The models that the owner's jobs have made, newest first, each under a name of its own (see ``gan.own``)."""
    mine = sorted((one for one in records.every() if owner and one["owner"] == owner), key=lambda one: -one["created"])
    found = []
    for record in mine:
        folder = checkpoint_of(runs_folder() / record["id"])
        if folder:
            with contextlib.suppress(CantingError):
                # Not the whole id: pictures and links carry the name, and whoever knows the id may stop the job.
                name = f"mine-{record['id'][:8]}"
                found.append(dataclasses.replace(catalog.entry(folder), name=name, title=record["title"]))
    return found
