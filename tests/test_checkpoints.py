"""What ships in checkpoints/: every folder complete, loadable, measured, and within the size that was agreed."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gan import catalog
from gan.settings import ROOT

FOLDERS = sorted(path for path in (ROOT / "checkpoints").iterdir() if path.is_dir())
MOTIFS = {"batik-parang", "batik-megamendung", "batik-kawung"}
OTHERS = {"anime-lsgan", "anime-best", "cifar10-dense", "cifar10-best", "mnist-cgan", "mnist-cgan-report"}
GENERATORS = MOTIFS | {f"{name}-report" for name in MOTIFS} | OTHERS
JUDGES = {"judge-mnist", "judge-batik"}
CLASSIFIERS = JUDGES | {"batik-cnn-3", "batik-mobilenet-3", "batik-mobilenet-20", "batik-best-3", "batik-best-20"}
MEASURED = {
    "generator": {"fid", "kid", "precision", "recall", "memorised", "generated", "real", "reference", "parameters"},
    "classifier": {"accuracy", "accuracy_low", "accuracy_high", "top3", "macro_f1", "ece", "images", "parameters"},
}


def named(kind: str) -> list[Path]:
    return [path for path in FOLDERS if json.loads((path / "config.json").read_text())["kind"] == kind]


def test_every_model_of_the_five_reports_ships() -> None:
    assert {path.name for path in named("generator")} == GENERATORS
    assert {path.name for path in named("classifier")} == CLASSIFIERS


def test_all_of_them_together_stay_small() -> None:
    assert sum(file.stat().st_size for folder in FOLDERS for file in folder.iterdir()) < 150e6


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_the_figures_are_of_these_weights(folder: Path) -> None:
    metrics = json.loads((folder / "metrics.json").read_text())
    kind = json.loads((folder / "config.json").read_text())["kind"]
    assert MEASURED[kind] <= metrics.keys()
    assert not any(isinstance(value, dict | list) for value in metrics.values())
    assert metrics["weights_sha256"] == hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert metrics["command"].startswith(f"python -m training evaluate {folder.name}")
    card = (folder / "README.md").read_text()
    figure = metrics["fid" if kind == "generator" else "accuracy"]
    assert f"{figure:.4g}" in card and metrics["command"] in card


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_the_history_runs_up_to_the_weights(folder: Path) -> None:
    with (folder / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:3] == ["step", "minutes", "images"]
    steps = [int(row["step"]) for row in rows]
    # Losses are noted every ten steps, or rarely; where the training ended need not be one of them.
    step = json.loads((folder / "config.json").read_text())["step"]
    assert steps == sorted(steps) and 0 <= step - steps[-1] < 10


@pytest.mark.parametrize("folder", named("generator"), ids=lambda path: path.name)
def test_a_generator_samples_what_its_grid_shows(folder: Path) -> None:
    model = catalog.load(folder)
    first, second = (np.asarray(one.convert("RGB")).astype(int) for one in model.sample(2, seed=0))
    with Image.open(folder / "samples.png") as grid:
        shown = np.asarray(grid.convert("RGB").crop((0, 0, model.resolution, model.resolution))).astype(int)
    # Other processors round differently; another picture would be dozens of grey levels away.
    assert np.abs(first - shown).mean() < 1
    assert np.abs(first - second).mean() > 5


@pytest.mark.parametrize("folder", named("generator"), ids=lambda path: path.name)
def test_a_generator_is_not_noise(folder: Path) -> None:
    """Neighbouring pixels of most pictures resemble each other; those of noise do not.

    Of most: fine weaves are near to noise in this, one in sixteen real Parangs too.
    """
    alike = []
    for picture in catalog.load(folder).sample(8, seed=100):
        grey = np.asarray(picture.convert("L")).astype(float)
        assert grey.std() > 10
        alike.append(np.corrcoef(grey[:, 1:].ravel(), grey[:, :-1].ravel())[0, 1])
    assert np.median(alike) > 0.5


@pytest.mark.parametrize("folder", named("classifier"), ids=lambda path: path.name)
def test_a_classifier_answers_with_its_classes(folder: Path) -> None:
    model = catalog.load(folder)
    answer = model.classify(Image.effect_noise((300, 200), 60).convert("RGB"))
    assert sorted(label for label, _ in answer) == sorted(model.classes)
    assert sum(probability for _, probability in answer) == pytest.approx(1, abs=1e-3)
