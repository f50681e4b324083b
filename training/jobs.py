"""Trainings in the background: start, stop, resume, rename, repeat, delete, list.

A job is a run directory (see ``training.runs``) with three things more:

    job.json     what was asked for, by whom, and the process that trains it
    pictures/    copies of the pictures handed in, a classifier's in a folder for each class
    checkpoint/  the model it made, a checkpoint folder, once it has ended (``training.promote``)

The process (``training.worker``) is detached from whoever starts it and outlives the app. One trains at a time, more
by a setting, the others wait in order; whoever looks at the jobs, every process that ends, and the app every few
seconds, starts the next. One that trains elsewhere (``training.remote``) waits for nobody. Which process is whose is
told by process id and start time together, so a reused id is not mistaken for the job.
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
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout

from gan import catalog
from gan.checkpoint import read_config
from gan.errors import CantingError, HubError, RunError
from gan.files import atomic
from gan.settings import (
    ROOT,
    checkpoints_folder,
    data_folder,
    hub_patience,
    run_slots,
    runs_folder,
    training_allowed,
)
from gan.texts import LANGUAGES, say
from training import basket, labels, retention
from training.intake import LEAST_PICTURES, TooFew, UploadError, take_in
from training.place import Place, usable
from training.promote import checkpoint_of, entitle
from training.promote import promote as promote_snapshot
from training.recipes import RECIPES, ClassifierRecipe, GanRecipe
from training.runs import Run

STOP_SECONDS = 20
MOST_STEPS = 100_000
DEFAULT_STEPS = 1000
LAST_LINES = 8
ACTIVE = ("waiting", "running", "stopping")
# Without steps: 1000 for a generator, as many as its recipe says for a classifier.
DEFAULTS = {"steps": None, "name": "", "mirror": None, "keep_all": False}
# Of the classes' names in the title of a run that was given none.
LONGEST_SUBJECT = 40
# The parts of a classifier's run that only its training needs.
FEATURES, FOLDS = "features", "folds"
# Folders of jobs that are being made or deleted.
MAKING, DELETING = ".new-", ".deleted-"
# The owners' tokens by job, for as long as this process lives: they are never written anywhere.
_tokens: dict[str, str] = {}


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


# What a job is made of ------------------------------------------------------------------------------------------


def bases() -> list[catalog.Entry]:
    """The generators that can be fine-tuned: unconditional ones whose recipe is known."""
    return [
        entry
        for entry in catalog.entries("generator")
        if not entry.classes and isinstance(RECIPES.get(entry.recipe), GanRecipe)
    ]


def classifier_bases() -> list[catalog.Entry]:
    """The classifiers that can be taught other classes: those with a frozen part; the judges only measure."""
    recipes = ((entry, RECIPES.get(entry.recipe)) for entry in catalog.entries("classifier"))
    return [
        entry
        for entry, recipe in recipes
        if isinstance(recipe, ClassifierRecipe) and recipe.passes and not entry.name.startswith("judge-")
    ]


def base_entry(name: str) -> catalog.Entry:
    """One of :func:`bases` or :func:`classifier_bases` by name. Raises RunError when there is none such."""
    known = {entry.name: entry for entry in [*bases(), *classifier_bases()]}
    if name not in known:
        raise RunError("error.job.base", name=name, known=", ".join(known) or "–")
    return known[name]


def fine_tuning(base: str, folder: Path, steps: int, mirror: bool | None = None) -> GanRecipe:
    """The recipe that carries ``base`` over to the pictures in ``folder``: its own, shorter and slower.

    Raises:
        RunError: when ``base`` is not one of :func:`bases`.
    """
    config = read_config(base_entry(base).folder)
    recipe = RECIPES[config["recipe"]]
    # At most twenty snapshots: enough to choose from, and a run stays within a few hundred megabytes.
    snapshot_every = max(1, steps // 20)
    return dataclasses.replace(
        recipe,
        source=str(folder),
        start=base,
        network=config["network"],
        network_args=config["arguments"],
        # Those that the base was trained against, where it ships them: they know the features already.
        discriminators=config.get("discriminators", recipe.discriminators),
        resolution=config.get("resolution", recipe.resolution),
        flip=recipe.flip if mirror is None else mirror,
        # The features are there already: half the rate moves them without washing them out.
        rate_g=recipe.rate_g / 2,
        rate_d=recipe.rate_d / 2,
        steps=steps,
        low_steps=0,
        lowest_steps=0,
        snapshot_every=snapshot_every,
        save_every=min(50, snapshot_every),
    )


def own_classes(base: str, folder: Path, steps: int | None = None, mirror: bool | None = None) -> ClassifierRecipe:
    """The recipe that teaches ``base``, of which only the head changes, the classes that are the folders in ``folder``.

    Raises:
        RunError: when ``base`` is not one of :func:`classifier_bases`.
    """
    config = read_config(base_entry(base).folder)
    recipe = RECIPES[config["recipe"]]
    return dataclasses.replace(
        recipe,
        source=str(folder),
        start=base,
        network=config["network"],
        # Whether the base's own idea of "not batik" fits these pictures is seen once it is trained.
        at_large="",
        flip=recipe.flip if mirror is None else mirror,
        steps=steps or recipe.steps,
        save_every=max(1, (steps or recipe.steps) // 10),
    )


def check_settings(settings: dict[str, Any] | None) -> dict[str, Any]:
    """Settings with defaults filled in: steps (1 to 100,000), name (up to 60 characters), mirror, keep_all.

    Raises:
        RunError: naming the setting that cannot be used.
    """
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
    if not isinstance(checked["name"], str) or len(checked["name"]) > 60:
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
        base: a name of :func:`bases` or :func:`classifier_bases`.
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
    classes = base_entry(base).kind == "classifier"
    runs_folder().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=runs_folder(), prefix=MAKING) as temporary:
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
) -> str:
    """Queue a job on pictures that ``training.intake`` has prepared and somebody has chosen; returns its id.

    Args:
        classes: of each picture, as ``training.labels`` writes them; a generator has no use for them.

    Raises:
        RunError, HubError: as :func:`start`; also for a classifier that is to train elsewhere.
        DataError: for classes that no classifier can learn.
    """
    check_allowed()
    wanted = check_settings(settings)
    kind = base_entry(base).kind
    place = place or Place()
    if kind == "classifier" and place.flavor:
        raise RunError("error.remote.classifier")
    placed = place.record()
    job = secrets.token_hex(12)
    home, facts = runs_folder() / job, {}
    if kind == "classifier":
        labels.check(classes)
        recipe = own_classes(base, home / "pictures", wanted["steps"], wanted["mirror"])
        facts = {"classes": sorted(set(classes)), "features": str(home / FEATURES)}
        names = [f"{label}/{number:04d}.jpg" for number, label in enumerate(classes, start=1)]
        # Of the base only the frozen part stays: its title would name classes that are not these.
        subject = ", ".join(facts["classes"])
        subject = subject if len(subject) <= LONGEST_SUBJECT else f"{subject[:LONGEST_SUBJECT]}…"
    else:
        recipe = fine_tuning(base, home / "pictures", wanted["steps"] or DEFAULT_STEPS, wanted["mirror"])
        names = [f"{number:04d}.jpg" for number in range(1, len(copies) + 1)]
        subject = base_entry(base).title
    retention.make_room(owner)
    folder = runs_folder() / f"{MAKING}{job}"
    try:
        for copy, name in zip(copies, names, strict=True):
            (folder / "pictures" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(copy, folder / "pictures" / name)
        Run(folder).create(recipe, started=time.time(), **facts)
        with locked():
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
                "ticket": next_ticket(),
                **placed,
            }
            write(record, folder)
            folder.rename(runs_folder() / job)
            take_up(record, place.token)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    advance()
    return job


def stop(job: str) -> None:
    """Ask a job to save and end; after 20 seconds, or a few minutes elsewhere, it is killed. A waiting one leaves the
    queue; one that has ended stays as it is.

    Raises:
        RunError: when there is no such job.
    """
    with changing(job) as record:
        state = state_of(record)
        if state == "waiting":
            record["ended"] = {"how": "stopped"}
        elif state == "running":
            # The machine's own seconds, which all processes share and no clock moves.
            record["stopping"] = time.monotonic()
            with contextlib.suppress(psutil.NoSuchProcess):
                process_of(record).terminate()
            # Should this app end first, whoever looks at the jobs next does it.
            timer = threading.Timer(stop_seconds(record), advance)
            timer.daemon = True
            timer.start()


def stop_all() -> int:
    """Stop every job and wait until none of their processes is left; how many there were, waiting ones included.

    Those that wait come first: no place that becomes free is to start one.
    """
    going = [record for record in records() if state_of(record) in ACTIVE]
    for record in sorted(going, key=lambda record: state_of(record) != "waiting"):
        stop(record["id"])
    while any(process_of(record) for record in records()):
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
    with changing(job) as record:
        state = state_of(record)
        if state in ACTIVE:
            raise RunError("error.job.active")
        if state == "finished":
            raise RunError("error.job.finished")
        if "remote" in record and not usable(token):
            raise HubError("error.remote.sign_in")
        for key in ("process", "stopping", "ended"):
            record.pop(key, None)
        record["ticket"] = next_ticket()
        take_up(record, token)
    advance()


def repeat(job: str, base: str, settings: dict[str, Any], place: Place | None = None) -> str:
    """Queue a new job on the same pictures with another base, other settings or elsewhere; returns its id.

    Raises:
        RunError: when there is no such job, for an unknown base or an unusable setting, or when training is off.
        HubError: as :func:`start`.
        DataError: when a classifier is to learn pictures without classes.
    """
    record = read(job)
    pictures = folder_of(job) / "pictures"
    copies = sorted(pictures.rglob("*.jpg"), key=lambda copy: copy.name)
    # A generator's pictures lie in no class.
    classes = ["" if copy.parent == pictures else copy.parent.name for copy in copies]
    return begin(base, copies, {**record.get("settings", {}), **settings}, record["owner"], classes, place)


def rename(job: str, title: str) -> None:
    """Give a job, and the model it has made, another title of 1 to 60 characters.

    Raises:
        RunError: when there is no such job, or the title is empty or too long.
    """
    title = check_settings({"name": title})["name"].strip()
    if not title:
        raise RunError("error.job.no_name")
    with changing(job) as record:
        record["title"] = title
    checkpoint = checkpoint_of(folder_of(job))
    if checkpoint:
        entitle(checkpoint, title, record["pictures"])


def delete(job: str) -> None:
    """Delete a job with its pictures and its model; one that waits leaves the queue.

    Raises:
        RunError: when there is no such job, or it is training.
    """
    with locked():
        if state_of(read(job)) in ("running", "stopping"):
            raise RunError("error.job.delete_active")
        # First out of everyone's sight, in one move.
        gone = runs_folder() / f"{DELETING}{job}"
        folder_of(job).rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


def promote(job: str, step: int) -> None:
    """Make an earlier snapshot the job's model.

    Raises:
        RunError: when there is no such job or snapshot, or the job is going on: it would overwrite the choice.
    """
    record = read(job)
    if state_of(record) in ACTIVE:
        raise RunError("error.job.promote_active")
    promote_snapshot(folder_of(job), record["title"], record["pictures"], step)


def mark_published(job: str) -> None:
    """Note that a job's model has been published."""
    with changing(job) as record:
        record["published"] = True


def status(job: str, language: str = "en") -> Status:
    """How a job stands. Raises RunError when there is no such job."""
    advance()
    return describe(read(job), language)


def list_jobs(owner: str | None = None, language: str = "en") -> list[Status]:
    """The jobs of ``owner``, newest first; all there are for None."""
    advance()
    mine = [record for record in records() if owner is None or record["owner"] == owner]
    return [describe(record, language) for record in sorted(mine, key=lambda record: record["created"], reverse=True)]


def check_allowed() -> None:
    """Raises RunError where the owner of the app has turned training off."""
    if not training_allowed():
        raise RunError("error.job.off")


def advance(without_token: bool = True) -> None:
    """Start the next waiting jobs while there are places, and kill what was told to stop too long ago.

    Args:
        without_token: whether that includes a job whose token this process has not got. A worker leaves it to the app,
            which may have it.
    """
    if not any(state_of(record) in ("waiting", "stopping") for record in records()):
        return
    with locked():
        everything = records()
        states = {record["id"]: state_of(record) for record in everything}
        for record in everything:
            if states[record["id"]] == "stopping" and time.monotonic() - record["stopping"] > stop_seconds(record):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process_of(record).kill()
        slots = run_slots() if training_allowed() else 0
        here = [record for record in everything if "remote" not in record]
        busy = sum(states[record["id"]] in ("running", "stopping") for record in here)
        waiting = [record for record in here if states[record["id"]] == "waiting"]
        if not without_token:
            waiting = [record for record in waiting if "push" not in record or token_of(record)]
        for record in sorted(waiting, key=lambda record: record["ticket"])[: max(0, slots - busy)]:
            record["process"] = spawn(record["id"])
            write(record)


def watch(seconds: float = 5) -> None:
    """Keep the queue moving and what is too old deleted, with or without a page open; never returns."""
    while True:
        # A full disk or a busy lock now is no reason to give up for good.
        with contextlib.suppress(CantingError, OSError):
            advance()
            retention.sweep()
        time.sleep(seconds)


# Processes ------------------------------------------------------------------------------------------------------


def take_up(record: dict[str, Any], token: str | None) -> None:
    """Keep a job's token, and start the job at once where it takes no place from those that train here."""
    if token:
        _tokens[record["id"]] = token
    if "remote" in record:
        record["process"] = spawn(record["id"])
        write(record)


def token_of(record: dict[str, Any]) -> str | None:
    """The token that a job's worker is given; None for a job that needs none, and where there is none."""
    return usable(_tokens.get(record["id"])) if "remote" in record or "push" in record else None


def stop_seconds(record: dict[str, Any]) -> float:
    """How long a job may take to stop: one that trains elsewhere has to ask the Hub, and to bring its result home."""
    return 3 * STOP_SECONDS + hub_patience() if "remote" in record else STOP_SECONDS


def spawn(job: str) -> dict[str, Any]:
    """Start the worker of a job, detached; returns its process id and start time."""
    folder = folder_of(job)
    token = token_of(read(job)) or ""
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
    return identity(process.pid) or {"pid": process.pid, "began": 0.0}


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
    recorded = record.get("process")
    if not recorded:
        return None
    try:
        process = psutil.Process(recorded["pid"])
        # The time of the machine's start, which the two are counted from, is given in whole seconds.
        same = abs(since_boot(process) - recorded["began"]) < 2
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
    # A job on the Hub that nobody could cancel goes on, whatever was wanted.
    return "stopped" if stopping and "job" not in record.get("remote", {}) else "failed"


# Records --------------------------------------------------------------------------------------------------------


def own(owner: str, job: str | None) -> str:
    """A job's id. Raises RunError when it is nobody's, or somebody else's than ``owner``'s."""
    if not owner or read(job)["owner"] != owner:
        raise RunError("error.job.unknown")
    return job


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


def write(record: dict[str, Any], folder: Path | None = None) -> None:
    """Store a record in its job's folder, or in another that is to become it."""
    with atomic((folder or runs_folder() / record["id"]) / "job.json") as path:
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
def changing(job: str) -> Iterator[dict[str, Any]]:
    """A job's record, written back on leaving without an error."""
    with locked():
        record = read(job)
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


def own_models(owner: str) -> list[catalog.Entry]:
    """The models that the owner's jobs have made, newest first, each under a name of its own (see ``gan.own``)."""
    mine = sorted((one for one in records() if owner and one["owner"] == owner), key=lambda one: -one["created"])
    found = []
    for record in mine:
        folder = checkpoint_of(runs_folder() / record["id"])
        if folder:
            with contextlib.suppress(CantingError):
                # Not the whole id: pictures and links carry the name, and whoever knows the id may stop the job.
                name = f"mine-{record['id'][:8]}"
                found.append(dataclasses.replace(catalog.entry(folder), name=name, title=record["title"]))
    return found


def ahead_of(record: dict[str, Any]) -> int:
    """How many jobs train or wait before this one."""
    states = [(one["ticket"], state_of(one)) for one in records() if "remote" not in one]
    return sum(state != "waiting" or ticket < record["ticket"] for ticket, state in states if state in ACTIVE)


def memory_of(record: dict[str, Any]) -> int | None:
    """Bytes that a job's process holds in memory; None when it is gone."""
    process = process_of(record)
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
    if "remote" in record and state_of(record) in ACTIVE:
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
