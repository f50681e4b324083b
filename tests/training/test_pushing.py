"""Snapshots pushed while a run trains: a Hub that fails holds up nothing, and the next push makes up for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gan.errors import HubError
from tests.gan.test_hub import environment
from tests.hub_server import Account, HubServer, serving
from tests.training.conftest import wait_for
from training import jobs, processes, records
from training.place import Place
from training.pushing import Pushing, push_run

pytestmark = pytest.mark.usefixtures("end_jobs")
TOKEN = "hf_visitorSecretOfTheTests"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A Hub that knows a visitor, and a Space whose own token it would refuse."""
    with serving() as server:
        server.accounts = {TOKEN: Account("ratna")}
        settings = environment(server, tmp_path / "hf") | {"CANTING_HUB_PATIENCE": "20", "HF_TOKEN": "hf_theSpaces"}
        settings |= {
            "SYSTEM": "spaces",
            "SPACE_ID": "owner/canting",
            "CANTING_TRAIN": "1",
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
        }
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        yield server
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(TOKEN.encode() in path.read_bytes() for path in files)


@pytest.mark.timeout(600)
def test_each_snapshot_becomes_a_revision_though_a_push_fails(hub: HubServer, studio: Path, pictures: list[Path]):
    hub.misbehave("GET", "whoami", 500, times=1)
    job = jobs.start("tiny", pictures, {"steps": 3, "name": "Kain"}, "ayu", Place(push=True, token=TOKEN))
    process = processes.process_of(records.read(job))
    assert TOKEN not in " ".join(process.cmdline()) and TOKEN not in process.environ().values()
    finished = wait_for(lambda: (now := jobs.status(job, "id")).state == "finished" and now, 400)
    log = (studio / job / "log.txt").read_text()
    assert "The Hub is out of order just now (HTTP 500)" in log
    repository = hub.repository("model", f"ratna/canting-run-{job[:12]}")
    assert repository.visibility == "private" and "model.safetensors" in repository.files
    # Of the three snapshots the first was lost to the Hub's bad moment.
    steps = [json.loads(files["config.json"])["step"] for _, title, files in repository.commits if title == "Kain"]
    assert steps == [2, 3]
    assert finished.note.startswith(("step-000003 diterbitkan di", f"{hub.url}/ratna"))


@pytest.mark.timeout(300)
def test_a_run_whose_token_is_gone_trains_on_and_says_so(hub: HubServer, studio: Path, pictures: list[Path]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs, "advance", lambda: None)
        job = jobs.start("tiny", pictures, {"steps": 1}, "ayu", Place(push=True, token=TOKEN))
        # As after a restart of the app.
        jobs._tokens.clear()
    # Another app, while it lives, has the token.
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with records.changing(job) as record:
        assert record["app"] == processes.identity(os.getpid())
        record["app"] = processes.identity(other.pid)
    jobs.advance()
    assert "process" not in records.read(job)
    other.communicate()
    finished = wait_for(lambda: (now := jobs.status(job)).state == "finished" and now, 240)
    assert finished.note.startswith("This run needs your Hugging Face token, which is never stored")
    assert hub.repositories == {} and finished.checkpoint


def test_a_failed_push_is_made_up_for_by_the_next(tmp_path: Path) -> None:
    noted: list[object] = []
    answers: list[object] = [HubError("error.hub.busy"), "made", "made again"]

    def push() -> object:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    pushing = Pushing(tmp_path, push, noted.append)
    assert not pushing.due()
    for step in (0, 10):
        (tmp_path / "samples").mkdir(exist_ok=True)
        (tmp_path / "samples" / f"step-{step:06d}.png").touch()
        assert pushing.due()
        assert pushing.attempt() is (step == 10)
        assert not pushing.due()
    pushing.finish()
    assert [type(one).__name__ for one in noted] == ["HubError", "str", "str"] and answers == []


def test_the_last_push_is_tried_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.pushing.BETWEEN_ATTEMPTS", 0)
    noted: list[object] = []

    def push() -> object:
        raise HubError("error.hub.busy")

    with pytest.raises(HubError):
        Pushing(tmp_path, push, noted.append).finish()
    assert len(noted) == 4


def test_of_a_run_only_what_another_machine_needs_is_pushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = {}
    monkeypatch.setattr("gan.hub_commit.publish", lambda repository, kind, files, **more: sent.update(files, **more))
    names = ["metrics.jsonl", "state.safetensors", "samples/step-000010.png", "snapshots/step-000010.safetensors"]
    for name in (*names, "snapshots/discriminator-000010.safetensors", "log.txt", "pictures/0001.jpg", "job.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    push_run(tmp_path, "ratna/kain")
    kept = {path for path in sent if path.startswith("run/")}
    assert kept == {f"run/{name}" for name in (*names, "snapshots/discriminator-000010.safetensors")}
    assert sent["owned"]("run/samples/step-000005.png") and not sent["owned"]("gan/hub.py")
    assert sent["message"] == "Canting: step-000010"
