"""python -m training bench: seconds a training step of the batik recipe takes, and the audit of twenty photos."""

from __future__ import annotations

import dataclasses
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from gan.bench import cpu_name
from training.data.pictures import PictureSet
from training.recipes import RECIPES

RECIPE, BATCH = "batik-parang", 8
# Memory that a step takes from the system for the first time, and what is compiled or looked up once.
WARM_UP = 4
PHOTOS, PHOTO_SIZE = 20, (4000, 3000)


def bench(steps: int = 5) -> str:
    """The table, with the machine: the median of ``steps`` steps after four to warm up, on pictures of noise."""
    from training.loop import GanTrainer
    from training.runs import Run

    draw = torch.Generator().manual_seed(0)
    pictures = [torch.randint(256, (3, 320, 320), dtype=torch.uint8, generator=draw) for _ in range(BATCH)]
    lines = [f"| {RECIPE}, batch {BATCH} | seconds a step |", "|---|---|"]
    for side, low in ((128, WARM_UP + steps), (256, 0)):
        recipe = dataclasses.replace(
            RECIPES[RECIPE], start="", batch=BATCH, accumulate=1, low_steps=low, lowest_steps=0
        )
        with tempfile.TemporaryDirectory() as folder:
            trainer = GanTrainer(recipe, PictureSet(pictures), Run(Path(folder)))
            took = []
            for _ in range(WARM_UP + steps):
                began = time.perf_counter()
                trainer.train_step()
                took.append(time.perf_counter() - began)
        lines.append(f"| {side}² | {statistics.median(took[WARM_UP:]):.2f} |")
    lines += ["", f"| {PHOTOS} photos of 12 megapixels | seconds |", "|---|---|"]
    lines.append(f"| from the drop to the audit's contact sheet | {audit_seconds():.2f} |")
    machine = f"{cpu_name()} ({os.cpu_count()} cores, torch {torch.__version__}, {torch.get_num_threads()} threads)"
    return "\n".join([*lines, "", f"Measured on {machine}."])


def audit_seconds() -> float:
    """How long the Train tab takes from having photos as files to what it shows of them, without the network."""
    from training import choose

    before = os.environ.get("CANTING_RUNS")
    with tempfile.TemporaryDirectory() as folder:
        photos = [photo(Path(folder) / f"photo-{i}.jpg", i) for i in range(PHOTOS)]
        os.environ["CANTING_RUNS"] = folder
        try:
            began = time.perf_counter()
            choose.drop([str(path) for path in photos], [], "bench")
            return time.perf_counter() - began
        finally:
            os.environ.pop("CANTING_RUNS")
            if before is not None:
                os.environ["CANTING_RUNS"] = before


def photo(path: Path, seed: int) -> Path:
    """A JPEG of 4000 × 3000 pixels, patterned and grainy as a photographed cloth is, of some 5 MB."""
    draw = np.random.default_rng(seed)
    coarse = Image.fromarray(draw.integers(0, 256, (30, 40, 3), dtype=np.uint8))
    pixels = np.asarray(coarse.resize(PHOTO_SIZE, Image.Resampling.BICUBIC), np.int16)
    grain = draw.integers(-12, 13, (*pixels.shape[:2], 1), dtype=np.int16)
    Image.fromarray((pixels + grain).clip(0, 255).astype(np.uint8)).save(path, quality=92)
    return path
