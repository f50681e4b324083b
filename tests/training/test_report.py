"""The comparison as Markdown, and the picture of how a training went."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from gan.pictures import read_metadata
from gan.results import results
from gan.settings import ROOT
from training.export import write_timeline
from training.report import report
from training.runs import Run


def test_every_report_and_every_checkpoint_of_one_is_in_it(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "report.md"
    text = report(out)
    assert out.read_text(encoding="utf-8") == text
    assert re.findall(r"^## (R\d)", text, re.M) == ["R1", "R2", "R3", "R4", "R5"]
    for one in results():
        assert f"`{one.name}`" in text
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert len(links) > len(results())
    for link in links:
        assert (out.parent / link).resolve().is_relative_to(ROOT / "checkpoints"), link
        assert (out.parent / link).is_file(), link


def test_the_command_prints_and_writes_the_same(tmp_path: Path) -> None:
    out = tmp_path / "laporan.md"
    command = [sys.executable, "-m", "training", "report", "--out", str(out), "--language", "id"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout == out.read_text(encoding="utf-8")
    assert done.stdout.startswith("# Lima laporan")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Grids as the loop lays them out, all of one colour: redder from one to the next, at half the side at first."""
    for i in range(20):
        side = 32 if i < 3 else 64
        colour = (10 * i, 0, 0)
        path = tmp_path / "run" / "samples" / f"step-{100 * i:06d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6 * (side + 2) + 2,) * 2, colour).save(path)
    return Run(tmp_path / "run")


def test_a_timeline_runs_from_the_first_moment_to_the_exported_step(run: Run, tmp_path: Path) -> None:
    write_timeline(run, tmp_path, 1400)
    path = tmp_path / "timeline.png"
    steps = [int(step) for step in read_metadata(path)["steps"].split(",")]
    assert steps[0] == 0 and steps[-1] == 1400 and len(steps) == 8 and steps == sorted(steps)
    with Image.open(path) as sheet:
        assert sheet.size == (8 * 64, 4 * 64)
        for i, step in enumerate(steps):
            for y in (10, 250):
                assert sheet.getpixel((64 * i + 32, y)) == (step // 10, 0, 0)


def test_one_grid_makes_no_timeline(run: Run, tmp_path: Path) -> None:
    write_timeline(run, tmp_path, 0)
    assert not (tmp_path / "timeline.png").exists()
