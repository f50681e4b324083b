"""From a run directory to the trainer that carries it on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gan.errors import RunError
from training import recipes
from training.data.pictures import PictureSet
from training.data.sources import open_source
from training.runs import Run


def processes() -> Any:
    """accelerate's state: which of the processes that train together this is, and on CUDA or else the CPU.

    Without being told, accelerate lets several processes on a machine without a GPU each train on its own, and takes
    Apple's, which has no float64.
    """
    import torch
    from accelerate import PartialState

    return PartialState(cpu=not torch.cuda.is_available())


def everywhere(accelerator: Any, fine: bool) -> bool:
    """Whether ``fine`` holds on every process that trains with this one."""
    if accelerator.num_processes == 1:
        return fine
    import torch

    return accelerator.reduce(torch.tensor(float(fine), device=accelerator.device), "mean").item() == 1


def prepare(folder: Path | str) -> Any:
    """The trainer of the run in ``folder``, with its data; it restores the saved state when it trains.

    Raises:
        RunError: when the folder holds no usable run.
        DataError: when its pictures are missing or unusable.
    """
    run = Run(folder)
    stored = run.read()
    try:
        recipe = from_json(getattr(recipes, stored["kind"]), stored["recipe"])
    except (KeyError, AttributeError, TypeError) as error:
        raise RunError("error.run.none", folder=folder) from error
    if isinstance(recipe, recipes.GanRecipe):
        from training.loop import GanTrainer

        return GanTrainer(recipe, open_source(recipe.source, recipe.resolution, recipe.channels), run)
    return classifier_trainer(recipe, run)


def classifier_trainer(recipe: recipes.ClassifierRecipe, run: Run, data: PictureSet | None = None) -> Any:
    """The trainer that the recipe's solver asks for; ``data`` is opened when absent."""
    if recipe.solver == "lbfgs":
        from training.linear import LinearTrainer

        return LinearTrainer(recipe, run, data)
    from training.classifier import ClassifierTrainer

    return ClassifierTrainer(recipe, run, data)


def from_json(kind: type, values: dict[str, Any]) -> Any:
    """A recipe of class ``kind`` from what JSON keeps of it (tuples come back as lists)."""
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})
