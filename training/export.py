"""From a run to a checkpoint folder."""

from __future__ import annotations

import csv
import json
import math
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from gan.card import write_card
from gan.checkpoint import (
    CONFIG,
    DISCRIMINATOR,
    MODEL_FILES,
    REJECTION,
    build_network,
    load_folder,
    load_weights,
    save,
    save_weights,
)
from gan.errors import RunError
from gan.files import atomic, replacing, restore
from gan.pictures import png_bytes
from gan.results import role
from gan.settings import checkpoints_folder
from gan.texts import title_of
from training.recipes import RECIPES, ClassifierRecipe
from training.runs import Run

# Columns and rows of ``samples.png``; of large pictures fewer, as their grid weighs megabytes.
SAMPLE_GRID, LARGE_GRID, LARGE = (8, 3), (7, 2), 256
# The picture of how a training went: this many moments side by side, the same few samples under one another.
MOMENTS, MOMENT_SAMPLES, MOMENT_SIDE = 8, 4, 64
# As the loop lays out its fixed samples.
GRID_COLUMNS, GRID_GAP = 6, 2


def snapshot_file(run: Run, step: int | None) -> Path:
    """The snapshot of ``step``; without one the lowest by KID among those measured, else the newest.

    Raises:
        RunError: when the run has no such snapshot.
    """
    files = {int(path.stem.removeprefix("step-")): path for path in run.snapshots()}
    if step is None and files:
        measured = [(line["kid"], line["step"]) for line in run.metrics() if "kid" in line and line["step"] in files]
        step = min(measured)[1] if measured else max(files)
    if step not in files:
        raise RunError("error.run.snapshot", folder=run.folder, step=step if step is not None else "-")
    return files[step]


def export_run(folder: Path | str, target: Path | None = None, step: int | None = None, latents: float = 1.0) -> Path:
    """Write a run's snapshot as a checkpoint: weights, config, history, card and a generator's samples. Returns its
    folder, which appears when it is complete: a failure, or a kill, leaves the model that was there.

    ``metrics.json`` is written by ``evaluate``, and the card then written anew.

    Args:
        folder: the run's.
        target: the checkpoint folder; that of the recipe's name when absent.
        step: which snapshot, see :func:`snapshot_file`.
        latents: how long each latent is to count, compared with those of the training: above 1 for more variety.

    Raises:
        RunError: when there is no run or no snapshot, for ``latents`` that its network has no way to count, or when the
            target holds files and no model.
        DataError: when pictures are missing that a classifier's "not batik" is made of.
    """
    run = Run(folder)
    stored = run.read()
    recipe = stored["recipe"]
    target = Path(os.path.abspath(target or checkpoints_folder() / recipe["name"]))
    if latents != 1 and (recipe["network"] != "fastgan" or not 0 < latents < math.inf):
        raise RunError("error.run.latents", network=recipe["network"], latents=latents)
    restore(target)
    if target.exists() and (not target.is_dir() or any(target.iterdir())) and not (target / CONFIG).is_file():
        raise RunError("error.run.folder", folder=target)
    with replacing(target) as made:
        if stored["kind"] == "ClassifierRecipe":
            write_classifier(run, recipe, made)
        else:
            write_generator(run, recipe, made, step, latents)
        write_card(made)
        keep_others(target, made)
    return target


def keep_others(before: Path, made: Path) -> None:
    """Take along what lies in a checkpoint folder and is no part of its model: somebody put it there."""
    for path in before.iterdir() if before.is_dir() else ():
        if path.name not in MODEL_FILES:
            shutil.copytree(path, made / path.name) if path.is_dir() else shutil.copy2(path, made / path.name)


def write_generator(run: Run, recipe: dict[str, Any], target: Path, step: int | None, latents: float) -> None:
    """Write a generator run's snapshot of ``step`` into the empty folder ``target``."""
    path = snapshot_file(run, step)
    config = {
        "kind": "generator",
        "title": title_of(recipe["name"]),
        "network": recipe["network"],
        "arguments": recipe["network_args"],
        "recipe": recipe["name"],
        "resolution": recipe["resolution"],
        "channels": recipe["channels"],
        "step": int(path.stem.removeprefix("step-")),
        "discriminators": recipe["discriminators"],
        "source": recipe["source"],
        "report": recipe["report"],
        "about": recipe["about"],
        "start": recipe["start"],
    }
    network = load_weights(build_network(config), path)
    if latents != 1:
        network.lengthen(latents)
        config["latents"] = latents
    if network.classes:
        config["classes"] = [str(i) for i in range(network.classes)]
    # A report's recipe is there to be compared with, and eight bits move its pictures by half a grey level.
    as_written = role(recipe["name"]) == "report"
    save(target, network.state_dict(), config, coarse=as_written)
    discriminators = path.with_name(path.name.replace("step-", "discriminator-"))
    if recipe["report"] == "R1" and not as_written and discriminators.is_file():
        # Only training begins with them, and moves them at once.
        save_weights(target / DISCRIMINATOR, load_file(discriminators), coarse=True)
    write_history(run, target / "history.csv", config["step"])
    write_samples(target)
    write_timeline(run, target, config["step"])


def write_classifier(run: Run, recipe: dict[str, Any], target: Path) -> None:
    """Write a classifier run's last saved network into the empty folder ``target``.

    Raises:
        RunError: when nothing has been saved yet.
    """
    from training.checks import shown_to
    from training.classifier import open_for
    from training.start import from_json

    state = run.load_state()
    if state is None:
        raise RunError("error.run.snapshot", folder=run.folder, step="-")
    made = from_json(ClassifierRecipe, recipe)
    # Known without opening every picture anew where the run says so.
    classes = run.read().get("classes") or open_for(made).classes
    config = {
        "kind": "classifier",
        "title": title_of(recipe["name"]),
        "network": recipe["network"],
        "arguments": {**recipe["network_args"], "classes": len(classes)},
        "recipe": recipe["name"],
        "report": recipe["report"],
        "about": recipe["about"],
        "resolution": recipe["resolution"],
        "channels": recipe["channels"],
        "classes": classes,
        "input": shown_to(made),
        "step": state["step"],
        "source": recipe["source"],
        "start": recipe["start"],
        "changed": changed_from_shipped(recipe),
    }
    save(target, state["network"], config)
    if recipe["at_large"]:
        write_rejection(run, target)
    write_history(run, target / "history.csv", state["step"])


def changed_from_shipped(recipe: dict[str, Any]) -> dict[str, Any]:
    """The fields in which a run's recipe is not the one of its name, which ``evaluate`` trains again in its folds."""
    shipped = json.loads(json.dumps(asdict(RECIPES[recipe["name"]]))) if recipe["name"] in RECIPES else recipe
    # The config tells of these in its own words.
    told = ("steps", "source", "start", "about")
    return {key: value for key, value in recipe.items() if key not in told and shipped.get(key) != value}


def write_rejection(run: Run, target: Path) -> None:
    """``rejection.safetensors``, which tells batik from other pictures, out of the training's frozen features."""
    from safetensors.torch import save_file

    from training.folds import at_large
    from training.rejection import with_threshold
    from training.start import prepare

    trainer = prepare(run.folder)
    features, groups = at_large(trainer)
    with atomic(target / REJECTION) as path:
        made = with_threshold(features, groups, trainer.network.telling)
        save_file({**made, "basis": made["basis"].half()}, path)


def write_history(run: Run, path: Path, last: int) -> None:
    """``history.csv`` up to step ``last``: step, minutes, images, then one column a metric; at most 500 rows.

    Steps and pictures are the run's own; its minutes go on from those of the model that it began with.
    """
    before = run.read().get("minutes_before", 0)
    lines = [line for line in run.metrics() if line["step"] <= last]
    every = max(1, math.ceil(len(lines) / 400))
    # The last row and the rows with figures beside the losses stay whatever the thinning.
    kept = [line for i, line in enumerate(lines) if i % every == 0 or "kid" in line or i == len(lines) - 1]
    columns = list(dict.fromkeys(key for line in kept for key in line if key not in ("step", "seconds", "images")))
    with atomic(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["step", "minutes", "images", *columns])
        writer.writeheader()
        for line in kept:
            row: dict[str, Any] = {key: line[key] for key in columns if key in line}
            row |= {
                "step": line["step"],
                "minutes": round(before + line.get("seconds", 0) / 60, 2),
                "images": line.get("images"),
            }
            writer.writerow(row)


def write_samples(folder: Path) -> None:
    """``samples.png``: consecutive seeds from 0 at truncation 1, row by row, without choosing."""
    from PIL import Image

    from gan.sampling import Generator

    # Not through the catalogue, which would keep the model for good.
    model = Generator(folder.name, *load_folder(folder))
    side = model.resolution
    columns, rows = (10, 10) if model.classes else LARGE_GRID if side >= LARGE else SAMPLE_GRID
    grid = Image.new("RGB", (columns * side, rows * side))
    for first in range(0, columns * rows, columns):
        for i, picture in enumerate(model.sample(columns, seed=first)):
            grid.paste(picture, (i * side, first // columns * side))
    with atomic(folder / "samples.png") as path:
        grid.save(path, "PNG", optimize=True)


def write_timeline(run: Run, folder: Path, last: int) -> None:
    """``timeline.png``: the run's fixed samples at up to eight evenly spaced moments to step ``last``, left to right.

    Its text chunk ``steps`` names the moments. Nothing is written for a run without two grids of samples.
    """
    from PIL import Image

    grids = {int(path.stem.removeprefix("step-")): path for path in (run.folder / "samples").glob("step-*.png")}
    steps = sorted(step for step in grids if step <= last)
    if len(steps) < 2:
        return
    count = min(MOMENTS, len(steps))
    steps = [steps[round(i * (len(steps) - 1) / (count - 1))] for i in range(count)]
    columns = []
    for step in steps:
        with Image.open(grids[step]) as grid:
            side = (grid.width - GRID_GAP) // GRID_COLUMNS - GRID_GAP
            corners = [GRID_GAP + i * (side + GRID_GAP) for i in range(MOMENT_SAMPLES)]
            columns.append([grid.convert("RGB").crop((x, GRID_GAP, x + side, GRID_GAP + side)) for x in corners])
    # The first moments may be at half the resolution.
    side = min(MOMENT_SIDE, columns[-1][0].width)
    sheet = Image.new("RGB", (count * side, MOMENT_SAMPLES * side))
    for x, column in enumerate(columns):
        for y, picture in enumerate(column):
            sheet.paste(picture.resize((side, side), Image.Resampling.LANCZOS), (x * side, y * side))
    with atomic(folder / "timeline.png") as path:
        path.write_bytes(png_bytes(sheet, {"steps": ",".join(map(str, steps))}))
