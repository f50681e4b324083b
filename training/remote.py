"""A run on Hugging Face Jobs, as its worker on this machine sees it: send it off, watch it, bring home what it makes.

Everything travels in one private repository of the owner's, ``canting-run-…``, which is this run's alone:

    gan/  training/  requirements.txt   the code; the job fetches it at the exact commit that was made for it
    checkpoints/NAME/                   the model that the run begins with
    data/pictures.zip                   the pictures
    run/                                run.json, and whatever ``python -m training resume run --to …`` puts beside it

``job.json`` keeps the Hub's id of the job, so that a worker that was killed goes on watching where it left off. What
comes back is metrics, grids of samples and weights, all of them checked; nothing of it is ever executed. A run that is
resumed after its job has ended gets another job, which goes on from the state that the last one left in the repository.
"""

from __future__ import annotations

import io
import json
import math
import re
import tempfile
import threading
import time
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from gan import hub, hub_commit
from gan.catalog import find
from gan.errors import HubError, RunError
from gan.files import atomic
from gan.hub_client import REFUSALS, clean, talking, unanswered, waiting
from gan.settings import ROOT
from training import progress, records
from training.promote import promote
from training.pushing import RESULTS, STATE, repository_of
from training.runs import Run

if TYPE_CHECKING:
    from huggingface_hub import HfApi, JobInfo

IMAGE = "python:3.11-slim"
COMMAND = (
    "pip install -q huggingface_hub && hf download {repository} --revision {commit} --local-dir canting && "
    "cd canting && pip install -q -r requirements.txt && python -m training resume run --to {repository}"
)
ENVIRONMENT = {
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_ROOT_USER_ACTION": "ignore",
    "PYTHONUNBUFFERED": "1",
}
# Without it a machine that has no GPU fetches gigabytes of what only a GPU needs.
CPU_ENVIRONMENT = {"PIP_EXTRA_INDEX_URL": "https://download.pytorch.org/whl/cpu"}
CODE = ("gan", "training", "requirements.txt")
SHIPPED = (*CODE, "checkpoints", "data")
ENDED = ("COMPLETED", "CANCELED", "ERROR", "DELETED")
LABEL = "canting-run"
JOB_REFUSALS = {
    **REFUSALS,
    401: "error.remote.token",
    402: "error.remote.payment",
    403: "error.remote.forbidden",
    404: "error.remote.missing",
}
# What passes by itself. So long the Hub may be away before the run is given up; its job goes on meanwhile.
PASSING = ("error.hub.unreachable", "error.hub.down", "error.hub.busy", "error.hub.half")
SILENCE_SECONDS = 1800
POLL_SECONDS = 5
COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
# What is accepted of a job's log and results.
MOST_LINES, LONGEST_LINE = 50_000, 500
MOST_FILES, MOST_BYTES = 200, 4_000_000_000
LARGEST = {".jsonl": 20_000_000, ".png": 20_000_000, ".safetensors": 1_000_000_000}
LARGEST_SIDE = 8192
LAST_LINES = 4
# Folders of what is on its way.
FETCHED = ".fetched-"


def oversee(folder: Path, token: str, told: threading.Event) -> str:
    """Carry a run on elsewhere until its job ends, or is cancelled because ``told`` is set; "finished" or "stopped".

    Raises:
        HubError: without a token, and for whatever the Hub refuses or cannot do.
        RunError: when the job fails; it says the job's last lines.
    """
    if not token:
        raise HubError("error.remote.sign_in")
    if "job" not in records.read(folder.name)["remote"]:
        send(folder, token, told)
    remote = records.read(folder.name)["remote"]
    if "job" not in remote:
        return "stopped"
    info = watch(folder, remote, token, told)
    # From here on there is nothing to go on watching: whoever resumes the run gets another job.
    note(folder.name, job=None)
    record, run = records.read(folder.name), Run(folder)
    if run.snapshots():
        promote(folder)
    if info.status.stage == "ERROR" and not told.is_set():
        said = [line.partition(" | ")[2] for line in progress.last_lines(folder) if line.startswith(prefix(remote))]
        lines = " / ".join(line for line in said[-LAST_LINES:] if line.strip())
        message = clean(info.status.message or "", token)
        raise RunError("error.remote.failed", url=info.url, message=message or "-", lines=lines or "-")
    done = (run.metrics() or [{"step": 0}])[-1]["step"]
    return "finished" if info.status.stage == "COMPLETED" and done >= record["steps"] else "stopped"


# There ----------------------------------------------------------------------------------------------------------


def send(folder: Path, token: str, told: threading.Event) -> None:
    """Put all that the run needs into its repository, and start a job that carries it on.

    Raises:
        RunError: for a run that has learned something, when the state that it would go on from is not there any more.
    """
    job = folder.name
    remote = records.read(job)["remote"]
    repository = repository_of(job, token)
    check_there(folder, remote.get("repository", repository), repository, token)
    print(f"Sending code and pictures to {repository}.", flush=True)
    made = hub_commit.publish(
        repository,
        "model",
        shipment(folder),
        owned=lambda path: path.split("/")[0] in SHIPPED,
        private=True,
        message="Canting: a run",
        # Nobody else's, and what the last job left there is not ours to have seen before.
        force=True,
        token=token,
    )
    note(job, repository=repository)
    if told.is_set():
        return
    with talking(repository, token, refusals=JOB_REFUSALS) as api:
        info = start(api, job, repository, made.commit, remote, token)
    note(job, job=info.id)
    print(f"Started {info.url}", flush=True)


def check_there(folder: Path, known: str, repository: str, token: str) -> None:
    """Raises RunError where a run would begin anew, and what it has brought home be replaced: with its repository
    deleted, or in another account's name than the one that ``known`` is in."""
    if not Run(folder).snapshots():
        return
    with talking(repository, token) as api:
        found = hub_commit.look(api, repository, "model")
    if found is None or STATE not in found.files:
        raise RunError("error.remote.gone", repository=known)


def start(api: HfApi, job: str, repository: str, commit: str, remote: dict[str, str], token: str) -> JobInfo:
    """The Hub's job of this run: one that goes on already, though nobody could note its id, else a new one."""
    owner = repository.split("/")[0]
    environment = {**ENVIRONMENT, **(CPU_ENVIRONMENT if remote["flavor"].startswith("cpu") else {})}
    for last in (False, True):
        for info in api.list_jobs(namespace=owner, labels={LABEL: job}):
            if info.status.stage not in ENDED:
                return info
        try:
            return api.run_job(
                image=IMAGE,
                command=["bash", "-c", COMMAND.format(repository=repository, commit=commit)],
                env={**environment, "HF_ENDPOINT": api.endpoint},
                secrets={"HF_TOKEN": token},
                flavor=remote["flavor"],
                timeout=remote["timeout"],
                labels={LABEL: job},
                namespace=owner,
            )
        except Exception as error:
            # The answer may have been lost after the job was made: then the list has it.
            if last or not unanswered(error):
                raise
            waiting.since = None
    raise AssertionError


def shipment(folder: Path) -> dict[str, Path | bytes]:
    """What a job needs, by path in the repository: code, the base model, the pictures and the run's recipe."""
    facts = Run(folder).read()
    base = facts["recipe"]["start"]
    files: dict[str, Path | bytes] = {
        path: file for path, file in hub.space_files(ROOT).items() if path.split("/")[0] in CODE
    }
    for name in hub.MODEL_FILES:
        if (find(base) / name).is_file():
            files[f"checkpoints/{base}/{name}"] = find(base) / name
    files["data/pictures.zip"] = zipped(folder / "pictures")
    # Where they lie there, not on this machine.
    facts["recipe"]["source"] = "pictures.zip"
    files["run/run.json"] = json.dumps(facts, indent=1).encode()
    return files


def zipped(folder: Path) -> bytes:
    """The pictures of a folder in one zip, the same bytes each time: what has not changed is not sent again."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in sorted(folder.iterdir()):
            archive.writestr(zipfile.ZipInfo(path.name), path.read_bytes())
    return buffer.getvalue()


# On the way -----------------------------------------------------------------------------------------------------


def watch(folder: Path, remote: dict[str, str], token: str, told: threading.Event) -> JobInfo:
    """Follow a job to its end, its log and results coming in meanwhile; cancel it once ``told`` is set.

    Raises:
        HubError: for what waiting does not mend, or has not for half an hour.
    """
    owner = remote["repository"].split("/")[0]
    over = threading.Event()
    log = threading.Thread(target=follow, args=(folder, remote, token, over), daemon=True)
    log.start()
    commit, silent, cancelled = "", None, False
    try:
        while True:
            try:
                with talking(remote["job"], token, refusals=JOB_REFUSALS) as api:
                    info = api.inspect_job(job_id=remote["job"], namespace=owner)
                    ended = info.status.stage in ENDED
                    if told.is_set() and not (ended or cancelled):
                        api.cancel_job(job_id=remote["job"], namespace=owner)
                        cancelled = True
                # Looked at after the job: what an ended one has left there is all there is.
                commit = fetch(folder, remote["repository"], token, commit)
                if ended:
                    # Its last lines may still be on their way.
                    log.join(POLL_SECONDS)
                    return info
                silent = None
            except HubError as error:
                if error.key == "error.remote.missing":
                    note(folder.name, job=None)
                silent = silent or time.monotonic()
                if error.key not in PASSING or time.monotonic() - silent > SILENCE_SECONDS:
                    raise
                print(error, flush=True)
            time.sleep(1) if told.is_set() else told.wait(POLL_SECONDS)
    finally:
        over.set()


def follow(folder: Path, remote: dict[str, str], token: str, over: threading.Event) -> None:
    """Print a job's lines as they come, each once, also when this is not the first worker that watches it."""
    owner, mark = remote["repository"].split("/")[0], prefix(remote)
    with (folder / "log.txt").open(encoding="utf-8", errors="replace") as log:
        printed = sum(line.startswith(mark) for line in log)
    while not over.is_set() and printed < MOST_LINES:
        with suppress(HubError), talking(remote["job"], token, refusals=JOB_REFUSALS) as api:
            # Whoever asks anew is told everything again.
            for number, line in enumerate(api.fetch_job_logs(job_id=remote["job"], namespace=owner, follow=True)):
                if number >= printed and printed < MOST_LINES:
                    print(mark + tidy(line, token), flush=True)
                    printed += 1
            return
        over.wait(POLL_SECONDS)


def prefix(remote: dict[str, str]) -> str:
    """What a job's lines begin with in the run's log."""
    return f"{remote['job'][-6:]} | "


def tidy(line: str, token: str) -> str:
    """A line of a log that somebody else wrote: of a progress bar the last state, and never the token."""
    line = COLOURS.sub("", line.rstrip("\r\n").rpartition("\r")[2]).replace("\n", " ")
    return line.replace(token, "…")[:LONGEST_LINE]


def note(job: str, /, **facts: str | None) -> None:
    """Keep what is known of a run's job on the Hub; None forgets it."""
    with records.changing(job) as record:
        known = {**record["remote"], **facts}
        record["remote"] = {key: value for key, value in known.items() if value is not None}


# And back -------------------------------------------------------------------------------------------------------


def fetch(folder: Path, repository: str, token: str, known: str = "") -> str:
    """Bring a run's directory up to its repository's newest commit, which is returned; ``known`` is there already.

    Raises:
        HubError: when it cannot be fetched, is too large, or is not what it should be.
    """
    with talking(repository, token) as api:
        remote = hub_commit.look(api, repository, "model")
        if remote is None:
            raise HubError("error.hub.missing", repository=repository)
        if remote.commit == known:
            return known
        wanted = {path: size for path, (size, _, _) in remote.files.items() if RESULTS.fullmatch(path)}
        check_bounds(repository, wanted)
        # The weights first: whoever sees a grid of samples may ask for the model of that moment.
        for path in sorted(wanted, reverse=True):
            target = folder / path.removeprefix("run/")
            if path.endswith(".jsonl") or not (target.is_file() and remote.holds(path, target)):
                bring(api, repository, remote, path, folder)
    # Of a repository without any results nothing says that those here are of the past.
    for kind in ("samples", "snapshots") if wanted else ():
        for file in (folder / kind).glob("[!.]*"):
            if f"run/{kind}/{file.name}" not in wanted:
                file.unlink()
    return remote.commit


def check_bounds(repository: str, sizes: dict[str, int]) -> None:
    """Raises HubError for more, or larger files than a run has."""
    large = any(size > LARGEST[Path(path).suffix] for path, size in sizes.items())
    if large or len(sizes) > MOST_FILES or sum(sizes.values()) > MOST_BYTES:
        raise HubError("error.remote.large", repository=repository, most=MOST_BYTES // 10**9)


def bring(api: HfApi, repository: str, remote: hub_commit.Remote, path: str, folder: Path) -> None:
    """Fetch one file and put it in its place in the run's directory, whole and checked."""
    target = folder / path.removeprefix("run/")
    with tempfile.TemporaryDirectory(dir=folder, prefix=FETCHED, ignore_cleanup_errors=True) as room:
        file = Path(api.hf_hub_download(repository, path, revision=remote.commit, local_dir=room))
        content: bytes | None = None
        try:
            fine = remote.holds(path, file)
            if target.suffix == ".jsonl":
                content = checked_lines(file)
            elif target.suffix == ".png":
                with Image.open(file, formats=["PNG"]) as grid:
                    fine = fine and max(grid.size) <= LARGEST_SIDE
        except (OSError, ValueError, Image.DecompressionBombError):
            fine = False
        if not fine:
            raise HubError("error.hub.broken", repository=repository, file=path)
        with atomic(target) as temporary:
            temporary.write_bytes(content) if content is not None else file.replace(temporary)


def checked_lines(file: Path) -> bytes:
    """The lines of a ``metrics.jsonl`` that are what they should be: names with numbers."""
    kept = []
    for line in file.read_text(encoding="utf-8").splitlines():
        values: Any = json.loads(line)
        numbers = isinstance(values, dict) and all(
            isinstance(value, int | float) and math.isfinite(value) for value in values.values()
        )
        if numbers and {"step", "seconds", "images"} <= values.keys():
            kept.append(json.dumps(values) + "\n")
    return "".join(kept).encode()
