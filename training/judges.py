"""What shipped classifiers make of generated pictures: whether digits and motifs can be told for what they are."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from typing import Any

import torch
from torchvision.transforms.functional import to_pil_image

from gan import catalog
from training.classifier import ClassifierTrainer, open_for
from training.data.pictures import PictureSet
from training.recipes import RECIPES
from training.runs import Run

DIGIT_JUDGE = "judge-mnist"
DIGIT_SAMPLES = 10_000
# A reader of digits is trained once on this many generated ones.
TAUGHT = 60_000
# The judge looks at five views of each, which takes longer than all other figures together.
MOST_JUDGED = 1000
MOTIF_JUDGE = "judge-batik"
MOTIFS = "batik-gan"


def digit_figures(model: Any) -> dict[str, float]:
    """How many of 10,000 digits, a thousand of each, the judge reads as the digit that was asked for."""
    judge = catalog.load(DIGIT_JUDGE)
    wanted = torch.arange(DIGIT_SAMPLES) % 10
    seeds = range(DIGIT_SAMPLES)
    pictures = torch.cat(list(model.stream(seeds, labels=wanted.tolist())))
    read = torch.cat([judge.probabilities(part).argmax(1) for part in pictures.split(250)])
    right = (read == wanted).double()
    return {
        "digit_accuracy": right.mean().item(),
        "worst_digit_accuracy": min(right[wanted == digit].mean().item() for digit in range(10)),
    }


def train_on_fake(model: Any) -> float:
    """How many real test digits a network of the judge's kind reads that has seen generated digits alone.

    It is taught by the judge's recipe, once through 60,000 of them. Low where digits are misread or all alike
    (Ravuri & Vinyals, "Classification Accuracy Score for Conditional Generative Models", NeurIPS 2019).
    """
    judge = RECIPES[DIGIT_JUDGE]
    recipe = replace(judge, steps=TAUGHT // judge.batch)
    labels = torch.arange(TAUGHT) % 10
    seeds = range(DIGIT_SAMPLES, DIGIT_SAMPLES + TAUGHT)
    pictures = torch.cat(list(model.stream(seeds, labels=labels.tolist())))
    taught = PictureSet(pictures[:, None], labels, [str(digit) for digit in range(10)])
    with tempfile.TemporaryDirectory() as folder:
        run = Run(folder)
        run.create(recipe)
        trainer = ClassifierTrainer(recipe, run, taught)
        trainer.train()
        test = open_for(recipe, recipe.test)
        return trainer.predict(range(len(test)), test).accuracy


def motif_agreement(model: Any, source: str, samples: int) -> float:
    """Share of the samples that the judge takes for the motif that ``source``, a folder of batik-gan, is named for.

    Of at most the first :data:`MOST_JUDGED`: with those its standard error is at most 1.6 %.
    """
    judge = catalog.load(MOTIF_JUDGE)
    samples = min(samples, MOST_JUDGED)
    motif = source.removeprefix(f"{MOTIFS}/").partition("!")[0]
    pictures = (to_pil_image(picture) for part in model.stream(range(samples)) for picture in part)
    return sum(judge.classify(picture).label == motif for picture in pictures) / samples
