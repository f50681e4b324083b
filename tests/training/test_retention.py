"""What is deleted by itself, and what never is."""

from __future__ import annotations

import os
import secrets
import shutil
import threading
import time
from pathlib import Path

import pytest

from gan import catalog, own
from gan.errors import DataError, RunError
from tests.training.conftest import make_cloths
from training import basket, jobs, records, retention
from training.runs import MOST_SNAPSHOTS, Run, evenly

DAY = 86400


@pytest.fixture
def make(studio: Path):
    """``make(owner, days, **more)``: a finished run that was last touched so many days ago."""

    def one(owner: str = "ayu", days: float = 0, how: str = "finished", size: int = 0, **more: object) -> str:
        job = secrets.token_hex(12)
        record = {"id": job, "owner": owner, "title": "Kain", "base": "tiny", "pictures": 12, "steps": 5}
        record |= {"created": time.time() - days * DAY, "ticket": 1, **more}
        if how != "waiting":
            record["ended"] = {"how": how}
        (studio / job).mkdir(parents=True)
        (studio / job / "state.safetensors").write_bytes(bytes(size))
        records.write(record)
        for path in (*(studio / job).iterdir(), studio / job):
            os.utime(path, (time.time() - days * DAY,) * 2)
        return job

    return one


def left(studio: Path) -> set[str]:
    return {path.parent.name for path in studio.glob("*/job.json")}


def test_what_nobody_came_back_for_goes(studio: Path, make, pictures: list[Path], monkeypatch: pytest.MonkeyPatch):
    old, fresh, published = make(days=8), make(days=6), make(days=90, published=True)
    waiting = make(days=90, how="waiting")
    basket.add("ayu", pictures)
    basket.add("budi", pictures)
    for path in (basket.folder_of("budi"), *basket.folder_of("budi").iterdir()):
        os.utime(path, (time.time() - 8 * DAY,) * 2)
    (studio / "batik-kawung").mkdir()
    (studio / "batik-kawung" / "run.json").write_text("{}")
    (studio / ".deleted-x").mkdir()
    os.utime(studio / ".deleted-x", (time.time() - 2 * DAY,) * 2)
    # Somebody may be at work there still.
    (studio / f"{records.MAKING}x").mkdir()
    os.utime(studio / f"{records.MAKING}x", (time.time() - 3600,) * 2)
    os.utime(studio / "batik-kawung", (time.time() - 900 * DAY,) * 2)
    before = left(studio)

    # At home nothing goes by itself but leftovers; on a Space what is a week old does.
    for environment, gone in (({}, set()), ({"SYSTEM": "spaces", "SPACE_ID": "a/b"}, {old})):
        for key, value in environment.items():
            monkeypatch.setenv(key, value)
        monkeypatch.setattr(retention, "_last_sweep", 0.0)
        retention.sweep()
        assert before - left(studio) == gone
    assert {fresh, published, waiting} <= left(studio)
    assert basket.content("ayu") != [] == basket.content("budi")
    assert not (studio / ".deleted-x").exists() and (studio / f"{records.MAKING}x").exists()
    # A training from the command line is nobody's upload.
    assert (studio / "batik-kawung" / "run.json").exists()

    monkeypatch.setenv("CANTING_KEEP_DAYS", "0.5")
    retention.sweep()
    assert fresh in left(studio)  # not again so soon
    monkeypatch.setattr(retention, "_last_sweep", 0.0)
    retention.sweep()
    assert left(studio) == {published, waiting}


def test_a_clock_that_jumps_ahead_makes_nothing_old(studio: Path, make, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CANTING_KEEP_DAYS", "7")
    clock = time.time
    fresh = make(days=1)
    monkeypatch.setattr(time, "time", lambda: clock() + 30 * DAY)
    monkeypatch.setattr(retention, "_last_sweep", 0.0)
    retention.sweep()
    assert left(studio) == {fresh}


def test_a_clock_set_back_makes_nothing_old(studio: Path, make, monkeypatch: pytest.MonkeyPatch):
    """It was ten days ahead when the app began, and has been put right since."""
    monkeypatch.setenv("CANTING_KEEP_DAYS", "7")
    monkeypatch.setattr(retention, "AHEAD", retention.AHEAD + 10 * DAY)
    monkeypatch.setattr(retention, "_last_sweep", 0.0)
    fresh, _ = make(days=0), make(days=8)
    retention.sweep()
    assert left(studio) == {fresh}


def test_the_oldest_make_room(studio: Path, make, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CANTING_MOST_RUNS", "3")
    published, newer, others = make(days=9, published=True), make(days=4), make("budi", 20)
    make(days=5)
    retention.make_room("ayu")
    assert left(studio) == {published, newer, others}
    retention.make_room("ayu")
    assert left(studio) == {published, newer, others}
    waiting = make(how="waiting")
    retention.make_room("ayu")
    assert left(studio) == {published, waiting, others}
    make(how="waiting")
    with pytest.raises(RunError, match="You have 3 runs"):
        retention.make_room("ayu")
    assert len(left(studio)) == 4


def test_disk_is_bounded_for_each(studio: Path, make, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CANTING_MOST_GB", "0.001")
    first, second, third = (make(days=days, size=600_000) for days in (3, 2, 1))
    retention.make_room("ayu")
    assert left(studio) == {third}
    make(how="waiting", size=900_000)
    make(published=True, size=600_000)
    with pytest.raises(RunError, match="take the 0.001 GB"):
        retention.make_room("ayu")
    assert third in left(studio)


def test_a_disk_that_is_nearly_full_takes_no_more_from_anyone(studio: Path, pictures: list[Path], monkeypatch):
    """A real one cannot be filled without filling it for everybody: there is never enough left."""
    basket.add("ayu", pictures)
    monkeypatch.setattr(retention, "LEAST_FREE_BYTES", 2**62)
    for ask in (lambda: basket.add("ben", pictures), lambda: jobs.start("tiny", pictures)):
        with pytest.raises(RunError, match="GB left: free some space"):
            ask()
    assert jobs.list_jobs() == [] and len(basket.content("ayu")) == 12 and basket.content("ben") == []
    assert [path.name for path in studio.glob(".new-*")] == []


@pytest.mark.usefixtures("end_jobs", "idle")
def test_a_run_that_trains_is_never_deleted(studio: Path, pictures: list[Path], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CANTING_MOST_RUNS", "1")
    job = jobs.start("tiny", pictures, owner="ayu")
    with pytest.raises(RunError, match="You have 1 runs"):
        jobs.start("tiny", pictures, owner="ayu")
    with pytest.raises(RunError, match="stop it first"):
        jobs.delete(job)
    assert left(studio) == {job} and not list(studio.glob(f"{records.MAKING}*"))


@pytest.mark.usefixtures("end_jobs", "idle")
def test_the_limit_holds_for_starts_at_once(studio: Path, pictures: list[Path], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CANTING_MOST_RUNS", "2")
    refused = []

    def start() -> None:
        try:
            jobs.start("tiny", pictures, owner="ayu")
        except RunError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=start) for _ in range(6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(left(studio)) == 2 and len(refused) == 4 and all("You have 2 runs" in one for one in refused)


def test_locks_of_baskets_that_have_gone_go_too(studio: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CANTING_KEEP_DAYS", "7")
    monkeypatch.setattr(retention, "_last_sweep", 0.0)
    locks = [studio / ".baskets" / f"{name}.lock" for name in ("old", "used", "fresh")]
    locks[1].with_suffix("").mkdir(parents=True)
    for lock in locks:
        lock.touch()
    for lock in locks[:2]:
        os.utime(lock, (time.time() - 8 * 86_400,) * 2)
    retention.sweep()
    assert [lock.exists() for lock in locks] == [False, True, True]


def test_what_may_go_on_at_a_price_elsewhere_is_never_deleted(studio: Path, make, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CANTING_MOST_RUNS", "1")
    monkeypatch.setenv("CANTING_KEEP_DAYS", "7")
    astray = make(days=30, how="failed", remote={"flavor": "t4-small", "timeout": "2h", "job": "a1b2"})
    monkeypatch.setattr(retention, "_last_sweep", 0.0)
    retention.sweep()
    with pytest.raises(RunError, match="You have 1 runs"):
        retention.make_room("ayu")
    with pytest.raises(RunError, match="still be going on at Hugging Face"):
        jobs.delete(astray)
    assert left(studio) == {astray}


def test_what_is_in_use_is_not_old(studio: Path, make, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CANTING_KEEP_DAYS", "7")
    looked_at, drawn_from, forgotten = (make(days=8) for _ in range(3))
    shutil.copytree(catalog.find("tiny"), studio / drawn_from / "checkpoint")
    for path in (*(studio / drawn_from).rglob("*"), studio / drawn_from):
        os.utime(path, (time.time() - 8 * DAY,) * 2)
    records.own("ayu", looked_at)
    own.load(studio / drawn_from / "checkpoint")
    monkeypatch.setattr(retention, "_last_sweep", 0.0)
    retention.sweep()
    assert left(studio) == {looked_at, drawn_from} and forgotten not in left(studio)


def test_snapshots_stay_few_and_evenly_spaced(tmp_path: Path):
    kept: list[int] = []
    for step in range(50, 20_001, 50):
        kept = evenly([*kept, step], MOST_SNAPSHOTS, best=1250 if step >= 1250 else None)
    assert len(kept) == MOST_SNAPSHOTS and kept[0] == 50 and kept[-1] == 20_000 and 1250 in kept
    gaps = [after - before for before, after in zip(kept, kept[1:], strict=False) if 1250 not in (before, after)]
    assert max(gaps) <= 2.5 * min(gaps[:-1])
    assert evenly([3, 1, 2], 20) == [1, 2, 3]


def test_pruning_keeps_the_best_and_what_belongs_to_each(tmp_path: Path):
    import torch

    run = Run(tmp_path)
    weights = {"w": torch.ones(2)}
    (tmp_path / "samples").mkdir()
    for step in range(0, 310, 10):
        (tmp_path / "samples" / f"step-{step:06d}.png").write_bytes(b"x")
        run.add_metrics(step=step, kid=abs(step - 130) / 1000)
        if step:
            run.save_snapshot(step, weights, weights)
    steps = [int(path.stem[-6:]) for path in run.snapshots()]
    assert len(steps) == MOST_SNAPSHOTS and {10, 130, 300} <= set(steps)
    assert [int(path.stem[-6:]) for path in sorted((tmp_path / "samples").iterdir())] == [0, *steps]
    assert len(list((tmp_path / "snapshots").glob("discriminator-*"))) == MOST_SNAPSHOTS


def test_a_basket_holds_so_many_pictures(studio: Path, tmp_path: Path):
    with pytest.raises(DataError, match="at most 500 pictures; there are 501"):
        basket.add("ayu", make_cloths(tmp_path, 1) * 501)
    assert basket.content("ayu") == []
