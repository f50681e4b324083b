"""Measuring a checkpoint: writes its ``metrics.json``, and nothing else does; then its card."""

from __future__ import annotations

import csv
import datetime
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gan import catalog
from gan.card import CONFUSION, NEAREST, write_card
from gan.checkpoint import WEIGHTS, read_config, write_config
from gan.errors import DataError, RunError
from gan.files import atomic
from gan.results import history_end
from training import rejection
from training.classifier import ClassifierTrainer, Predictions, open_for, opened, squares
from training.data.pictures import PictureSet, evenly_spaced
from training.data.sources import open_source
from training.folds import at_large, cross_validate, groups_of
from training.judges import MOTIFS, digit_figures, motif_agreement, train_on_fake
from training.recipes import RECIPES, ClassifierRecipe
from training.robustness import robustness
from training.runs import Run
from training.scores import accuracy, auroc, classifier_figures, confusion, fit_temperature, sure_figures
from training.start import from_json

SAMPLES = 2000
# Who has seen the training pictures of CIFAR-10 is measured against its test pictures; of the anime faces, which have
# no such division, the first ten thousand stand for all.
REFERENCES = {"cifar10:train": "cifar10:test"}
FIRST = {"anime-faces": 10_000}
# Among how many training pictures, and each of them mirrored, copies are looked for at most.
SEARCHED = 2000
# An answer less likely than this is more likely wrong than right.
UNSURE_BELOW = 0.5


def evaluate(name: str | Path, samples: int | None = None) -> dict[str, Any]:
    """Measure a model and write ``metrics.json`` into its folder. Returns what was written.

    Args:
        name: of the checkpoint, or its folder.
        samples: how many pictures a generator is measured with (2,000 when absent); nothing to a classifier.

    Raises:
        CheckpointError: for a model that is not there or does not load.
        DataError: when the pictures it is measured against are missing.
        RunError: when a classifier has learned other classes than they show, and for one in the Hub's cache.
    """
    folder = catalog.find(name)
    if folder.parent.name == "snapshots":
        raise RunError("error.run.pull", name=name)
    config = read_config(folder)
    command = f"python -m training evaluate {folder.name}"
    if config["kind"] == "generator":
        samples = samples or SAMPLES
        figures = generator(folder, config, samples)
        command += f" --samples {samples}"
    else:
        figures = classifier(folder, config)
    return write_metrics(folder, figures, command)


def write_metrics(folder: Path, figures: dict[str, Any], command: str) -> dict[str, Any]:
    """Write a checkpoint's ``metrics.json``, with how it was measured, and its card anew. Returns what was written."""
    written = {
        **{key: round(value, 5) if isinstance(value, float) else value for key, value in figures.items()},
        "command": command,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "weights_sha256": hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest(),
    }
    with atomic(folder / "metrics.json") as path:
        path.write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
    write_card(folder)
    return written


# Generators -------------------------------------------------------------------------------------------------------


def generator(folder: Path, config: dict[str, Any], samples: int) -> dict[str, Any]:
    """The figures of a generator, from its seeds 0 to ``samples − 1`` at truncation 1. Also writes ``nearest.csv``."""
    from training.metrics import features, fid, generator_figures, recall_by_class, reference_features

    model = catalog.load(folder)
    source, size, channels = config["source"], config["resolution"], config["channels"]
    learnt = open_source(source, size, channels)
    reals = spread(reference(learnt, source, size, channels), samples)
    fake, real = features(model.stream(range(samples))), reference_features(reals, size)
    # Copies are looked for among training pictures, whatever the others are compared with.
    own = spread(learnt, SEARCHED)
    near = [reference_features(own, size)]
    if channels == 3:
        # A mirrored digit is no digit; everything else may have been learnt mirrored.
        near.append(reference_features(own, size, flipped=True))
    figures = {**generator_figures(fake, real, near), "searched": len(own)}
    distances = figures.pop("nearest")
    if reals.labels is not None and model.classes:
        labels = torch.arange(samples) % model.classes
        recalls = recall_by_class(fake, labels, real, reals.labels)
        figures |= {f"recall_class_{number}": one for number, one in enumerate(recalls)}
    if source.startswith("mnist"):
        figures |= {**digit_figures(model), "train_on_fake_accuracy": train_on_fake(model)}
    if source.startswith(f"{MOTIFS}/"):
        figures["motif_agreement"] = motif_agreement(model, source, samples)
        whole = spread(open_source(f"{source.removesuffix('!all')}!all", size, channels), samples)
        figures |= {"fid_uncurated": fid(fake, reference_features(whole, size)), "real_uncurated": len(whole)}
    # Nothing is written before every figure is there.
    write_nearest(folder / NEAREST, distances)
    return {**figures, "reference": reals.description, **effort(folder, config), "parameters": model.parameters}


def reference(learnt: PictureSet, source: str, resolution: int, channels: int) -> PictureSet:
    """What a generator that learnt from ``source`` is measured against: its training pictures or what stands for it."""
    if source in REFERENCES:
        return open_source(REFERENCES[source], resolution, channels)
    if source in FIRST:
        return learnt.select(range(min(FIRST[source], len(learnt))), f"the first {FIRST[source]:,} by file name")
    return learnt


def spread(data: PictureSet, most: int) -> PictureSet:
    """At most ``most`` pictures of a set, evenly spaced over it, with a description that says so."""
    if len(data) <= most:
        return data
    chosen = evenly_spaced(len(data), most)
    return data.select(chosen, f"{most} of its {len(data)} pictures, evenly spaced")


# Classifiers ------------------------------------------------------------------------------------------------------


def classifier(folder: Path, config: dict[str, Any]) -> dict[str, Any]:
    """The figures of a classifier: the shipped weights on the recipe's test source, else its recipe cross-validated.

    Also writes ``confusion.csv``, true classes by row, and for cross-validation the held-out curves into
    ``history.csv``.
    """
    recipe = recipe_of(config)
    model = catalog.load(folder)
    # One that was taught other classes is not measured on those of its recipe.
    data = open_for(recipe, recipe.test) if recipe.test else opened(recipe, recipe.source)
    if data.classes != config["classes"]:
        raise RunError(
            "error.run.classes", name=folder.name, classes=", ".join(config["classes"]), source=recipe.source
        )
    figures: dict[str, Any] = {}
    if recipe.test:
        # Test sets hold pictures of the network's own size: one view each.
        probabilities = torch.cat([model.probabilities(part.flatten(0, 1)) for part in data.pictures.split(250)])
        found = Predictions(list(range(len(data))), data.labels, probabilities.log()[:, None])
        figures |= {"folds": 0, "reference": data.description}
        figures |= {**classifier_figures(found.labels, found.probabilities), "loss": found.loss}
    else:
        rest, parts, runs = cross_validated(recipe)
        held, settings, found = figures_of_folds(recipe, parts)
        figures |= {"folds": recipe.folds, **rest, **held}
        write_curves(folder / "history.csv", runs)
        if settings:
            write_config(folder, {**config, **settings})
    write_confusion(folder / CONFUSION, confusion(found.labels, found.probabilities), model.classes)
    return {**figures, **effort(folder, config), "parameters": model.parameters}


def effort(folder: Path, config: dict[str, Any]) -> dict[str, float]:
    """``steps`` and ``minutes`` of a checkpoint's training. Curves may end a few steps before the one that was kept."""
    end = history_end(folder)
    return {**end, "steps": config.get("step", end["steps"])} if end else {}


def recipe_of(config: dict[str, Any]) -> ClassifierRecipe:
    """The recipe that a classifier was trained by.

    Raises:
        RunError: for one that this version does not know, or that has fields it does not know.
    """
    shipped = RECIPES.get(config.get("recipe", ""))
    if not isinstance(shipped, ClassifierRecipe):
        raise RunError("error.run.recipe", name=config.get("recipe", ""), known=", ".join(classifier_recipes()))
    told = {"steps": config.get("step"), "source": config.get("source"), "start": config.get("start")}
    told = {key: value for key, value in told.items() if value is not None}
    try:
        return from_json(ClassifierRecipe, {**asdict(shipped), **told, **config.get("changed", {})})
    except TypeError as error:
        raise RunError("error.run.newer", name=shipped.name, detail=error) from error


def classifier_recipes() -> list[str]:
    return [name for name, recipe in RECIPES.items() if isinstance(recipe, ClassifierRecipe)]


def figures_of_folds(
    recipe: ClassifierRecipe, parts: Sequence[Predictions]
) -> tuple[dict[str, Any], dict[str, float], Predictions]:
    """What the folds' held-out predictions are worth: figures, what of it the config is told, and all of them together,
    at the temperatures that suit them where the recipe calibrates."""
    accuracies = [accuracy(part.labels, part.probabilities) for part in parts]
    figures: dict[str, Any] = {"accuracy_worst_fold": min(accuracies), "accuracy_best_fold": max(accuracies)}
    settings = {}
    if recipe.calibrate:
        whole = joined(parts)
        figures["temperature"] = fit_temperature(whole.labels, whole.logits)
        parts = calibrated(parts)
    found = joined(parts)
    if recipe.calibrate:
        figures |= sure_figures(found.labels, found.probabilities, UNSURE_BELOW)
        doubtful = figures["accuracy_unsure"] < UNSURE_BELOW
        settings = {"temperature": figures["temperature"], "unsure_below": UNSURE_BELOW if doubtful else 0.0}
    figures |= {**classifier_figures(found.labels, found.probabilities), "loss": found.loss}
    return figures, settings, found


def cross_validated(recipe: ClassifierRecipe) -> tuple[dict[str, Any], list[Predictions], list[Run]]:
    """Figures that need each fold's model, each fold's held-out predictions, and the folds' runs.

    ``not_batik_<source>`` tells held-out batik from pictures that are none, fold by fold, averaged: by what the frozen
    features leave unexplained (:mod:`training.rejection`) or, without any, by the probability of the best class.
    ``not_batik_auroc`` is the worst source's. Batik is shrunk to the source's side first.
    """
    outside = others(recipe)
    large = None
    separations: dict[str, list[float]] = {name: [] for name in outside}
    predictions, runs, description = [], [], ""
    trainers = list(cross_validate(recipe))
    for trainer in trainers:
        description = trainer.data.description
        runs.append(trainer.run)
        predictions.append(trainer.predict(trainer.held))
        fitted = None
        if recipe.at_large:
            large = large or at_large(trainer)
            fitted = rejection.fit(without(trainer, *large), trainer.network.telling)
        held = set(trainer.held)
        for name, (positions, batik, strangers) in outside.items():
            mine = [at for at, position in enumerate(positions) if position in held]
            if fitted:
                separation = rejection.separation(trainer.bank.of(batik)[mine], trainer.bank.of(strangers), fitted)
            else:
                inside = trainer.predict(mine, batik).probabilities
                separation = auroc(
                    inside.amax(1), trainer.predict(range(len(strangers)), strangers).probabilities.amax(1)
                )
            separations[name].append(separation)
    figures: dict[str, Any] = {"reference": f"{description}; cross-validated by near-duplicate group"}
    means = {name: sum(values) / len(values) for name, values in separations.items()}
    if means:
        figures |= {f"not_batik_{name.partition(':')[0].replace('-', '_')}": value for name, value in means.items()}
        figures["not_batik_auroc"] = min(means.values())
    if recipe.channels == 3:
        figures |= robustness(trainers)
    return figures, predictions, runs


def without(trainer: ClassifierTrainer, features: Tensor, groups: list[int]) -> Tensor:
    """Those of some pictures' features (n, views, d) that are in no near-duplicate group of a held picture."""
    own = groups_of(trainer.recipe, trainer.data)
    alike = {own[i] for i in trainer.held}
    return features[[i for i, group in enumerate(groups) if group not in alike]]


def calibrated(parts: Sequence[Predictions]) -> list[Predictions]:
    """Each fold's predictions at the temperature that suits the other folds best: none is measured on what it fits."""
    found = []
    for i, part in enumerate(parts):
        rest = joined([*parts[:i], *parts[i + 1 :]])
        found.append(replace(part, logits=part.logits / fit_temperature(rest.labels, rest.logits)))
    return found


def others(recipe: ClassifierRecipe) -> dict[str, tuple[list[int], PictureSet, PictureSet]]:
    """For each source of strangers at hand: positions of some of the recipe's pictures, these, and the strangers.

    Both shrunk to the source's side and seen as the recipe sees pictures.
    """
    found = {}
    recipe = replace(recipe, train_views=0)
    data = opened(recipe, recipe.source)
    for source, side in rejection.SOURCES.items():
        try:
            strangers = open_source(source, side or recipe.opened or recipe.resolution, recipe.channels)
        except DataError:
            continue
        batik = squares(rejection.shrunk(data, side), recipe)
        found[source] = (
            evenly_spaced(len(data), rejection.AT_MOST),
            batik,
            squares(rejection.shrunk(strangers, side), recipe),
        )
    return found


def joined(parts: Sequence[Predictions]) -> Predictions:
    """The folds' predictions as one, in the order of the data set."""
    indices = [i for part in parts for i in part.indices]
    order = torch.tensor(indices).argsort()
    labels = torch.cat([part.labels for part in parts])[order]
    return Predictions(sorted(indices), labels, torch.cat([part.logits for part in parts])[order])


def write_nearest(path: Path, rows: list[tuple[float, float, float, float]]) -> None:
    with atomic(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["from", "to", "generated", "training"])
        for begin, end, *shares in rows:
            writer.writerow([f"{begin:.3f}", f"{end:.3f}", *(f"{share:.4f}" for share in shares)])


def write_confusion(path: Path, table: Tensor, classes: list[str]) -> None:
    with atomic(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["true \\ predicted", *classes])
        writer.writerows([name, *row] for name, row in zip(classes, table.tolist(), strict=True))


def write_curves(path: Path, runs: list[Run]) -> None:
    """Put the folds' mean held-out loss and accuracy beside the shipped training's own, step by step."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    steps = [float(row["step"]) for row in rows]
    for column in ("held_loss", "held_accuracy"):
        curves = []
        for run in runs:
            lines = [line for line in run.metrics() if column in line]
            curves.append(np.interp(steps, [line["step"] for line in lines], [line[column] for line in lines]))
        for row, value in zip(rows, np.mean(curves, axis=0), strict=True):
            row[column] = round(float(value), 5)
    with atomic(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
