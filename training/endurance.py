"""Kills a training at random moments, again and again, and looks each time at what is left of it.

``python -m training bench --kills 100``. Every process is a real one and ends by SIGKILL, while it trains, saves or
makes its checkpoint.
"""

from __future__ import annotations

import multiprocessing
import random
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

from gan.checkpoint import WEIGHTS, load_folder
from training.promote import checkpoint_of, promote
from training.recipes import GanRecipe
from training.runs import Run
from training.start import prepare

PICTURES = 12


class Lost(Exception):
    """Something of a killed run could not be read, or it did not end as a run left alone does."""


def endurance(kills: int = 100, seed: int = 0) -> str:
    """Kill one training after another until ``kills`` processes have died; the findings, in words.

    A run that reaches its end is compared with one that was left alone, and the next begins.

    Raises:
        Lost: when anything is not as it should be, naming the kill.
    """
    draw = random.Random(seed)
    # Its children begin with everything imported, so that most kills meet the training and not its start.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "training.loop", "training.export"])
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        recipe = small_recipe(root / "pictures")
        alone, took = left_alone(context, root / "alone", recipe)
        runs, died = [begun(root / "run-1", recipe)], Counter()
        while sum(died.values()) < kills:
            folder = runs[-1]
            process = context.Process(target=carry_on, args=(folder,))
            process.start()
            process.join(draw.uniform(0, took))
            if process.exitcode is None:
                process.kill()
                process.join()
                died[look(folder, sum(died.values()) + 1)] += 1
                continue
            compare(process.exitcode, folder, alone)
            runs.append(begun(root / f"run-{len(runs) + 1}", recipe))
        # The last one too must come to its end.
        process = context.Process(target=carry_on, args=(runs[-1],))
        process.start()
        process.join()
        compare(process.exitcode, runs[-1], alone)
    moments = ", ".join(f"{count} {moment}" for moment, count in sorted(died.items()))
    return f"{kills} kills ({moments}), {len(runs)} runs: all ended with the weights of one left alone."


def small_recipe(folder: Path) -> GanRecipe:
    """A training of a few seconds that saves at every other step."""
    folder.mkdir()
    noise = np.random.default_rng(0)
    for i in range(PICTURES):
        Image.fromarray(noise.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    return GanRecipe(
        name="endurance",
        report="",
        source=str(folder),
        network="fastgan",
        network_args={"resolution": 64, "width": 4},
        discriminators={"fastgan": {"resolution": 64, "width": 4}},
        resolution=64,
        flip=True,
        augment=("color", "translation"),
        batch=2,
        steps=24,
        save_every=2,
        snapshot_every=4,
    )


def begun(folder: Path, recipe: GanRecipe) -> Path:
    Run(folder).create(recipe)
    return folder


def carry_on(folder: Path) -> None:
    """What a run's process does: train to the end, then make the checkpoint."""
    torch.set_num_threads(1)
    prepare(folder).train()
    promote(folder)


def left_alone(context: multiprocessing.context.BaseContext, folder: Path, recipe: GanRecipe) -> tuple[Path, float]:
    """The folder of a run that nothing happened to, and how many seconds one such takes once all is imported."""
    for name in ("warm", "alone"):
        place = begun(folder.with_name(name), recipe)
        began = time.monotonic()
        process = context.Process(target=carry_on, args=(place,))
        process.start()
        process.join()
        took = time.monotonic() - began
    return place, took


def look(folder: Path, number: int) -> str:
    """Read all that a killed run left, and say when it died. Raises Lost for anything unreadable."""
    run = Run(folder)
    try:
        run.read()
        state = run.load_state()
        run.metrics()
        for path in run.snapshots():
            load_file(path)
        checkpoint = checkpoint_of(folder)
        if checkpoint:
            load_folder(checkpoint)
    except Exception as error:
        raise Lost(f"Kill {number}: {error}") from error
    if state is None:
        return "before the first save"
    return "while training" if state["step"] < run.read()["recipe"]["steps"] else "while promoting"


def compare(code: int | None, folder: Path, alone: Path) -> None:
    """Raises Lost unless the run in ``folder`` has ended with the same weights and figures as ``alone``."""
    if code != 0:
        raise Lost(f"A resumed run ended with exit code {code}.")
    ends = []
    for run in (Run(folder), Run(alone)):
        weights = load_file(checkpoint_of(run.folder) / WEIGHTS) | load_file(run.state_file)
        ends.append((weights, [{**line, "seconds": 0} for line in run.metrics()]))
    (ours, our_lines), (theirs, their_lines) = ends
    same = ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)
    if not same or our_lines != their_lines:
        raise Lost("A resumed run ended otherwise than one left alone.")
