"""Self-made pictures, a tiny model to start from, and processes that train."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open

from training import jobs, processes, records
from training.runs import Run

# A process that a job's id is written on, that does nothing, and may refuse to be stopped.
IDLE = "import signal, time; {}; time.sleep(60)"
DEAF = "signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True)"


def make_pictures(folder: Path, count: int = 6, mode: str = "RGB") -> list[Path]:
    """Stripes and dots of several sizes, drawn by numbers alone, as PNG files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for i in range(count):
        height, width = 80 + 3 * i, 96 - 2 * i
        y, x = np.mgrid[:height, :width]
        waves = [np.sin(x / (3 + i) + c) * np.cos(y / (4 + c)) for c in range(3)]
        picture = Image.fromarray((127.5 + 127.5 * np.stack(waves, -1)).astype(np.uint8)).convert(mode)
        picture.save(folder / f"cloth-{i}.png")
        paths.append(folder / f"cloth-{i}.png")
    return paths


def make_cloths(folder: Path, count: int = 12, side: int = 160) -> list[Path]:
    """Patterned squares that the audit keeps, no two alike, drawn by numbers alone, as JPEG files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for i in range(count):
        coarse = np.random.default_rng(i).integers(0, 256, (12, 12, 3), dtype=np.uint8)
        paths.append(folder / f"kain-{i}.jpg")
        Image.fromarray(coarse).resize((side, side + 2 * i), Image.Resampling.BICUBIC).save(paths[-1])
    return paths


def wait_for(happened: Callable[[], object], seconds: float = 60) -> object:
    """Ask until the answer is true, and return it; fail after ``seconds``."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = happened()
        if answer:
            return answer
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds} s in vain")


def beside(function: Callable[..., None], *arguments: object) -> BaseProcess:
    """A process that calls a function of a module, in the environment that this one has now. It begins with everything
    imported, which would take longer than what most tests do in it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["training.__main__", "training.loop", "training.classifier", "training.promote"])
    process = context.Process(target=in_environment, args=(dict(os.environ), function, *arguments))
    process.start()
    return process


def in_environment(environment: dict[str, str], function: Callable[..., None], *arguments: object) -> None:
    os.environ.clear()
    os.environ.update(environment)
    function(*arguments)


def resuming(folder: Path) -> BaseProcess:
    """A process that carries a run on as ``python -m training resume`` does, on one thread, so that two of them do not
    disturb each other."""
    from training.__main__ import train

    return beside(train, folder, 1)


@pytest.fixture(autouse=True)
def any_precision() -> None:
    """Each test may train in a precision of its own: a process keeps its first one until told otherwise."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state()


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    """Twelve self-made pictures that can be trained on."""
    return make_cloths(tmp_path / "cloths")


def make_base(folder: Path, **changes: object) -> Path:
    """A checkpoint folder with a tiny untrained generator that says it was made by the recipe batik-kawung, with
    ``changes`` in its config."""
    from gan import nets
    from gan.checkpoint import save

    arguments = {"resolution": 64, "width": 4, "noise": False}
    config = {
        "kind": "generator",
        "title": "Tiny",
        "network": "fastgan",
        "arguments": arguments,
        "recipe": "batik-kawung",
        "resolution": 64,
        "channels": 3,
        # It sees pictures as small as they are: enlarged they would take most of a test's time.
        "discriminators": {"projected": {"mixed": [16, 16, 16, 16], "width": 16}},
    }
    return save(folder, nets.build(nets.GENERATORS, "fastgan", arguments).state_dict(), config | changes)


@pytest.fixture
def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoints folder with one base model, "tiny", and a runs folder to be, which is returned."""
    monkeypatch.setenv("CANTING_CHECKPOINTS", str(tmp_path / "checkpoints"))
    monkeypatch.setenv("CANTING_RUNS", str(tmp_path / "runs"))
    make_base(tmp_path / "checkpoints" / "tiny")
    return tmp_path / "runs"


@pytest.fixture
def end_jobs(studio: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No process that a test started outlives it, nor one that a timer of an earlier test starts in its place."""
    yield
    monkeypatch.setenv("CANTING_TRAIN", "0")
    while going := [one for record in records.every() if (one := processes.process_of(record))]:
        for process in going:
            process.kill()
            process.wait(20)


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen]:
    """Jobs get a process that idles instead of training."""
    started: list[subprocess.Popen] = []

    def spawn(job: str, behaviour: str = "pass") -> dict:
        process = subprocess.Popen([sys.executable, "-c", IDLE.format(behaviour), job], stdout=subprocess.PIPE)
        started.append(process)
        return processes.identity(process.pid)

    monkeypatch.setattr(jobs, "spawn", spawn)
    return started


def contents(run: Run) -> tuple[dict[str, Any], dict]:
    """The saved tensors, and the other values with the clock's left out."""
    with safe_open(run.state_file, "pt") as stored:
        plain = dict(json.loads(stored.metadata()["shape"])["dict"])
        return {key: stored.get_tensor(key) for key in stored.keys()}, {**plain, "seconds": None}  # noqa: SIM118
