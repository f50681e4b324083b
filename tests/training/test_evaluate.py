from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from gan.card import mistakes
from gan.catalog import load
from gan.checkpoint import build_network, save
from gan.classify import Answer
from gan.errors import RunError
from training import evaluate as module
from training import judges
from training.classifier import Predictions
from training.data.pictures import PictureSet
from training.data.sources import open_source
from training.evaluate import calibrated, evaluate, joined, spread
from training.export import changed_from_shipped, export_run
from training.recipes import RECIPES, ClassifierRecipe
from training.runs import Run
from training.scores import fit_temperature
from training.start import prepare


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Folders of its own for checkpoints, runs, data and the cache."""
    for variable, name in {
        "CANTING_CHECKPOINTS": "checkpoints",
        "CANTING_RUNS": "runs",
        "CANTING_DATA": "data",
        "XDG_CACHE_HOME": "cache",
    }.items():
        monkeypatch.setenv(variable, str(tmp_path / name))
    return tmp_path


def draw_motifs(folder, count=10):
    """Three classes that differ in colour, and are easy; the grain keeps them from being duplicates."""
    rng = np.random.default_rng(0)
    for name, colour in (("a", (220, 40, 40)), ("b", (40, 220, 40)), ("c", (40, 40, 220))):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            grain = rng.integers(-40, 40, (5, 5, 1)).repeat(8, 0).repeat(8, 1)
            pixels = (np.array(colour) + grain).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}.png")


def test_a_model_in_the_hubs_cache_is_pulled_before_it_is_measured(tmp_path, monkeypatch):
    """What lies there is checked against the Hub's hashes, and would be fetched anew with the next use."""
    folder = tmp_path / "models--ratna--small" / "snapshots" / ("0" * 40)
    folder.mkdir(parents=True)
    monkeypatch.setattr(module.catalog, "find", lambda name: folder)
    with pytest.raises(RunError, match="fetch it first with python -m gan pull ratna/small"):
        module.evaluate("ratna/small")
    assert list(folder.iterdir()) == []


def test_the_folds_train_what_was_trained_not_what_ships_under_its_name():
    shipped = RECIPES["batik-cnn-3"]
    trained = dataclasses.replace(shipped, rate=0.1, rotation=5.0, views=1, mean=(0.1, 0.2, 0.3), steps=7)
    as_stored = json.loads(json.dumps(dataclasses.asdict(trained)))
    assert changed_from_shipped(as_stored) == {"rate": 0.1, "rotation": 5.0, "views": 1, "mean": [0.1, 0.2, 0.3]}
    config = {"recipe": shipped.name, "step": 7, "source": shipped.source, "start": shipped.start}
    assert module.recipe_of({**config, "changed": changed_from_shipped(as_stored)}) == trained
    assert module.recipe_of(config) == dataclasses.replace(shipped, steps=7)
    with pytest.raises(RunError, match="newer_field.* Update Canting"):
        module.recipe_of({**config, "changed": {"newer_field": 1}})


def test_a_classifier_is_cross_validated_from_run_to_metrics(places, monkeypatch):
    draw_motifs(places / "data" / "motifs")
    draw_motifs(places / "data" / "others", 1)
    monkeypatch.setattr(module.rejection, "SOURCES", {"others": 16})
    recipe = ClassifierRecipe(
        name="motifs",
        report="R3",
        source="motifs",
        network="mobilenet-v2",
        resolution=32,
        views=2,
        passes=2,
        folds=3,
        batch=8,
        rate=3e-3,
        at_large="motifs",
        blurs=(8, 16),
        calibrate=True,
        steps=30,
    )
    monkeypatch.setitem(module.RECIPES, "motifs", recipe)
    Run(places / "runs" / "first").create(recipe)
    prepare(places / "runs" / "first").train()
    folder = export_run(places / "runs" / "first")
    figures = evaluate("motifs")

    assert figures["folds"] == 3 and figures["images"] == 30
    assert 0 <= figures["accuracy_low"] <= figures["accuracy"] <= figures["accuracy_high"] <= 1
    assert figures["accuracy_worst_fold"] <= figures["accuracy"] <= figures["accuracy_best_fold"]
    assert 0 <= figures["not_batik_auroc"] == figures["not_batik_others"] <= 1
    assert 0 <= figures["accuracy_jpeg"] <= 1 and 0 <= figures["accuracy_tilted"] <= 1
    assert (folder / "rejection.safetensors").is_file()
    config = json.loads((folder / "config.json").read_text())
    assert config["temperature"] == pytest.approx(figures["temperature"], abs=1e-5)
    assert config["unsure_below"] == (0.5 if figures["accuracy_unsure"] < 0.5 else 0)
    assert 0 <= figures["sure"] <= 1
    assert figures["parameters"] == 2_388_227 and figures["steps"] == 30
    assert json.loads((folder / "metrics.json").read_text()) == figures
    weights = (folder / "model.safetensors").read_bytes()
    assert figures["weights_sha256"] == hashlib.sha256(weights).hexdigest()
    assert figures["command"] == "python -m training evaluate motifs"
    (folder / "config.json").write_text(json.dumps({**config, "classes": ["ayam", "bebek", "kuda"]}))
    with pytest.raises(RunError, match="has learned ayam, bebek, kuda, and motifs shows others"):
        evaluate("motifs")
    assert json.loads((folder / "metrics.json").read_text()) == figures
    (folder / "config.json").write_text(json.dumps(config))
    assert not any(isinstance(value, dict | list) for value in figures.values())
    with (folder / "confusion.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows[0][1:] == ["a", "b", "c"]
    assert sum(int(cell) for row in rows[1:] for cell in row[1:]) == 30
    with (folder / "history.csv").open() as file:
        history = list(csv.DictReader(file))
    assert {"step", "minutes", "images", "loss", "accuracy", "held_loss", "held_accuracy"} <= history[-1].keys()
    assert (folder / "README.md").is_file()
    assert [label for label, _ in load("motifs").classify(places / "data" / "motifs" / "b" / "0.png")][0] in "abc"
    facts = [Run(fold).read() for fold in (places / "runs").glob("motifs-folds-*/?")]
    assert sorted(i for one in facts for i in one["held"]) == list(range(30)) and len(facts) == 3
    assert all(sorted([*one["chosen"], *one["held"]]) == list(range(30)) for one in facts)
    # The folds are there already: nothing is trained again, and the figures are the same.
    monkeypatch.setattr("training.classifier.ClassifierTrainer.train_step", lambda self: pytest.fail("trained again"))
    again = evaluate("motifs")
    assert {**again, "date": ""} == {**figures, "date": ""}


def test_what_is_like_a_held_picture_is_left_out_with_it(monkeypatch):
    monkeypatch.setattr(module, "groups_of", lambda recipe, data: [0, 1, 2, 1])
    trainer = SimpleNamespace(recipe=None, data=None, held=[1])
    at_large = torch.arange(5)[:, None, None]
    assert module.without(trainer, at_large, [7, 1, 0, 1, 2]).flatten().tolist() == [0, 2, 4]


BATIK = PictureSet([0] * 4, torch.zeros(4, dtype=torch.long), description="four cloths")


class Fold:
    """A trainer that is surer of what it was trained on than of what it held; of strangers as they say themselves."""

    run, data = None, BATIK

    def __init__(self, held):
        self.held = held

    def predict(self, indices, data=BATIK):
        own = [2.0 if i in self.held else 9.0 for i in range(4)]
        sure = [(own if data is BATIK else data.pictures)[i] for i in indices]
        logits = torch.tensor([[[one, 0.0]] for one in sure])
        return Predictions(list(indices), torch.zeros(len(sure), dtype=torch.long), logits)


def test_strangers_are_told_from_what_was_held_and_the_worst_source_counts(monkeypatch):
    recipe = dataclasses.replace(RECIPES["batik-cnn-3"], channels=1, at_large="", calibrate=False)
    strangers = {"far-off:test": PictureSet([1.0, 1.5]), "near": PictureSet([1.0, 3.0])}
    outside = {name: (list(range(4)), BATIK, pictures) for name, pictures in strangers.items()}
    monkeypatch.setattr(module, "others", lambda recipe: outside)
    monkeypatch.setattr(module, "cross_validate", lambda recipe: [Fold([0, 1]), Fold([2, 3])])
    figures, parts, _ = module.cross_validated(recipe)
    assert (figures["not_batik_far_off"], figures["not_batik_near"], figures["not_batik_auroc"]) == (1.0, 0.5, 0.5)
    assert [part.indices for part in parts] == [[0, 1], [2, 3]]


def test_confused_classes_are_read_as_they_were_written(tmp_path):
    module.write_confusion(tmp_path / "confusion.csv", torch.tensor([[3, 1], [0, 4]]), ["a", "b"])
    assert mistakes(tmp_path / "confusion.csv") == [("a", "b", 1, 4)]


def test_held_out_curves_are_the_mean_of_the_folds(tmp_path):
    """At the steps of the shipped training's own lines, which need not be those of the folds'."""
    (tmp_path / "history.csv").write_text("step,loss\n10,1\n20,1\n")
    runs = [Run(tmp_path / name) for name in ("0", "1")]
    for run, losses in zip(runs, ((4.0, 2.0), (2.0, 0.0)), strict=True):
        for step, loss in zip((10, 30), losses, strict=True):
            run.add_metrics(step=step, held_loss=loss, held_accuracy=loss / 4)
    module.write_curves(tmp_path / "history.csv", runs)
    with (tmp_path / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["step"], row["loss"], row["held_loss"]) for row in rows] == [("10", "1", "3.0"), ("20", "1", "2.0")]
    assert [row["held_accuracy"] for row in rows] == ["0.75", "0.5"]


class Digits:
    """A generator that draws digit d as a patch of brightness 25 d, and every tenth 7 as a 1."""

    parameters = 5

    def stream(self, seeds, truncation=1.0, labels=None):
        labels = [seed % 10 for seed in seeds] if labels is None else labels
        shown = [1 if label == 7 and seed % 100 == 7 else label for seed, label in zip(seeds, labels, strict=True)]
        for start in range(0, len(shown), 64):
            part = torch.tensor(shown[start : start + 64], dtype=torch.uint8) * 25
            yield part[:, None, None, None].expand(-1, 1, 28, 28)


class Judge:
    """Reads the brightness."""

    def probabilities(self, pictures):
        return torch.nn.functional.one_hot(pictures[:, 0, 0, 0].long() // 25, 10).float()


def test_digits_are_read_against_what_was_asked_for(monkeypatch):
    monkeypatch.setattr(judges.catalog, "load", lambda name: Judge())
    figures = judges.digit_figures(Digits())
    assert figures["digit_accuracy"] == pytest.approx(0.99)
    assert figures["worst_digit_accuracy"] == pytest.approx(0.9)


class Cloths:
    """Two pictures in three of what the motif's judge takes for Kawung."""

    def stream(self, seeds):
        yield torch.stack([torch.full((3, 8, 8), 200 if seed % 3 else 10, dtype=torch.uint8) for seed in seeds])


class MotifJudge:
    """Tells by the brightness."""

    def classify(self, picture):
        return Answer((("batik-kawung" if picture.getpixel((0, 0))[0] > 100 else "batik-parang", 1.0),))


def test_motifs_are_read_against_the_folder_that_was_learnt_from(monkeypatch):
    monkeypatch.setattr(judges.catalog, "load", lambda name: {"judge-batik": MotifJudge()}[name])
    assert judges.motif_agreement(Cloths(), "batik-gan/batik-kawung", 30) == pytest.approx(2 / 3)
    assert judges.motif_agreement(Cloths(), "batik-gan/batik-parang!all", 30) == pytest.approx(1 / 3)


def test_digits_teach_as_well_as_they_are_drawn(data, monkeypatch):
    data("mnist")
    real = open_source("mnist:test", 28, 1)
    drawn = {digit: (real.labels == digit).nonzero()[:200, 0] for digit in range(10)}

    class Copies:
        """Draws real digits, all as asked for or all as the next one."""

        def __init__(self, shift):
            self.shift = shift

        def stream(self, seeds, truncation=1.0, labels=None):
            asked = [(label + self.shift) % 10 for label in labels]
            chosen = [drawn[digit][seed % 200] for seed, digit in zip(seeds, asked, strict=True)]
            yield real.pictures[torch.stack(chosen)]

    monkeypatch.setattr(judges, "TAUGHT", 2560)
    # A tenth of the test set tells the one from the other.
    whole = judges.open_for
    monkeypatch.setattr(judges, "open_for", lambda *of: whole(*of).select(range(0, len(real), 10)))
    assert judges.train_on_fake(Copies(0)) > 0.5
    assert judges.train_on_fake(Copies(1)) < 0.1


def test_a_generator_is_measured_on_its_first_seeds(places, monkeypatch):
    described = {"kind": "generator", "network": "dense", "arguments": {}, "recipe": "cifar10-dense"}
    described |= {"source": "pictures", "resolution": 32, "channels": 3}
    torch.manual_seed(0)
    folder = save(places / "checkpoints" / "small", build_network(described).state_dict(), described)
    (folder / "history.csv").write_text("step,minutes,images,g_loss\n10,0.5,100,1\n20,1.25,200,1\n")
    draw_motifs(places / "data" / "pictures", 4)
    from training import metrics

    seen = []

    def features(pictures):
        pictures = torch.cat(list(pictures))
        seen.append(pictures)
        return pictures.float().flatten(1)[:, ::96].contiguous()

    monkeypatch.setattr(metrics, "features", features)
    figures = evaluate("small", samples=9)
    assert figures["generated"] == 9 and figures["real"] == 9
    assert "9 of its 12 pictures" in figures["reference"]
    assert (figures["steps"], figures["minutes"], figures["parameters"]) == (20, 1.25, 3_835_136)
    assert {"fid", "kid", "precision", "recall", "memorised", "date"} <= figures.keys()
    assert figures["command"] == "python -m training evaluate small --samples 9"
    fake, real, own, mirrored = seen
    assert figures["searched"] == len(own) == 12 and len(real) == 9
    assert torch.equal(mirrored, own.flip(-1))
    assert torch.equal(fake, torch.cat(list(load("small").stream(range(9)))))


def test_mirrored_digits_are_no_digits_and_labels_go_by_the_seed(places, monkeypatch):
    arguments = {"latent_size": 4, "width": 4}
    described = {"kind": "generator", "network": "cgan", "arguments": arguments, "recipe": "mnist-cgan"}
    described |= {"source": "pictures", "resolution": 28, "channels": 1}
    save(places / "checkpoints" / "small", build_network(described).state_dict(), described)
    draw_motifs(places / "data" / "pictures", 4)
    from training import metrics

    seen = []

    def features(pictures):
        seen.append(torch.cat(list(pictures)))
        return torch.randn(len(seen[-1]), 8, generator=torch.Generator().manual_seed(len(seen)))

    monkeypatch.setattr(metrics, "features", features)
    monkeypatch.setattr(metrics, "recall_by_class", lambda fake, asked, real, known: asked.tolist())
    figures = evaluate("small", samples=12)
    assert [figures[f"recall_class_{number}"] for number in range(12)] == [*range(10), 0, 1]
    assert len(seen) == 2, "what was generated, and the pictures as they are"


def test_folds_are_joined_in_the_order_of_the_data():
    logits = torch.eye(4)[:, None]
    parts = [
        Predictions([3, 0], torch.tensor([3, 0]), logits[[3, 0]]),
        Predictions([1, 2], torch.tensor([1, 2]), logits[[1, 2]]),
    ]
    whole = joined(parts)
    assert whole.indices == [0, 1, 2, 3] and whole.labels.tolist() == [0, 1, 2, 3]
    assert torch.equal(whole.logits, logits)
    assert torch.allclose(whole.probabilities, logits[:, 0].softmax(1))


def test_a_fold_is_calibrated_on_the_others():
    logits, labels = torch.tensor([[4.0, 0.0]] * 8)[:, None], torch.tensor([0] * 6 + [1] * 2)
    parts = [Predictions(list(range(i, i + 4)), labels[i : i + 4], logits[i : i + 4]) for i in (0, 4)]
    certain, doubtful = calibrated(parts)
    # The first four are all right, and so the last four are sharpened; these are right half of the time.
    assert doubtful.logits.max() > 4 > certain.logits.max()
    whole = joined(parts)
    temperature = fit_temperature(whole.labels, whole.logits)
    shares = dataclasses.replace(whole, logits=whole.logits / temperature).probabilities
    assert shares[:, 0].mean().item() == pytest.approx(0.75, abs=0.02)


def test_large_references_are_spread_evenly():
    data = PictureSet(torch.arange(100, dtype=torch.uint8)[:, None, None, None], description="all")
    part = spread(data, 5)
    assert part.pictures.flatten().tolist() == [0, 24, 49, 74, 99]
    assert part.description == "all; 5 of its 100 pictures, evenly spaced"
    assert spread(data, 100) is data


def test_who_has_seen_the_training_pictures_is_measured_against_others(monkeypatch):
    opened = []
    monkeypatch.setattr(module, "open_source", lambda name, *size: opened.append((name, *size)) or "others")
    learnt = PictureSet(torch.arange(20_000)[:, None, None, None], description="faces")
    assert module.reference(learnt, "cifar10:train", 32, 3) == "others" and opened == [("cifar10:test", 32, 3)]
    faces = module.reference(learnt, "anime-faces", 64, 3)
    assert faces.pictures.flatten().tolist() == list(range(10_000))
    assert faces.description == "faces; the first 10,000 by file name"
    assert module.reference(learnt, "batik-gan/batik-kawung", 256, 3) is learnt
