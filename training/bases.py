"""What a job can start from, and the recipe that it then has."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from gan import catalog
from gan.checkpoint import read_config
from gan.errors import RunError
from gan.results import history_end
from training.recipes import RECIPES, ClassifierRecipe, GanRecipe

DEFAULT_STEPS = 1000


def generators() -> list[catalog.Entry]:
    """The generators that can be fine-tuned: unconditional ones whose recipe is known."""
    return [
        entry
        for entry in catalog.entries("generator")
        if not entry.classes and isinstance(RECIPES.get(entry.recipe), GanRecipe)
    ]


def classifiers() -> list[catalog.Entry]:
    """The classifiers that can be taught other classes: those with a frozen part; the judges only measure."""
    recipes = ((entry, RECIPES.get(entry.recipe)) for entry in catalog.entries("classifier"))
    return [
        entry
        for entry, recipe in recipes
        if isinstance(recipe, ClassifierRecipe) and recipe.passes and not entry.name.startswith("judge-")
    ]


def entry(name: str) -> catalog.Entry:
    """One of :func:`generators` or :func:`classifiers` by name. Raises RunError when there is none such."""
    known = {entry.name: entry for entry in [*generators(), *classifiers()]}
    if name not in known:
        raise RunError("error.job.base", name=name, known=", ".join(known) or "–")
    return known[name]


def fine_tuning(base: str, folder: Path, steps: int, mirror: bool | None = None) -> GanRecipe:
    """The recipe that carries ``base`` over to the pictures in ``folder``: its own, shorter and slower.

    Raises:
        RunError: when ``base`` is not one of :func:`generators`.
    """
    config = read_config(entry(base).folder)
    recipe = RECIPES[config["recipe"]]
    # At most twenty snapshots: enough to choose from, and a run stays within a few hundred megabytes.
    snapshot_every = max(1, steps // 20)
    return dataclasses.replace(
        recipe,
        source=str(folder),
        start=base,
        network=config["network"],
        network_args=config["arguments"],
        # Those that the base was trained against, where it ships them: they know the features already.
        discriminators=config.get("discriminators", recipe.discriminators),
        resolution=config.get("resolution", recipe.resolution),
        flip=recipe.flip if mirror is None else mirror,
        # The features are there already: half the rate moves them without washing them out.
        rate_g=recipe.rate_g / 2,
        rate_d=recipe.rate_d / 2,
        steps=steps,
        low_steps=0,
        lowest_steps=0,
        snapshot_every=snapshot_every,
        save_every=min(50, snapshot_every),
    )


def trained_before(start: str) -> dict[str, float]:
    """``minutes_before``, a fact of a run that begins with the checkpoint ``start``: how long that one was trained, all
    that it began from included. Nothing where there is none or its history does not say.

    Raises:
        CheckpointError: when there is no such model.
    """
    end = history_end(catalog.find(start)) if start else {}
    return {"minutes_before": end["minutes"]} if end else {}


def own_classes(base: str, folder: Path, steps: int | None = None, mirror: bool | None = None) -> ClassifierRecipe:
    """The recipe that teaches ``base``, of which only the head changes, the classes that are the folders in ``folder``.

    Raises:
        RunError: when ``base`` is not one of :func:`classifiers`.
    """
    config = read_config(entry(base).folder)
    recipe = RECIPES[config["recipe"]]
    return dataclasses.replace(
        recipe,
        source=str(folder),
        start=base,
        network=config["network"],
        network_args={key: value for key, value in config["arguments"].items() if key != "classes"},
        # Whether the base's own idea of "not batik" fits these pictures is seen once it is trained.
        at_large="",
        flip=recipe.flip if mirror is None else mirror,
        steps=steps or recipe.steps,
        save_every=max(1, (steps or recipe.steps) // 4),
    )
