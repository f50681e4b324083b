"""python -m training bench: seconds per training step of the batik recipe, at 256² and at 128²."""

from __future__ import annotations

import dataclasses
import os
import statistics
import tempfile
import time
from pathlib import Path

import torch

from gan.bench import cpu_name
from training.data.pictures import PictureSet
from training.recipes import RECIPES

RECIPE, BATCH, WARM_UP = "batik-parang", 8, 1


def bench(steps: int = 3) -> str:
    """The table, with the machine: the median of ``steps`` steps after one to warm up, on pictures of noise."""
    from training.loop import GanTrainer
    from training.runs import Run

    draw = torch.Generator().manual_seed(0)
    pictures = [torch.randint(256, (3, 320, 320), dtype=torch.uint8, generator=draw) for _ in range(BATCH)]
    lines = [f"| {RECIPE}, batch {BATCH} | seconds a step |", "|---|---|"]
    for side, low in ((128, WARM_UP + steps), (256, 0)):
        recipe = dataclasses.replace(RECIPES[RECIPE], start="", batch=BATCH, accumulate=1, low_steps=low)
        with tempfile.TemporaryDirectory() as folder:
            trainer = GanTrainer(recipe, PictureSet(pictures), Run(Path(folder)))
            took = []
            for _ in range(WARM_UP + steps):
                began = time.perf_counter()
                trainer.train_step()
                took.append(time.perf_counter() - began)
        lines.append(f"| {side}² | {statistics.median(took[WARM_UP:]):.2f} |")
    machine = f"{cpu_name()} ({os.cpu_count()} cores, torch {torch.__version__}, {torch.get_num_threads()} threads)"
    return "\n".join([*lines, "", f"Measured on {machine}."])
