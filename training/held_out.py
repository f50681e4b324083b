"""What a visitor's classifier is worth: measured once it is trained, inside its run, on pictures that it had not seen.

Every picture is predicted once, by a training of the same recipe that saw neither it nor a near-duplicate of it. The
figures, the confusions and the held-out curves lie in the checkpoint as those of a shipped classifier do.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from gan import catalog
from gan.checkpoint import REJECTION, read_config, write_config
from gan.classify import Rejection
from gan.files import atomic
from gan.results import history_end
from training.classifier import ClassifierTrainer, Predictions, open_for
from training.evaluate import figures_of_folds, write_confusion, write_curves, write_metrics
from training.folds import cross_validate, groups_of
from training.promote import checkpoint_of
from training.recipes import ClassifierRecipe
from training.records import FEATURES, FOLDS
from training.runs import Run
from training.scores import confusion
from training.start import from_json

# The base's "not batik" is taken over where it knows nearly all of the visitor's pictures for batik.
MOST_LOST = 0.05
COMMAND = "the Train tab, at the end of the training"


def measure(folder: Path, on_step: Callable[..., None]) -> None:
    """Cross-validate the finished classifier run in ``folder`` and write what comes of it into its checkpoint.

    Nothing is written where all pictures are near-duplicates of each other: none can be held back then.

    Args:
        on_step: asked after every step and between the parts of the work; it may raise Stopped.

    Raises:
        Stopped: where ``on_step`` did. Called again, it goes on with the fold under way.
    """
    run = Run(folder)
    facts = run.read()
    recipe = from_json(ClassifierRecipe, facts["recipe"])
    data = open_for(recipe)
    groups = groups_of(recipe, data)
    recipe = replace(recipe, folds=min(recipe.folds, len(set(groups))))
    on_step()
    if recipe.folds > 1:
        parts, runs = [], []
        for trainer in cross_validate(recipe, data, folder / FOLDS, on_step, features=str(folder / FEATURES)):
            parts.append(trainer.predict(trainer.held))
            runs.append(trainer.run)
        on_step()
        # Every fold's trainer has the same frozen part and the same pictures.
        keep = knows(recipe.start, trainer)
        reference = f"{len(data)} pictures in {len(data.classes)} classes; cross-validated by near-duplicate group"
        write(checkpoint_of(folder), recipe, data.classes, parts, runs, keep, reference)
    # Large, and of no further use.
    for name in (FEATURES, FOLDS):
        shutil.rmtree(folder / name, ignore_errors=True)


def write(
    checkpoint: Path,
    recipe: ClassifierRecipe,
    classes: list[str],
    parts: list[Predictions],
    runs: list[Run],
    keep: bool,
    reference: str,
) -> None:
    """Figures, confusions, held-out curves, temperature and "not batik" into a checkpoint folder, figures last."""
    held, settings, found = figures_of_folds(recipe, parts)
    figures = {"folds": len(parts), "reference": reference, **held}
    write_confusion(checkpoint / "confusion.csv", confusion(found.labels, found.probabilities), classes)
    write_curves(checkpoint / "history.csv", runs)
    if keep:
        with atomic(checkpoint / REJECTION) as path:
            shutil.copyfile(catalog.find(recipe.start) / REJECTION, path)
    write_config(checkpoint, {**read_config(checkpoint), **settings})
    write_metrics(checkpoint, {**figures, **history_end(checkpoint)}, COMMAND)


def knows(start: str, trainer: ClassifierTrainer) -> bool:
    """Whether the base's "not batik" lets nearly all of the trainer's pictures through; False where it has none.

    It looks at the frozen part's features alone, and so is as good for any head on the same frozen part.
    """
    judge = Rejection.load(catalog.find(start))
    if judge is None:
        return False
    features = trainer.bank.of(trainer.data)[:, : trainer.recipe.views]
    scores = judge.scores(features).mean(1)
    lost = (scores < judge.threshold).double().mean()
    return bool(lost <= MOST_LOST)
