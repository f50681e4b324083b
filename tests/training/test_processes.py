"""Several processes on the CPU with gloo do what one does with the same total batch."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from gan.settings import ROOT
from tests.browser.conftest import free_port
from tests.training.conftest import make_cloths, wait_for
from training.runs import Run


def launch(count: int, *words: str | Path) -> subprocess.Popen:
    """That many processes, each on one thread. (``accelerate launch`` starts several on a CPU through MPI only.)"""
    together = ["-m", "torch.distributed.run", "--nproc_per_node", str(count), "--master_port", str(free_port())]
    return subprocess.Popen(
        [sys.executable, *(together if count > 1 else []), *map(str, words)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def finish(process: subprocess.Popen) -> None:
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors.decode()[-3000:]


def test_training_takes_the_device_that_sampling_takes() -> None:
    """On a Mac, whose GPU accelerate would take. It keeps its first answer: a process of its own."""
    code = (
        "import torch, accelerate.state as state; torch.backends.mps.is_available = lambda: True;"
        "torch.backends.mps.is_built = lambda: True;"
        "getattr(state.is_mps_available, 'cache_clear', lambda: None)();"
        "from gan.device import best_device; from training.start import processes;"
        "assert processes().device.type == best_device().type, processes().device"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=120)


@pytest.mark.timeout(600)
def test_two_processes_train_as_one_with_the_whole_batch(tmp_path: Path):
    make_cloths(tmp_path / "cloths", 10)
    script = ROOT / "tests" / "training" / "shared_latents.py"
    for count, batch in ((2, 3), (1, 6)):
        finish(launch(count, script, tmp_path / "cloths", tmp_path / str(count), batch, 4))
    one = load_file(tmp_path / "1" / "rank-0.safetensors")
    two = [load_file(tmp_path / "2" / f"rank-{rank}.safetensors") for rank in (0, 1)]
    # The processes never drift apart, and together they go where one goes but for the order of sums.
    assert [key for key in one if not torch.equal(two[0][key], two[1][key])] == []
    begun = Run(tmp_path / "1").load_state()["step"]
    assert begun == 4 == Run(tmp_path / "2").load_state()["step"]
    for key, value in one.items():
        assert torch.allclose(two[0][key], value, rtol=1e-3, atol=2e-5), key
    lines = [Run(tmp_path / name).metrics() for name in ("1", "2")]
    assert [line["images"] for line in lines[0]] == [line["images"] for line in lines[1]] == [6, 12, 18, 24]


@pytest.mark.timeout(600)
def test_the_command_line_trains_with_two_processes_and_stops_them_together(studio: Path, tmp_path: Path):
    make_cloths(tmp_path / "cloths", 10)
    changes = {
        "source": tmp_path / "cloths",
        "start": "''",
        "network_args": {"resolution": 64, "width": 4},
        "resolution": 64,
        "batch": 2,
        "accumulate": 1,
        "low_steps": 0,
        "lowest_steps": 0,
        "save_every": 2,
        "snapshot_every": 1000,
        "score_every": 0,
    }
    words = [word for key, value in changes.items() for word in ("--set", f"{key}={value}")]
    process = launch(2, "-m", "training", "fit", "batik-kawung", "--steps", "5000", *words)
    wait_for(lambda: list(studio.glob("*/run.json")) or process.poll() is not None, 240)
    assert process.poll() is None, process.communicate()[1].decode()[-3000:]
    # One run, whatever the second each process began in.
    (run,) = map(Run, studio.iterdir())
    wait_for(lambda: len(run.metrics()) >= 3 or process.poll() is not None, 240)
    assert json.loads((run.folder / "run.json").read_text())["recipe"]["steps"] == 5000
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    assert "stopped at step" in (run.folder / "log.txt").read_text()
    state, lines = run.load_state()["step"], run.metrics()
    assert state >= lines[-1]["step"] and lines[0]["images"] == 4
