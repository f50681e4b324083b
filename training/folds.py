"""Cross-validation with near-duplicates kept together."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gan import settings
from gan.classify import normalised
from gan.errors import PictureError, RunError
from gan.files import atomic
from gan.nets.classifiers import MobileNetClassifier
from gan.pictures import open_picture
from training import duplicates
from training.classifier import ClassifierTrainer, fused, open_for, opened, squares
from training.data.pictures import PictureSet, centre_square, mix
from training.data.sources import open_source
from training.loop import Stopped
from training.recipes import ClassifierRecipe
from training.runs import Run
from training.start import classifier_trainer
from training.weights import mobilenet_features

# These share cloths: a chain of near-duplicates may lead from one picture to another through the other folder.
BATIK = ("batik-motifs", "batik-gan")
IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


def stratified_folds(labels: Sequence[int], groups: Sequence[int], folds: int, seed: int = 0) -> list[int]:
    """The fold, 0 to ``folds − 1``, in which each picture is tested.

    No group is divided, and every class is spread as evenly over the folds as the groups allow: the groups, largest
    first and shuffled among equals, each go to the fold where that leaves the class counts most even.

    Raises:
        ValueError: for fewer groups than folds.
    """
    members: dict[int, list[int]] = {}
    for i, group in enumerate(groups):
        members.setdefault(group, []).append(i)
    if len(members) < folds:
        raise ValueError(f"{len(members)} groups cannot be split into {folds} folds.")
    classes = max(labels) + 1
    wanted = torch.bincount(torch.tensor(labels), minlength=classes).clamp_min(1) / folds
    generator = torch.Generator().manual_seed(mix(seed, 6))
    shuffled = [list(members.values())[i] for i in torch.randperm(len(members), generator=generator)]
    filled = torch.zeros(folds, classes)
    assigned = [0] * len(labels)
    for group in sorted(shuffled, key=len, reverse=True):
        counts = torch.bincount(torch.tensor([labels[i] for i in group]), minlength=classes)
        fold = int(torch.stack([unevenness(filled, counts, one, wanted) for one in range(folds)]).argmin())
        filled[fold] += counts
        for i in group:
            assigned[i] = fold
    return assigned


def unevenness(filled: Tensor, counts: Tensor, fold: int, wanted: Tensor) -> Tensor:
    """How far the folds' class counts would lie from ``wanted`` with ``counts`` added to one fold; shares squared.

    The total number of pictures breaks ties, so that small classes do not pile up in the first fold.
    """
    after = filled[fold] + counts
    change = ((after / wanted - 1) ** 2 - (filled[fold] / wanted - 1) ** 2).sum()
    return change + 1e-3 * after.sum() / wanted.sum()


def groups_of(recipe: ClassifierRecipe, data: PictureSet) -> list[int]:
    """The near-duplicate group of each picture of ``data``, looked for in both batik folders at once where it is one.

    By hashes and by what a frozen MobileNetV2 sees, which also finds a cloth cut or photographed anew. Comparing two
    thousand files takes two minutes: the answer is kept in the cache folder.
    """
    base = recipe.source.partition(":")[0]
    if base not in BATIK:
        return duplicates.duplicate_groups(open_source(recipe.source, recipe.resolution, recipe.channels).pictures)
    root = settings.data_folder()
    files = sorted(file for folder in BATIK for file in (root / folder).rglob("*") if file.is_file())
    names = [file.relative_to(root).as_posix() for file in files]
    sizes = [file.stat().st_size for file in files]
    # Another version of the comparison may group otherwise.
    compared = Path(duplicates.__file__).read_text(encoding="utf-8")
    key = hashlib.sha256(json.dumps([names, sizes, compared]).encode()).hexdigest()[:16]
    cache = settings.cache_folder() / f"groups-{key}.json"
    if not cache.exists():
        with atomic(cache) as path:
            path.write_text(json.dumps(duplicates.duplicate_groups(files, whole_features(files))))
    by_name = dict(zip(names, json.loads(cache.read_text()), strict=True))
    return [by_name[f"{base}/{name}"] for name in data.names]


@torch.no_grad()
def whole_features(files: Sequence[Path]) -> Tensor:
    """MobileNetV2's pooled features of each whole picture, squeezed to 224²: (n, 1280), zeros where there is none."""
    network = MobileNetClassifier()
    network.features.load_state_dict(mobilenet_features())
    network = fused(network.eval())
    found = torch.zeros(len(files), network.embedding)
    for i, file in enumerate(files):
        try:
            picture = open_picture(file, side=224).convert("RGB").resize((224, 224), Image.Resampling.BICUBIC)
        except PictureError:
            continue
        pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]
        found[i] = network.embed(normalised(pixels, *IMAGENET))[0]
    return found


def at_large(trainer: ClassifierTrainer) -> tuple[Tensor, list[int]]:
    """Frozen features (n, views, d) of batik of all kinds, and the pictures' near-duplicate groups.

    With ``blurs`` every picture is there once more, shrunk to one of these sides.
    """
    recipe = replace(trainer.recipe, source=trainer.recipe.at_large)
    data = opened(recipe, recipe.source)
    features = trainer.bank.of(squares(data, recipe))[:, : recipe.views]
    groups = groups_of(recipe, data)
    if recipe.blurs:
        small = [centre_square(one, recipe.blurs[i % len(recipe.blurs)]) for i, one in enumerate(data.pictures)]
        blurred = squares(replace(data, pictures=small), replace(recipe, train_views=0))
        features, groups = torch.cat([features, trainer.bank.of(blurred)]), groups * 2
    return features, groups


def cross_validate(
    recipe: ClassifierRecipe,
    data: PictureSet | None = None,
    root: Path | None = None,
    on_step: Callable[..., None] | None = None,
    **facts: Any,
) -> Iterator[ClassifierTrainer]:
    """Train the recipe once for each fold, without that fold's pictures, and give the trained trainers in turn.

    Each is a run of its own, so that an
    interrupted evaluation goes on where it stopped and a finished fold is not trained again.

    Args:
        data: the recipe's pictures as ``open_for`` gives them; opened when absent.
        root: where the folds' runs are kept; under the runs folder when absent.
        on_step: asked after every step; it may raise Stopped.
        facts: for the folds' ``run.json``.

    Raises:
        RunError: for fewer pictures, near-duplicates counted once, than folds.
        Stopped: where ``on_step`` did; the fold under way is saved.
    """
    data = data or open_for(recipe)
    groups = groups_of(recipe, data)
    if len(set(groups)) < recipe.folds:
        second = f"source ({recipe.source}), near-duplicates counted once: {len(set(groups))}"
        raise RunError("error.run.fields", first=f"folds ({recipe.folds})", second=second)
    folds = stratified_folds(data.labels.tolist(), groups, recipe.folds, recipe.seed)
    key = hashlib.sha256(json.dumps([asdict(replace(recipe, about="")), data.names, folds]).encode()).hexdigest()[:8]
    root = root or settings.runs_folder() / f"{recipe.name}-folds-{key}"
    for fold in range(recipe.folds):
        run = Run(root / str(fold))
        if not (run.folder / "run.json").exists():
            held = [i for i, at in enumerate(folds) if at == fold]
            alike = {groups[i] for i in held}
            run.create(recipe, chosen=[i for i in range(len(data)) if groups[i] not in alike], held=held, **facts)
        trainer = classifier_trainer(recipe, run, data)
        trainer.train(on_step)
        if trainer.step < recipe.steps:
            raise Stopped
        yield trainer
