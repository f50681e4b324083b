"""Background runs, with real processes: every state a job can be in, and the ways between them."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import gradio as gr
import psutil
import pytest
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file

from gan import catalog
from gan.errors import DataError, RunError
from gan.files import atomic
from gan.settings import ROOT, VERSION
from gan.texts import say
from tests.training.conftest import DEAF, IDLE, beside, make_base, make_cloths, wait_for
from training import export as export_module
from training import jobs, processes, progress, records, tab, watch, worker
from training.__main__ import main as command_line
from training.place import Place
from training.runs import Run
from training.watch import CALM_SECONDS, EAGER_SECONDS, pace

pytestmark = pytest.mark.usefixtures("end_jobs")


def state(job: str) -> str:
    return jobs.status(job).state


@pytest.mark.timeout(900)
def test_start_watch_stop_queue_kill_resume_finish(studio: Path, pictures: list[Path]):
    first = jobs.start("tiny", pictures, {"steps": 2000}, "ayu")
    second = jobs.start("tiny", pictures[0].parent, {"steps": 9, "name": "Kain <b>nenek</b>"}, "ayu")
    assert (state(first), state(second)) == ("running", "waiting")
    recipe = Run(studio / first).read()["recipe"]
    assert recipe["start"] == "tiny" and recipe["network_args"]["width"] == 4 and recipe["rate_g"] == 1e-4
    names = [path.name for path in sorted((studio / first / "pictures").iterdir())]
    assert names == [f"{i:04d}.jpg" for i in range(1, 13)]

    watched = wait_for(lambda: (now := jobs.status(first)).seconds_left and now, 240)
    assert watched.memory > 1e8 and watched.images_per_second > 0 and 0 < watched.step < watched.steps == 2000
    wait_for((studio / first / "samples" / "step-000000.png").exists, 30)
    # The page looks often for the first figures of a run and for its end, and seldom in between.
    assert (pace(jobs.status(second)), pace(watched)) == (EAGER_SECONDS, CALM_SECONDS)
    assert pace(replace(watched, state="stopping")) == EAGER_SECONDS
    worker = processes.process_of(records.read(first))
    assert os.getsid(worker.pid) == worker.pid
    with pytest.raises(RunError, match="still going on"):
        jobs.resume(first)

    jobs.stop(first)
    assert state(first) in ("stopping", "stopped")
    ended = wait_for(
        lambda: (now := jobs.status(first)).state == "stopped" and now, processes.stop_seconds({"keeping": True}) + 5
    )
    # It ended by itself, not by the kill that follows after the time allowed.
    assert records.read(first)["ended"] == {"how": "stopped"}
    # Nothing was lost: the state on disk is that of the last step, and the model can be used.
    assert Run(studio / first).load_state()["step"] >= watched.step
    model = catalog.load(ended.checkpoint)
    assert model.sample(2, seed=3)[0].size == (64, 64)
    config = json.loads((ended.checkpoint / "config.json").read_text())
    assert config["canting"] == VERSION and config["source"] == "12 pictures"
    assert str(studio) not in json.dumps(config)

    # Its place is taken by the next, which is killed without warning.
    wait_for(lambda: jobs.status(second).step >= 3, 240)
    processes.process_of(records.read(second)).kill()
    died = wait_for(lambda: (now := jobs.status(second, "id")).state == "failed" and now, 10)
    assert died.reason.startswith("Proses pelatihan berakhir tanpa pesan")
    saved = Run(studio / second).load_state()["step"]
    assert 1 <= saved < 9
    jobs.resume(second)
    finished = wait_for(lambda: (now := jobs.status(second)).state == "finished" and now, 240)
    assert finished.step == 9 and finished.checkpoint
    lines = Run(studio / second).metrics()
    assert [line["step"] for line in lines] == sorted({line["step"] for line in lines})
    with pytest.raises(RunError, match="finished"):
        jobs.resume(second)
    # A finished process leaves nothing that runs, and only whole files.
    wait_for(lambda: processes.process_of(records.read(second)) is None, 60)
    assert [path for path in studio.rglob(".*") if path.suffix != ".lock"] == []
    assert [one.id for one in jobs.list_jobs("ayu")] == [second, first] and jobs.list_jobs("someone else") == []


@pytest.mark.timeout(300)
def test_a_failed_run_shows_its_last_lines(studio: Path, pictures: list[Path], monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as patched:
        patched.setattr(jobs, "advance", lambda: None)
        job = jobs.start("tiny", pictures)
    run = Run(studio / job)
    facts = run.read()
    facts["recipe"]["discriminators"] = {"nonsense": {}}
    run.write_json("run.json", facts)
    failed = wait_for(lambda: (now := jobs.status(job)).state == "failed" and now, 240)
    assert "There is no network called 'nonsense'" in failed.reason.splitlines()[-1]
    assert len(failed.reason.splitlines()) <= progress.LAST_LINES and failed.checkpoint is None


def test_what_a_kill_left_half_written_is_cleared_and_nothing_else(tmp_path: Path):
    """Killed while safetensors writes, and while what it has written is put in its place."""
    run = tmp_path / "run"
    (run / "snapshots").mkdir(parents=True)
    weights = run / "snapshots" / "step-000010.safetensors"
    # Whoever trains in a folder of theirs may have such files there.
    mine = [run / ".eslintrc.base.json", run / ".notes.20261127.md", run / ".prettierrc.override.json"]
    whole = [run / "run.json", run / ".worker.lock", weights, *mine]
    for path in whole:
        path.touch()
    pid = os.fork()
    if not pid:
        with atomic(weights) as temporary:
            (temporary.parent / ".tmpd3wo9f").write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    assert len(list(run.rglob(".*"))) == 6
    Run(run).clear_up()
    assert sorted(path for path in run.rglob("*") if path.is_file()) == sorted(whole)


def test_a_known_error_is_kept_in_both_languages(studio: Path, pictures: list[Path], idle):
    job = jobs.start("tiny", pictures)
    with records.changing(job) as record:
        reason = progress.in_all_languages(DataError("error.data.folder", path="x"))
        record["ended"] = {"how": "failed", "reason": reason}
    assert jobs.status(job).reason == "There is no folder or zip of pictures at x."
    assert jobs.status(job, "id-ID").reason == reason["id"] != jobs.status(job).reason


def test_a_run_without_a_name_has_its_bases_in_the_language_of_who_began_it(studio: Path, pictures: list[Path], idle):
    make_base(studio.parent / "checkpoints" / "faces", recipe="anime-best", title="Anime faces")
    titles = {
        jobs.status(jobs.begin("faces", pictures, None, owner, language=language)).title.split(",")[0]
        for owner, language in (("ayu", "id"), ("ben", "en"))
    }
    assert titles == {"Wajah anime", "Anime faces"}
    again = jobs.repeat(jobs.list_jobs("ben")[0].id, "faces", {}, language="id")
    assert jobs.status(again).title.startswith("Wajah anime,")


def test_one_trains_and_the_others_keep_their_order(studio: Path, pictures: list[Path], idle):
    names = [jobs.start("tiny", pictures, owner="ayu") for _ in range(4)]
    assert [state(name) for name in names] == ["running", "waiting", "waiting", "waiting"]
    jobs.stop(names[1])
    assert state(names[1]) == "stopped"
    jobs.resume(names[1])
    jobs.stop(names[0])
    wait_for(lambda: state(names[0]) == "stopped", 10)
    # The one that left the queue and came back is its last.
    assert [state(name) for name in names] == ["stopped", "waiting", "running", "waiting"]
    idle[1].kill()
    wait_for(lambda: state(names[3]) == "running", 10)
    assert [state(name) for name in names] == ["stopped", "waiting", "failed", "running"]


def test_more_than_one_trains_where_the_owner_says_so(
    studio: Path, pictures: list[Path], idle, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CANTING_RUNS_AT_ONCE", "2")
    names = [jobs.start("tiny", pictures, owner="ayu") for _ in range(4)]
    assert [state(name) for name in names] == ["running", "running", "waiting", "waiting"]
    assert [jobs.status(name).ahead for name in names] == [0, 0, 2, 3]
    monkeypatch.setenv("CANTING_RUNS_AT_ONCE", "nonsense")
    idle[0].kill()
    wait_for(lambda: state(names[0]) == "failed", 10)
    assert [state(name) for name in names] == ["failed", "running", "waiting", "waiting"]


def app_of_its_own(pictures: list[Path], count: int) -> None:
    """Another app: it starts jobs and looks at them again and again, as its pages would."""
    jobs.spawn = lambda job: processes.identity(subprocess.Popen([sys.executable, "-c", IDLE.format("pass"), job]).pid)
    for _ in range(count):
        jobs.start("tiny", pictures, owner="ayu")
        for _ in range(5):
            jobs.list_jobs()


@pytest.mark.timeout(300)
def test_two_apps_on_one_folder_keep_one_queue(studio: Path, pictures: list[Path]):
    apps = [beside(app_of_its_own, pictures, 4) for _ in range(2)]
    for app in apps:
        app.join(200)
        assert app.exitcode == 0
    everything = sorted(records.every(), key=lambda record: record["ticket"])
    assert [record["ticket"] for record in everything] == list(range(1, 9))
    # What the apps started outlives them; one at a time, the first in line.
    assert [processes.state_of(record) for record in everything] == ["running"] + ["waiting"] * 7
    assert [path.name for path in studio.iterdir() if path.name.startswith(records.MAKING)] == []


def test_a_job_is_renamed_in_every_state(studio: Path, pictures: list[Path], idle):
    first, second = jobs.start("tiny", pictures, owner="ayu"), jobs.start("tiny", pictures, owner="ayu")
    make_base(studio / first / "checkpoint")
    for job in (first, second):
        jobs.rename(job, "  Kain <i>nenek</i> ")
        assert jobs.status(job).title == "Kain <i>nenek</i>"
    assert json.loads((studio / first / "checkpoint" / "config.json").read_text())["title"] == "Kain <i>nenek</i>"
    for title, sentence in (("", "a name first"), ("  ", "a name first"), ("x" * 61, "at most 60"), (None, "at most")):
        with pytest.raises(RunError, match=sentence):
            jobs.rename(first, title)
    assert (state(first), state(second)) == ("running", "waiting")


def test_a_job_is_repeated_with_other_settings(studio: Path, pictures: list[Path], idle, tmp_path: Path):
    make_base(tmp_path / "checkpoints" / "other")
    first = jobs.start("tiny", pictures, {"steps": 70, "mirror": False}, "ayu")
    again = jobs.repeat(first, "other", {"steps": 90})
    stored = [Run(studio / job).read()["recipe"] for job in (first, again)]
    assert [(one["start"], one["steps"], one["flip"]) for one in stored] == [("tiny", 70, False), ("other", 90, False)]
    copies = [[path.read_bytes() for path in sorted((studio / job / "pictures").iterdir())] for job in (first, again)]
    assert copies[0] == copies[1] and str(studio / again) in stored[1]["source"]
    assert [one.id for one in jobs.list_jobs("ayu")] == [again, first] and state(again) == "waiting"
    with pytest.raises(RunError, match="from 1 to"):
        jobs.repeat(first, "tiny", {"steps": 0})
    with pytest.raises(RunError, match="no such run"):
        jobs.repeat("0" * 24, "tiny", {})
    jobs.stop(first)
    # The copies are its own: nothing is lost with the first.
    wait_for(lambda: state(first) == "stopped", 10)
    jobs.delete(first)
    assert len(list((studio / again / "pictures").iterdir())) == 12


def test_the_run_that_is_repeated_may_be_the_one_that_makes_room(
    studio: Path, pictures: list[Path], idle, monkeypatch: pytest.MonkeyPatch
):
    first = jobs.start("tiny", pictures, owner="ayu")
    jobs.stop(first)
    wait_for(lambda: state(first) == "stopped", 10)
    monkeypatch.setenv("CANTING_MOST_RUNS", "1")
    again = jobs.repeat(first, "tiny", {"steps": 90})
    assert [one.id for one in jobs.list_jobs("ayu")] == [again]
    assert len(list((studio / again / "pictures").iterdir())) == 12
    # It goes on, so there is no room; nothing is lost by the attempt.
    with pytest.raises(RunError, match="You have 1 runs"):
        jobs.repeat(again, "tiny", {})
    assert [path.name for path in studio.iterdir() if path.is_dir()] == [again]


def test_what_a_program_is_told_names_no_folder_of_this_machine(studio: Path, pictures: list[Path], idle):
    job = jobs.start("tiny", pictures, owner="ayu")
    (studio / job / "log.txt").write_text(f'  File "{ROOT}/training/loop.py"\nOSError: {studio}/{job}/pictures\n')
    idle[0].kill()
    wait_for(lambda: state(job) == "failed", 10)
    (told,) = tab.list_runs("ayu")
    assert "OSError" in told["reason"] and not any(str(one) in json.dumps(told) for one in (ROOT, studio))


def test_the_page_follows_a_run_whose_samples_come_and_go(studio: Path, pictures: list[Path], idle):
    job = jobs.start("tiny", pictures, owner="ayu")
    grids = studio / job / "samples"
    grids.mkdir()

    def keep(*steps: int) -> None:
        for path in grids.iterdir():
            path.unlink()
        for step in steps:
            Image.new("RGB", (8, 8)).save(grids / f"step-{step:06d}.png")

    def look(at: int, shown: list) -> tuple:
        found = watch.view("ayu", job, at, shown)
        return found[4], found[5], found[-1]

    keep(0, 10, 20)
    picture, moment, shown = look(0, [None, [], 0])
    assert "20" in picture["label"] and moment["value"] == 2 and shown[1] == [0, 10, 20]
    # As many as before, but others: one has gone for the newest.
    keep(0, 20, 30)
    picture, moment, after = look(2, shown)
    assert "30" in picture["label"] and moment["value"] == 2
    # Whoever had slid back stays, at what is left nearest before.
    picture, moment, _ = look(1, shown)
    assert "step 0" in picture["label"] and moment["value"] == 0
    assert watch.moment_on_view(job, 1, after) == 20 and watch.moment_on_view("0" * 24, 1, after) is None
    assert "20" in watch.look_back("ayu", job, 1, after)["label"]
    keep(0, 30)
    assert watch.look_back("ayu", job, 1, after) == gr.skip()


def test_a_job_is_deleted_in_every_state_but_training(studio: Path, pictures: list[Path], idle):
    first, second, third = (jobs.start("tiny", pictures, owner="ayu") for _ in range(3))
    with pytest.raises(RunError, match="stop it first"):
        jobs.delete(first)
    jobs.delete(second)
    assert [(one.id, one.state) for one in jobs.list_jobs("ayu")] == [(third, "waiting"), (first, "running")]
    with pytest.raises(RunError, match="no such run"):
        jobs.delete(second)
    idle[0].kill()
    wait_for(lambda: state(first) == "failed", 10)
    jobs.delete(first)
    jobs.stop(third)
    wait_for(lambda: state(third) == "stopped", 10)
    jobs.delete(third)
    assert jobs.list_jobs() == [] and [path for path in studio.iterdir() if path.is_dir()] == []


@pytest.fixture
def trained(studio: Path, pictures: list[Path], idle) -> str:
    """A stopped job with two snapshots of the tiny model, the first the better by KID."""
    job = jobs.start("tiny", pictures, {"name": "Kain"}, "ayu")
    jobs.stop(job)
    wait_for(lambda: state(job) == "stopped", 10)
    run, weights = Run(studio / job), load_file(catalog.find("tiny") / "model.safetensors")
    for step in (10, 20):
        run.add_metrics(step=step, seconds=1.0, images=step, g_loss=1.0, d_loss=1.0, kid=step / 100)
        run.save_snapshot(step, {key: value + step / 1e4 for key, value in weights.items()})
    return job


def test_a_title_given_while_the_model_is_made_is_the_models(studio: Path, trained: str, monkeypatch):
    def export(*arguments):
        with records.changing(trained) as record:
            record["title"] = "Kain baru"
        return made(*arguments)

    made = export_module.export_run
    monkeypatch.setattr(export_module, "export_run", export)
    jobs.promote(trained, 10)
    assert json.loads((jobs.status(trained).checkpoint / "config.json").read_text())["title"] == "Kain baru"


def test_a_process_that_ends_just_before_it_is_killed_stops_nothing_else(studio: Path, trained: str, monkeypatch):
    with records.changing(trained) as record:
        record["stopping"] = -1e9
    monkeypatch.setattr(processes, "state_of", lambda record: "stopping")
    assert processes.process_of(records.read(trained)) is None
    jobs.advance()


def test_the_watch_goes_on_whatever_happens(monkeypatch, caplog):
    looks = []

    def advance():
        looks.append(1)
        raise [OSError("full"), KeyError("odd"), KeyboardInterrupt][len(looks) - 1]

    monkeypatch.setattr(jobs, "advance", advance)
    with pytest.raises(KeyboardInterrupt):
        jobs.watch(0)
    assert len(looks) == 3 and [record.exc_info[0] for record in caplog.records] == [KeyError]


def test_seeds_begin_anew_after_the_last():
    assert tab.seeds_from(2**31 - 1, 2) == [2**31 - 1, 0]


def test_any_snapshot_can_be_made_the_model(studio: Path, trained: str):
    made = {}
    for step in (20, 10, 20):
        jobs.promote(trained, step)
        status = jobs.status(trained)
        config = json.loads((status.checkpoint / "config.json").read_text())
        assert (config["step"], config["title"], config["source"]) == (step, "Kain", "12 pictures")
        model = (status.checkpoint / "model.safetensors").read_bytes()
        assert made.setdefault(step, model) == model
    assert made[10] != made[20]
    with pytest.raises(RunError, match="Nothing was kept of step 15"):
        jobs.promote(trained, 15)
    assert json.loads((jobs.status(trained).checkpoint / "config.json").read_text())["step"] == 20
    jobs.resume(trained)
    with pytest.raises(RunError, match="stop it first"):
        jobs.promote(trained, 10)


@pytest.mark.timeout(600)
def test_a_kill_while_promoting_leaves_one_model_or_the_other(studio: Path, trained: str):
    jobs.promote(trained, 10)
    seed = random.randrange(2**32)
    print("seed of the moments of the kills:", seed)
    chance = random.Random(seed)
    for _ in range(3):
        process = beside(promote_for_ever, trained)
        log = studio / trained / "swaps"
        wait_for(log.exists, 120)
        time.sleep(chance.uniform(0, 1.5))
        process.kill()
        process.join()
        log.unlink()
        checkpoint = jobs.status(trained).checkpoint
        step = json.loads((checkpoint / "config.json").read_text())["step"]
        assert step in (10, 20) and catalog.load(checkpoint).sample(1)
    # As a kill in the midst of an export leaves it.
    (studio / trained / "..checkpoint-new.abcd1234" / ".checkpoint-new").mkdir(parents=True)
    jobs.promote(trained, 20)
    assert sorted(path.name for path in (studio / trained).glob(".*checkpoint*")) == []
    assert jobs.status(trained).checkpoint.name == "checkpoint"


def promote_for_ever(job: str) -> None:
    while True:
        for step in (10, 20):
            jobs.promote(job, step)
            (records.folder_of(job) / "swaps").touch()


def test_all_are_stopped_and_no_process_is_left(studio: Path, pictures: list[Path], idle):
    running = jobs.start("tiny", pictures, {}, "ayu")
    waiting = jobs.start("tiny", pictures, {}, "budi")
    process = processes.process_of(records.read(running))
    assert (state(running), state(waiting)) == ("running", "waiting") and process
    assert jobs.stop_all() == 2
    process.wait(5)
    assert state(waiting) == "stopped" and state(running) in ("stopped", "failed")
    assert jobs.stop_all() == 0


def test_a_deaf_process_is_killed(studio: Path, pictures: list[Path], idle, monkeypatch: pytest.MonkeyPatch):
    spawn = jobs.spawn
    monkeypatch.setattr(jobs, "spawn", lambda job: spawn(job, DEAF))
    monkeypatch.setattr(processes, "STOP_SECONDS", 0.5)
    job = jobs.start("tiny", pictures)
    idle[0].stdout.readline()
    jobs.stop(job)
    assert state(job) == "stopping"
    # By the timer, without anyone looking.
    assert idle[0].wait(10) == -9
    assert state(job) == "stopped"


@pytest.mark.parametrize(("wish", "found"), [("12", 12), ("", 10), ("nonsense", 10), ("99", 19)])
def test_trainings_give_way_as_the_owner_wishes(wish: str, found: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CANTING_NICE", wish)
    code = "import os; from gan import settings; from training import worker; worker.give_way(settings.niceness())"
    code += "; print(os.nice(0))"
    # In a session of its own: what Linux groups by session is to stay as it is here.
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, start_new_session=True)
    assert int(said.stdout) == found


def test_what_is_making_its_model_is_given_longer(studio: Path, pictures: list[Path], idle, monkeypatch):
    monkeypatch.setattr(jobs, "spawn", lambda job, spawn=jobs.spawn: spawn(job, DEAF))
    job = jobs.start("tiny", pictures)
    idle[0].stdout.readline()
    jobs.stop(job)
    with records.changing(job) as record:
        record["keeping"] = True
        record["stopping"] -= 2 * processes.STOP_SECONDS
    jobs.advance()
    assert idle[0].poll() is None and state(job) == "stopping"
    with records.changing(job) as record:
        record["stopping"] -= 10 * processes.STOP_SECONDS
    jobs.advance()
    assert idle[0].wait(10) == -signal.SIGKILL and state(job) == "stopped"
    told = watch.progress(replace(jobs.status(job), step=3))
    assert "stopped before its model could be made" in told
    jobs.resume(job)
    assert "keeping" not in records.read(job)


def test_a_full_disk_is_said_and_the_saved_state_stays(
    studio: Path, pictures: list[Path], idle, monkeypatch: pytest.MonkeyPatch
):
    """A real disk cannot be filled without filling it for everybody: what fails is the writing of tensors."""
    job = jobs.start("tiny", pictures, {"steps": 3})
    idle[0].kill()
    idle[0].wait()
    state_file = records.folder_of(job) / "state.safetensors"

    def full(tensors: object, path: Path, *_: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    monkeypatch.setattr(worker, "give_way", lambda niceness: None)
    assert worker.main(records.folder_of(job)) == 1
    now = jobs.status(job, "id")
    assert now.state == "failed" and now.reason == say("error.disk.full", "id")
    assert not state_file.exists() and not list(state_file.parent.glob(".state*"))


@pytest.mark.timeout(300)
def test_a_job_resumed_by_command_goes_on_as_one(studio: Path, pictures: list[Path], monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr(jobs, "spawn", lambda job: {"pid": 2**22 - 3, "began": 0})
        job = jobs.start("tiny", pictures, {"steps": 1})
    assert state(job) == "failed"
    monkeypatch.setattr("sys.argv", ["training", "resume", str(studio / job), "--threads", "1"])
    with pytest.raises(SystemExit) as end:
        command_line()
    assert end.value.code == 1 and "leave out --threads" in capsys.readouterr().err
    monkeypatch.setattr("sys.argv", ["training", "resume", str(studio / job)])
    with pytest.raises(SystemExit) as end:
        command_line()
    assert not end.value.code
    told = jobs.status(job)
    assert told.state == "finished" and told.checkpoint and str(told.checkpoint) in capsys.readouterr().out


def test_a_full_disk_keeps_nobody_from_their_runs_and_starts_no_process_twice(
    studio: Path, pictures: list[Path], idle, monkeypatch: pytest.MonkeyPatch
):
    first, second = (jobs.start("tiny", pictures, owner=owner) for owner in ("ayu", "ben"))
    idle[0].kill()
    idle[0].wait()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(records, "write", full)
        assert [one.id for one in jobs.list_jobs("ayu")] == [first] and state(second) == "waiting"
    assert len(idle) == 3 and all(one.wait(10) is not None for one in idle)
    # There is room again.
    jobs.advance()
    assert (state(first), state(second)) == ("failed", "running")


def test_a_process_that_has_only_just_begun_is_known(
    studio: Path, pictures: list[Path], idle, monkeypatch: pytest.MonkeyPatch
):
    """The system gives a program its arguments a moment after ``Popen`` has returned."""
    job = jobs.start("tiny", pictures)
    monkeypatch.setattr(psutil.Process, "cmdline", lambda process: [])
    assert state(job) == "running"
    jobs.stop(job)
    assert idle[0].wait(10) is not None and state(job) == "stopped"


def test_a_job_that_could_not_be_started_elsewhere_waits_for_nobody(
    studio: Path, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
):
    def refused(job: str) -> dict:
        raise BlockingIOError(errno.EAGAIN, "no more processes")

    monkeypatch.setattr(jobs, "spawn", refused)
    with pytest.raises(BlockingIOError):
        jobs.start("tiny", pictures, place=Place(flavor="t4-small", token="hf_x"))
    (found,) = jobs.list_jobs()
    assert found.state == "failed"


def test_a_folder_with_an_odd_record_is_no_job(studio: Path, pictures: list[Path], idle):
    job = jobs.start("tiny", pictures, owner="ayu")
    for number, content in enumerate(("{}", "[]", "null", '{"id": "x"}', "[" * 100_000)):
        folder = studio / f"{number:024x}"
        folder.mkdir()
        (folder / "job.json").write_text(content)
        with pytest.raises(RunError, match="no such run"):
            records.read(folder.name)
    jobs.advance()
    assert [one.id for one in jobs.list_jobs()] == [job] and jobs.own_models("ayu") == []


def test_a_reused_process_id_is_not_the_job(studio: Path, pictures: list[Path], idle):
    job = jobs.start("tiny", pictures)
    other = subprocess.Popen([sys.executable, "-c", IDLE.format("pass"), job])
    began = processes.since_boot(psutil.Process(other.pid))
    for record_of_other in (
        {"pid": other.pid, "began": began - 100},  # the right command, another start
        {"pid": os.getpid(), "began": processes.since_boot(psutil.Process())},  # another command
        {"pid": 2**22 - 3, "began": began},  # nobody
    ):
        with records.changing(job) as record:
            record["process"] = record_of_other
        assert state(job) == "failed"
        jobs.stop(job)
    assert other.poll() is None
    other.kill()
    other.wait()


@pytest.mark.parametrize("hours", [-30, 30])
def test_a_clock_that_jumps_loses_no_process(
    studio: Path, pictures: list[Path], idle, monkeypatch: pytest.MonkeyPatch, hours: int
):
    """As the system reports it: the present, the time of its start and of every process's jump together."""
    spawn = jobs.spawn
    monkeypatch.setattr(jobs, "spawn", lambda job: spawn(job, DEAF))
    job = jobs.start("tiny", pictures)
    idle[0].stdout.readline()
    clock, boot = time.time, psutil._psplatform.boot_time
    monkeypatch.setattr(time, "time", lambda: clock() + 3600 * hours)
    monkeypatch.setattr(psutil._psplatform, "boot_time", lambda: boot() + 3600 * hours)
    assert psutil.Process(records.read(job)["process"]["pid"]).create_time() == pytest.approx(time.time(), abs=600)
    assert state(job) == "running"
    jobs.stop(job)
    jobs.advance()
    time.sleep(0.2)
    assert state(job) == "stopping" and idle[0].poll() is None, "it has its twenty seconds to save"


def test_two_processes_never_train_one_run(studio: Path, pictures: list[Path], idle, monkeypatch: pytest.MonkeyPatch):
    job = jobs.start("tiny", pictures)
    monkeypatch.setattr(worker, "give_way", lambda niceness: None)
    monkeypatch.setattr(worker, "TURN_SECONDS", 0.1)
    monkeypatch.setattr(worker, "train", lambda folder, token: worker.main(folder) and "finished")
    before = records.read(job)["process"]
    # The second is told off while the first trains; the first goes on.
    assert worker.main(studio / job) == 0
    assert records.read(job)["ended"] == {"how": "finished"}
    assert records.read(job)["process"]["pid"] == os.getpid() != before["pid"]


def test_what_is_no_job(studio: Path, tmp_path: Path):
    for name in ("", "../tiny", "0" * 24, "/etc", None):
        for act in (jobs.status, jobs.stop, jobs.resume, jobs.delete, partial(jobs.rename, title="x")):
            with pytest.raises(RunError, match="no such run"):
                act(name)
    studio.mkdir(exist_ok=True)
    (studio / "notes").mkdir()
    (studio / ("a" * 24)).mkdir()
    (studio / ("a" * 24) / "job.json").write_text("{")
    assert jobs.list_jobs() == []


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"steps": 0}, "from 1 to"),
        ({"steps": True}, "from 1 to"),
        ({"steps": "10"}, "from 1 to"),
        ({"steps": 10**9}, "from 1 to"),
        ({"name": "x" * 61}, "at most 60"),
        ({"mirror": "yes"}, "on or off"),
        ({"keep_all": 3}, "keep_all is either"),
        ({"name": "\ud800"}, "at most 60"),
        ({"rate_g": 1}, "no setting called rate_g"),
        ([1], "Settings are an object"),
        ("steps", "Settings are an object"),
    ],
)
def test_settings_out_of_range(studio: Path, pictures: list[Path], settings: object, sentence: str):
    with pytest.raises(RunError, match=sentence):
        jobs.start("tiny", pictures, settings)
    with pytest.raises(RunError, match="cannot be trained further. These can: tiny"):
        jobs.start("../checkpoints/tiny", pictures)
    assert not studio.exists() or list(studio.glob("*")) == []


def zip_of(path: Path, files: dict[str, bytes], link: str = "") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = ((stat.S_IFLNK if name == link else stat.S_IFREG) | 0o644) << 16
            archive.writestr(info, content)
    return path


def bad_uploads(folder: Path, good: list[Path]) -> dict[str, list[Path] | Path]:
    """What people, and others, hand in."""
    (folder / "empty.png").write_bytes(b"")
    (folder / "page.jpg").write_text("<html><script>alert(1)</script></html>")
    Image.open(good[0]).save(folder / "b.png")
    png = (folder / "b.png").read_bytes()
    (folder / "half.png").write_bytes(png[:900])
    Image.new("RGB", (1, 1)).save(folder / "dot.png")
    (folder / "torn.zip").write_bytes(b"PK\x03\x04 and then nothing")
    return {
        "empty.png cannot be used": [*good, folder / "empty.png"],
        "page.jpg cannot be used": [*good, folder / "page.jpg"],
        "half.png cannot be used": [*good, folder / "half.png"],
        "dot.png cannot be used": [*good, folder / "dot.png"],
        "there are 9 .handed in: 9.": good[:9],
        "there are 1 .handed in: 12; duplicate: 11.": [good[0]] * 12,
        "Drop your pictures first": [],
        "there are 501": [good[0]] * 501,
        "not a zip file": [folder / "torn.zip"],
        "outside its own folder": zip_of(folder / "up.zip", {"../../up.png": png, "b.png": png}),
        "is a link": zip_of(folder / "link.zip", {"a.png": b"/etc/passwd", "b.png": png}, "a.png"),
        "zip is refused": zip_of(folder / "bomb.zip", {"a.png": bytes(50_000_000), "b.png": png}),
        "c.png cannot be used": zip_of(folder / "inside.zip", {"a.png": png, "b.png": png, "c.png": b"no picture"}),
    }


def test_bad_uploads_end_in_a_sentence_and_leave_nothing(studio: Path, tmp_path: Path):
    good = make_cloths(tmp_path / "cloths")
    uploads = bad_uploads(tmp_path, good)
    before = sorted(tmp_path.rglob("*"))
    for sentence, upload in uploads.items():
        with pytest.raises(DataError, match=sentence) as caught:
            jobs.start("tiny", upload)
        assert caught.value.say("id") != caught.value.say("en")
    after = [path for path in sorted(tmp_path.rglob("*")) if studio not in [path, *path.parents]]
    assert after == before and list(studio.glob("[!.]*")) == []


def test_odd_but_usable_uploads(studio: Path, tmp_path: Path, idle):
    folder = tmp_path / "odd"
    make_cloths(folder, 9)
    Image.new("CMYK", (90, 70), (20, 90, 0, 10)).save(folder / "press.jpg")
    Image.new("RGBA", (64, 64), (200, 30, 30, 0)).save(folder / "clear.png")
    Image.new("RGB", (3000, 1500), "navy").save(folder / "large.jpg")
    shutil.make_archive(str(tmp_path / "odd"), "zip", folder)
    job = jobs.start("tiny", [tmp_path / "odd.zip", folder / "press.jpg"], {"keep_all": True})
    kept = [Image.open(path) for path in sorted((studio / job / "pictures").iterdir())]
    assert {(one.mode, one.format) for one in kept} == {("RGB", "JPEG")} and len(kept) == 13
    assert max(min(one.size) for one in kept) == 1024
    assert jobs.status(job).pictures == 13
