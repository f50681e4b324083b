"""Runs on Hugging Face Jobs: real workers and real jobs, which meet at a Hub on loopback."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import safetensors.torch
from PIL import Image
from torch.nn import Module

from gan import nets
from gan.checkpoint import load_folder
from gan.errors import HubError, RunError
from gan.settings import ROOT
from tests.gan.test_hub import environment
from tests.hub_jobs import Job
from tests.hub_server import Account, HubServer, serving
from tests.training.conftest import wait_for
from training import jobs, processes, records, remote
from training.place import Place
from training.runs import Run

pytestmark = pytest.mark.usefixtures("end_jobs")
TOKEN, OTHER = "hf_jobsSecretOfTheTests", "hf_otherSecretOfTheTests"
PLACE = Place("cpu-basic", "10m")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A Hub on which this machine's token is ratna's."""
    monkeypatch.delenv("SPACE_ID", raising=False)
    with serving() as server:
        server.accounts = {TOKEN: Account("ratna"), OTHER: Account("budi")}
        settings = environment(server, tmp_path / "hf") | {"CANTING_HUB_PATIENCE": "20", "HF_TOKEN": TOKEN}
        for name, value in (settings | {"XDG_CACHE_HOME": str(tmp_path / "cache")}).items():
            monkeypatch.setenv(name, value)
        yield server
    for secret in (TOKEN, OTHER):
        assert [path for path in tmp_path.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()] == []


@pytest.fixture
def here(hub: HubServer, studio: Path, monkeypatch: pytest.MonkeyPatch) -> HubServer:
    """The same Hub for a worker inside the test's own process, and one that looks often."""
    # Both are read at import.
    template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(remote, "POLL_SECONDS", 0.2)
    monkeypatch.setattr(jobs, "spawn", lambda job: processes.identity(os.getpid()))
    return hub


def oversee(job: str, told: bool = False, token: str = TOKEN) -> str:
    """Watch a job as its worker does, what it prints in the run's log, and forget its end."""
    folder, event = records.folder_of(job), threading.Event()
    if told:
        event.set()
    with (folder / "log.txt").open("a") as log, contextlib.redirect_stdout(log):
        return remote.oversee(folder, token, event)


def lines_of(folder: Path, job: Job) -> list[str]:
    """What a run's log has of a job."""
    mark = f"{job.id[-6:]} | "
    lines = (folder / "log.txt").read_text().splitlines()
    return [line.removeprefix(mark) for line in lines if line.startswith(mark)]


def deliver(hub: HubServer, step: int, **changed: bytes) -> None:
    """Put results of ``step`` into the only run's repository, as a job does."""
    (repository,) = hub.repositories.values()
    line = {"step": step, "seconds": 1.5, "images": 8 * step, "g_loss": 0.5, "d_loss": 0.5}
    picture = io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "PNG")
    network = nets.build(nets.GENERATORS, "fastgan", {"resolution": 64, "width": 4, "noise": False})
    files = {
        "run/metrics.jsonl": json.dumps(line).encode() + b"\n",
        f"run/samples/step-{step:06d}.png": picture.getvalue(),
        f"run/snapshots/step-{step:06d}.safetensors": save_weights_bytes(network),
        "run/state.safetensors": b"a state",
    }
    repository.add(f"step {step}", repository.files | files | changed)


def save_weights_bytes(network: Module) -> bytes:
    return safetensors.torch.save({name: one.half() for name, one in network.state_dict().items()})


@pytest.mark.timeout(600)
def test_from_the_command_line_to_a_model_and_back(hub: HubServer, studio: Path, pictures: list[Path]) -> None:
    words = ["remote", "tiny", pictures[0].parent, "--on", "cpu-basic", "--timeout", "10m", "--steps", "2"]
    done = subprocess.run(
        [sys.executable, "-m", "training", *map(str, words)], cwd=ROOT, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert TOKEN not in done.stdout + done.stderr
    (job,) = hub.jobs.values()
    (status,) = jobs.list_jobs()
    # Its log came along, each line once, and so did what it made.
    said = lines_of(studio / status.id, job)
    assert len(said) == len(job.log) and any("finished at step 2" in line for line in said)
    assert all(line in done.stdout for line in said) and not any("HTTP" in line for line in said)
    assert (status.state, status.step, status.steps, status.place) == ("finished", 2, 2, "cpu-basic")
    assert f"finished at step 2: {status.checkpoint}" in done.stdout
    config, network = load_folder(status.checkpoint)
    assert config["step"] == 2 and config["source"] == "12 pictures"
    run = Run(studio / status.id)
    assert [line["step"] for line in run.metrics()] == [1, 2]
    grids = sorted(path.name for path in (run.folder / "samples").iterdir())
    assert grids == [f"step-{step:06d}.png" for step in range(3)]
    assert (status.checkpoint / "history.csv").is_file() and (status.checkpoint / "README.md").is_file()

    # It was the code of this repository, at an exact commit of a private one that nobody else sees.
    ((kind, name), repository), *others = hub.repositories.items()
    assert not others and (kind, name) == ("model", f"ratna/canting-run-{status.id[:12]}")
    assert repository.visibility == "private"
    command = job.asked["command"][-1]
    (sent,) = [files for commit, _, files in repository.commits if commit in command]
    assert sent["training/loop.py"] == (ROOT / "training" / "loop.py").read_bytes()
    assert not any(path.split("/")[0] in ("tests", "app.py") for path in sent)
    assert json.loads(sent["run/run.json"])["recipe"]["source"] == "pictures.zip"
    assert str(studio).encode() not in sent["run/run.json"]
    asked = job.asked
    assert (asked["flavor"], asked["timeoutSeconds"]) == ("cpu-basic", 600)
    assert asked["secrets"] == {"HF_TOKEN": TOKEN} and TOKEN not in json.dumps(asked["environment"]) + command
    # The training's state stays there: another job goes on from it, and nothing here needs it.
    assert "run/state.safetensors" in repository.files and not run.state_file.exists()


@pytest.mark.timeout(300)
def test_stop_cancels_the_job_and_keeps_what_it_had_learned(hub: HubServer, studio: Path, pictures: list[Path]) -> None:
    hub.instead = "echo begun; sleep 600"
    job = jobs.start("tiny", pictures, {"steps": 20}, "ayu", PLACE)
    wait_for(lambda: jobs.status(job).note.endswith(" | begun"))
    deliver(hub, 7)
    wait_for(lambda: jobs.status(job).step == 7)
    worker = processes.process_of(records.read(job))
    assert jobs.status(job).state == "running" and TOKEN not in " ".join(worker.cmdline())
    assert TOKEN not in worker.environ().values()
    # It takes no turn from those that train here.
    assert processes.stop_seconds(records.read(job)) > processes.STOP_SECONDS
    jobs.stop(job)
    stopped = wait_for(lambda: (now := jobs.status(job)).state == "stopped" and now, 120)
    assert [one.stage for one in hub.jobs.values()] == ["CANCELED"] and "job" not in records.read(job)["remote"]
    assert json.loads((stopped.checkpoint / "config.json").read_text())["step"] == 7

    # Another job goes on, with the state that the first one left.
    hub.instead = "echo again"
    jobs.resume(job)
    wait_for(lambda: len(hub.jobs) == 2 and jobs.status(job).state == "stopped")
    command = list(hub.jobs.values())[-1].asked["command"][-1]
    (repository,) = hub.repositories.values()
    (sent,) = [files for commit, _, files in repository.commits if commit in command]
    assert sent["run/state.safetensors"] == b"a state" and "run/snapshots/step-000007.safetensors" in sent


@pytest.mark.parametrize("gone", ["repository", "state", "account"])
def test_what_was_learned_is_not_begun_anew(here: HubServer, pictures: list[Path], monkeypatch, gone: str) -> None:
    """Without the state that it would go on from, a job would replace what is here by its own beginning."""
    here.instead = "sleep 1"
    job = jobs.start("tiny", pictures, {"steps": 5000}, "ayu", PLACE)
    begin = remote.start

    def start(*words: object) -> object:
        deliver(here, 3000)
        return begin(*words)

    monkeypatch.setattr(remote, "start", start)
    assert oversee(job) == "stopped"
    folder, count = records.folder_of(job), len(here.jobs)
    before = {path: path.read_bytes() for path in (folder / "checkpoint").iterdir()}
    (repository,) = here.repositories.values()
    if gone == "repository":
        here.repositories.clear()
    elif gone == "state":
        repository.add("cleared", {path: body for path, body in repository.files.items() if "state" not in path})
    with pytest.raises(RunError, match="ratna/canting-run-.* begin a new run with the same pictures"):
        oversee(job, token=OTHER if gone == "account" else TOKEN)
    assert len(here.jobs) == count and [path.stem for path in Run(folder).snapshots()] == ["step-003000"]
    assert {path: path.read_bytes() for path in (folder / "checkpoint").iterdir()} == before


def test_an_empty_repository_takes_nothing_away(here: HubServer, pictures: list[Path]) -> None:
    here.instead = "sleep 1"
    job = jobs.start("tiny", pictures, {"steps": 5}, "ayu", PLACE)
    oversee(job)
    deliver(here, 5)
    folder, name = records.folder_of(job), records.read(job)["remote"]["repository"]
    (repository,) = here.repositories.values()
    for _ in range(2):
        remote.fetch(folder, name, TOKEN)
        assert [path.stem for path in Run(folder).snapshots()] == ["step-000005"]
        repository.add("emptied", {path: it for path, it in repository.files.items() if not path.startswith("run/")})


@pytest.mark.timeout(300)
def test_a_worker_that_was_killed_finds_its_job_again(
    hub: HubServer, studio: Path, pictures: list[Path], tmp_path: Path
) -> None:
    hub.instead = f"echo one; while [ ! -e {tmp_path}/go ]; do sleep 0.1; done; echo two"
    job = jobs.start("tiny", pictures, {"steps": 20}, "ayu", PLACE)
    wait_for(lambda: jobs.status(job).note.endswith(" | one"))
    processes.process_of(records.read(job)).kill()
    failed = wait_for(lambda: (now := jobs.status(job)).state == "failed" and now)
    assert failed.reason.startswith("The process that watches the job ended without a word")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("HF_TOKEN")
        with pytest.raises(HubError, match="needs your Hugging Face token, which is never stored"):
            jobs.resume(job)
    jobs.resume(job, TOKEN)
    wait_for(lambda: "process" in records.read(job) and jobs.status(job).state == "running")
    deliver(hub, 20)
    (tmp_path / "go").touch()
    wait_for(lambda: jobs.status(job).state == "finished")
    (only,) = hub.jobs.values()
    assert lines_of(studio / job, only) == ["one", "two"] and only.stage == "COMPLETED"


def test_a_job_that_fails_says_its_last_lines_and_no_token(here: HubServer, pictures: list[Path]) -> None:
    here.instead = "echo first; echo it is $HF_TOKEN; printf '1%%\\r2%%\\n'; echo No space left >&2; exit 3"
    job = jobs.start("tiny", pictures, {}, "ayu", PLACE)
    with pytest.raises(RunError) as failed:
        oversee(job)
    said = str(failed.value)
    assert said.startswith("The job on Hugging Face failed (Job failed with exit code: 3; http://")
    assert said.endswith("Its last lines: first / it is … / 2% / No space left") and said.count("\n") == 0
    assert "job" not in records.read(job)["remote"]


@pytest.mark.parametrize(
    ("what", "key"),
    [
        (401, "error.remote.token"),
        (402, "error.remote.payment"),
        (403, "error.remote.forbidden"),
        (404, "error.remote.missing"),
        (429, "error.hub.busy"),
        (503, "error.hub.down"),
        (400, "error.hub.refused"),
        ("garbage", "error.hub.half"),
    ],
)
def test_a_job_that_cannot_be_started_is_one_sentence(
    here: HubServer, pictures: list[Path], what: int | str, key: str
) -> None:
    job = jobs.start("tiny", pictures, {}, "ayu", PLACE)
    here.misbehave("POST", "^/api/jobs/ratna$", what, message="hf_jobsSecretOfTheTests is bad")
    with pytest.raises(HubError) as refused:
        oversee(job)
    assert refused.value.key == key and TOKEN not in str(refused.value) and "\n" not in str(refused.value)
    assert refused.value.__cause__ is None and here.jobs == {}


def test_an_account_without_credit_hardware_that_is_none_and_a_narrow_token(here: HubServer, pictures: list[Path]):
    for account, flavor, key in (
        (Account("ratna", credit=False), "cpu-basic", "error.remote.payment"),
        (Account("ratna"), "abacus", "error.hub.refused"),
        (Account("ratna", "fineGrained", permissions=("repo.write",)), "cpu-basic", "error.remote.forbidden"),
        (Account("ratna", "read"), "cpu-basic", "error.hub.read_only"),
    ):
        job = jobs.start("tiny", pictures, {}, "ayu", Place(flavor))
        here.accounts[TOKEN] = account
        with pytest.raises(HubError) as refused:
            oversee(job)
        assert refused.value.key == key
    assert here.jobs == {}


def test_a_job_whose_creation_was_not_confirmed_is_taken_up(here: HubServer, pictures: list[Path]) -> None:
    here.instead = "sleep 1"
    here.misbehave("POST", "^/api/jobs/ratna$", "lost", times=1)
    assert oversee(jobs.start("tiny", pictures, {}, "ayu", PLACE)) == "stopped"
    assert len(here.jobs) == 1


def test_a_hub_that_is_away_for_a_while_is_waited_for(here: HubServer, pictures: list[Path]) -> None:
    here.instead = "for i in 1 2 3 4 5 6; do echo line $i; sleep 0.5; done"
    job = jobs.start("tiny", pictures, {"steps": 5}, "ayu", PLACE)
    for what in (503, 429, "lost", "garbage"):
        here.misbehave("GET", r"^/api/jobs/ratna/\w+$", what, times=1)
    here.misbehave("GET", "/logs$", "half", times=1)
    threading.Timer(1, deliver, (here, 5)).start()
    assert oversee(job) == "finished"
    (only,) = here.jobs.values()
    assert lines_of(records.folder_of(job), only) == [f"line {i}" for i in range(1, 7)]


@pytest.mark.parametrize(("status", "key"), [(401, "error.remote.token"), (404, "error.remote.missing")])
def test_what_waiting_does_not_mend_ends_the_watch_and_not_the_job(
    here: HubServer, pictures: list[Path], status: int, key: str
) -> None:
    here.instead = "sleep 600"
    job = jobs.start("tiny", pictures, {}, "ayu", PLACE)
    here.misbehave("GET", r"^/api/jobs/ratna/\w+$", status)
    with pytest.raises(HubError) as ended:
        oversee(job)
    assert ended.value.key == key and [one.stage for one in here.jobs.values()] == ["RUNNING"]
    # Whoever resumes finds the job again, unless the Hub says that there is none.
    assert ("job" in records.read(job)["remote"]) is (status == 401)


def test_a_run_killed_before_it_could_cancel_its_job_does_not_count_as_stopped(here: HubServer, pictures: list[Path]):
    job = jobs.start("tiny", pictures, {}, "ayu", PLACE)
    for known, state in (({}, "stopped"), ({"job": "0" * 24}, "failed")):
        with records.changing(job) as record:
            record |= {"process": {"pid": 2**22, "began": 0.0}, "stopping": 1.0}
            record["remote"] |= known
        assert jobs.status(job).state == state
    assert "Resume finds it again" in jobs.status(job).reason


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("run/samples/step-000009.png", b"MZ, no picture"),
        ("run/metrics.jsonl", b'{"step": 5, "seconds'),
        ("run/snapshots/step-000009.safetensors", None),
    ],
)
def test_results_that_are_not_what_they_should_be_are_refused(
    here: HubServer, pictures: list[Path], path: str, content: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if content is None:
        monkeypatch.setitem(remote.LARGEST, ".safetensors", 1000)
    here.instead = "sleep 600"
    job = jobs.start("tiny", pictures, {}, "ayu", PLACE)
    monkeypatch.setattr(remote, "follow", lambda *_: None)
    begin = remote.start

    def start(*words: object) -> object:
        deliver(here, 5, **{path: content or bytes(2000)})
        return begin(*words)

    monkeypatch.setattr(remote, "start", start)
    with pytest.raises(HubError) as refused:
        oversee(job)
    assert refused.value.key == ("error.remote.large" if content is None else "error.hub.broken")
    assert not (records.folder_of(job) / path.removeprefix("run/")).exists()
    assert not list(records.folder_of(job).glob(".fetched-*"))


def test_only_results_come_back(here: HubServer, pictures: list[Path], studio: Path) -> None:
    here.instead = "sleep 1"
    job = jobs.start("tiny", pictures, {"steps": 5}, "ayu", PLACE)
    before = set(studio.rglob("*"))
    begin, odd = remote.start, b"import os"
    lines = b'{"step": 5, "seconds": 1, "images": 8}\n{"step": 6, "seconds": NaN, "images": 8}\n{"note": "x"}\n[1]\n'
    strange = ("run/x.py", "run/samples/../../x.png", "run/snapshots/step-1.pt", "run/job.json", "x.safetensors")

    def start(*words: object) -> object:
        deliver(here, 5, **{path: odd for path in strange}, **{"run/metrics.jsonl": lines})
        return begin(*words)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(remote, "start", start)
        assert oversee(job) == "finished"
    folder = records.folder_of(job)
    assert Run(folder).metrics() == [{"step": 5, "seconds": 1, "images": 8}]
    new = {str(path.relative_to(studio / job)) for path in set(studio.rglob("*")) - before if path.is_file()}
    expected = {"log.txt", "metrics.jsonl", "samples/step-000005.png", "snapshots/step-000005.safetensors"}
    assert {name for name in new if not name.startswith(("checkpoint/", "."))} == expected


def test_without_a_token_nothing_is_started(studio: Path, pictures: list[Path], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("SYSTEM", "spaces")
    monkeypatch.setenv("SPACE_ID", "owner/canting")
    monkeypatch.setenv("CANTING_TRAIN", "1")
    # The Space's own token is not its visitors'.
    with pytest.raises(HubError, match="sign in"):
        jobs.start("tiny", pictures, {}, "ayu", PLACE)
    assert records.every() == [] and list(studio.glob(".new-*")) == []
    assert TOKEN not in repr(Place("cpu-basic", token=TOKEN))


@pytest.mark.parametrize("given", [{"flavor": "t4 small"}, {"flavor": "../x"}, {"timeout": "soon"}, {"timeout": "0h"}])
def test_what_is_no_place(given: dict[str, str]) -> None:
    with pytest.raises(RunError):
        Place(**given)
