from __future__ import annotations

import dataclasses
import random
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from gan import nets
from gan.errors import DataError, RunError
from tests.training.conftest import contents, resuming, wait_for
from training.augment import augmented, draw_matrix
from training.classifier import CLEAN, ClassifierTrainer, FeatureBank, fused, open_for
from training.data.pictures import PictureSet
from training.folds import cross_validate
from training.linear import LinearTrainer
from training.loop import Stopped
from training.recipes import RECIPES, ClassifierRecipe
from training.runs import Run
from training.start import classifier_trainer


def stripes(folder: Path, count: int = 9) -> Path:
    """Two classes, stripes along and stripes across, of several widths and sizes."""
    for name in ("across", "along"):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            wave = np.sin(np.arange(40 + i) / (1.5 + 0.3 * i)) * 127 + 128
            pixels = np.repeat(wave[:, None], 50 + i, axis=1).astype(np.uint8)
            Image.fromarray(pixels if name == "across" else pixels.T).save(folder / name / f"{i}.png")
    return folder


def digits_recipe(root: Path, **changes) -> ClassifierRecipe:
    """Augmentation, batch norm, dropout and a falling rate."""
    recipe = ClassifierRecipe(
        name="stripes",
        report="–",
        source=str(stripes(root / "stripes")),
        network="digit-judge",
        resolution=28,
        channels=1,
        views=1,
        mean=(0.5,),
        std=(0.25,),
        rotation=10.0,
        shift=0.1,
        zoom=0.1,
        batch=4,
        cosine=True,
        steps=40,
        save_every=7,
    )
    return dataclasses.replace(recipe, **changes)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"batch": 0}, "batch cannot be 0"),
        ({"save_every": 0}, "save_every cannot be 0"),
        ({"folds": 1}, "folds cannot be 1: it is at least 2"),
        ({"views": 0}, "1 to 32 views"),
        ({"views": 40}, "it says 28, 1, 40,"),
        ({"resolution": 4}, "8 to 1024"),
        ({"close": 0.0}, "close above 0"),
        ({"mean": (0.5,) * 3}, "for each channel one mean"),
        ({"std": (0.0,)}, "std that is not 0"),
        ({"precision": "int8"}, "precision cannot be int8"),
        ({"solver": "magic"}, "solver cannot be magic: choose one of adam, lbfgs"),
        ({"smoothing": 2.0}, "smoothing cannot be 2.0"),
        ({"network": "gpt"}, "no network called 'gpt'"),
        ({"network_args": {"x": 1}}, "does not take these arguments"),
        ({"solver": "lbfgs"}, r"solver \(lbfgs\) and network \(digit-judge\), whose head is not linear"),
        ({"passes": 3}, r"passes \(3\) and network \(digit-judge\), which has no frozen part"),
    ],
)
def test_a_recipe_whose_parts_do_not_fit_is_refused(tmp_path: Path, changes: dict, sentence: str) -> None:
    recipe = digits_recipe(tmp_path, **changes)
    run = Run(tmp_path / "run")
    run.create(recipe)
    with pytest.raises(RunError, match=sentence):
        classifier_trainer(recipe, run)


def test_a_linear_layer_needs_kept_features(tmp_path):
    recipe = dataclasses.replace(linear_recipe(tmp_path), passes=0)
    with pytest.raises(RunError, match=r"solver \(lbfgs\) and passes \(0\)"):
        LinearTrainer(recipe, started(recipe, tmp_path / "run"))


def test_pictures_without_classes_and_more_folds_than_pictures_are_refused(tmp_path):
    recipe = digits_recipe(tmp_path)
    flat = dataclasses.replace(recipe, source=f"{recipe.source}/along")
    with pytest.raises(DataError, match="have no classes"):
        ClassifierTrainer(flat, started(flat, tmp_path / "run"))
    with pytest.raises(RunError, match=r"folds \(99\) and source .*, near-duplicates counted once: 1"):
        next(cross_validate(dataclasses.replace(recipe, folds=99)))


def frozen_recipe(root: Path) -> ClassifierRecipe:
    """A frozen part whose features are kept, for three passes."""
    return digits_recipe(
        root,
        network="mobilenet-v2",
        resolution=32,
        channels=3,
        views=2,
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        passes=3,
        steps=20,
    )


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def started(recipe: ClassifierRecipe, folder: Path, **facts) -> Run:
    run = Run(folder)
    run.create(recipe, **facts)
    return run


def assert_same(one: Run, other: Run) -> None:
    (tensors, values), (others, other_values) = contents(one), contents(other)
    assert tensors.keys() == others.keys() and values == other_values
    assert [key for key in tensors if not torch.equal(tensors[key], others[key])] == []
    assert [{**line, "seconds": 0} for line in one.metrics()] == [{**line, "seconds": 0} for line in other.metrics()]


@pytest.mark.timeout(200)
def test_killed_and_resumed_equals_left_alone(tmp_path):
    recipe = digits_recipe(tmp_path, precision="bfloat16")
    facts = {"chosen": list(range(0, 18, 2)) + [1, 3], "held": [5, 7, 9, 11]}
    alone, killed = (started(recipe, tmp_path / name, **facts) for name in ("alone", "killed"))
    left = resuming(alone.folder)
    victim = resuming(killed.folder)
    wait_for(killed.state_file.exists, 90)
    seed = random.randrange(2**32)
    print("seed of the moment of the kill:", seed)
    time.sleep(random.Random(seed).uniform(0, 0.3))
    victim.kill()
    victim.join()
    assert killed.load_state()["step"] in range(recipe.save_every, recipe.steps + 1)
    resumed = resuming(killed.folder)
    for process in (left, resumed):
        process.join(120)
        assert process.exitcode == 0
    assert_same(alone, killed)


def assert_resumes(trainer_class, recipe: ClassifierRecipe, root: Path, at: int) -> Run:
    """Stopped after step ``at`` and resumed, a training equals one left alone, whose run is returned."""
    alone, stopped = (started(recipe, root / name) for name in ("alone", "stopped"))
    trainer_class(recipe, alone).train()

    def stop(trainer, _):
        if trainer.step == at:
            raise Stopped

    trainer_class(recipe, stopped).train(stop)
    assert stopped.load_state()["step"] == at
    trainer_class(recipe, stopped).train()
    assert_same(alone, stopped)
    return alone


def test_stopped_with_kept_features_and_resumed_equals_left_alone(tmp_path):
    recipe = frozen_recipe(tmp_path)
    assert_resumes(ClassifierTrainer, recipe, tmp_path, at=11)


def test_it_learns_and_never_trains_on_what_is_held(tmp_path, monkeypatch):
    recipe = digits_recipe(tmp_path, batch=8, rate=3e-3, steps=60, flip=False)
    held = [0, 4, 9, 13]
    run = started(recipe, tmp_path / "run", chosen=[i for i in range(18) if i not in held], held=held)
    trainer = ClassifierTrainer(recipe, run)
    seen = set()
    logits = trainer.logits
    monkeypatch.setattr(trainer, "logits", lambda indices, epochs: (seen.update(indices), logits(indices, epochs))[1])
    losses = []
    trainer.train(lambda _, values: losses.append(values["loss"]))
    assert seen == set(range(18)) - set(held)
    assert trainer.predict(held).accuracy == 1
    lines = run.metrics()
    assert lines[-1]["step"] == 60
    # A line tells of the steps since the one before.
    ends = [0, *(line["step"] for line in lines)]
    for line, first, last in zip(lines, ends, ends[1:], strict=False):
        assert line["loss"] == pytest.approx(sum(losses[first:last]) / (last - first), abs=1e-4)
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert "held_accuracy" in lines[-1]


def test_predictions_and_labels_cannot_be_shuffled_apart(tmp_path):
    """R3's two evaluations disagreed because its loader shuffled between the predictions and the labels."""
    recipe = digits_recipe(tmp_path)
    trainer = ClassifierTrainer(recipe, started(recipe, tmp_path / "run"))
    straight = trainer.predict(range(18))
    order = random.Random(3).sample(range(18), 18)
    mixed = trainer.predict(order)
    assert mixed.indices == order
    assert mixed.labels.tolist() == [trainer.data.labels[i].item() for i in order]
    assert torch.allclose(mixed.probabilities, straight.probabilities[order], atol=1e-6)
    assert mixed.accuracy == straight.accuracy
    assert mixed.loss == pytest.approx(straight.loss, abs=1e-6)
    assert torch.allclose(mixed.probabilities.sum(1), torch.ones(18))


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    """The largest difference, relative to the largest value: features of weights drawn by chance are tiny."""
    return ((one - other).abs().max() / other.abs().max()).item()


def test_kept_features_are_those_of_the_network(tmp_path):
    # In bfloat16 folded and plain layers round differently.
    recipe = dataclasses.replace(frozen_recipe(tmp_path), precision="float32")
    trainer = ClassifierTrainer(recipe, started(recipe, tmp_path / "run"))
    with torch.no_grad():
        direct = trainer.network.embed(trainer.ready(trainer.data.pictures[7]))
    kept = trainer.bank[CLEAN]
    assert kept.shape == (18, 2, 1280)
    assert apart(kept[7], direct) < 1e-3
    assert apart(trainer.bank[0], kept[:, 0]) > 0.01
    assert apart(trainer.bank[0], trainer.bank[2]) > 0.01, "both of view 0, augmented differently"
    # Another augmentation or other pictures must not find the same features.
    other = dataclasses.replace(recipe, rotation=20.0)
    assert ClassifierTrainer(other, started(other, tmp_path / "other")).bank.key != trainer.bank.key
    fewer = PictureSet(trainer.data.pictures[:8], trainer.data.labels[:8], trainer.data.classes)
    assert ClassifierTrainer(recipe, trainer.run, fewer).bank.key != trainer.bank.key


def test_passes_are_taken_in_turn_each_of_its_own_view_and_every_picture_moved_in_its_own_way(tmp_path, monkeypatch):
    recipe = frozen_recipe(tmp_path)
    # All squares of a striped picture are alike: noise tells them apart.
    noise = torch.randint(256, (18, 2, 3, 32, 32), dtype=torch.uint8)
    data = PictureSet(noise, torch.arange(18) % 2, ["across", "along"])
    trainer = ClassifierTrainer(recipe, started(recipe, tmp_path / "run"), data)
    views, shown, drawn = noise.unbind(1), [], []

    def still(pictures, recipe, seeds):
        shown.append(pictures)
        drawn.extend(seeds)
        return pictures

    monkeypatch.setattr("training.classifier.augmented", still)
    for number, view in ((0, 0), (1, 1), (2, 0)):
        assert trainer.bank[number].shape == (18, 1280)
        assert torch.equal(torch.cat(shown), views[view])
        shown.clear()
    assert len(set(drawn)) == 3 * 18
    taken: dict[int, list[int]] = {i: [] for i in range(18)}
    rows = trainer.bank.rows

    def recorded(indices, passes):
        for i, number in zip(indices, passes, strict=True):
            taken[i].append(number)
        return rows(indices, passes)

    monkeypatch.setattr(trainer.bank, "rows", recorded)
    trainer.train()
    assert all(numbers == [0, 1, 2, 0, 1][: len(numbers)] and len(numbers) >= 4 for numbers in taken.values())


@pytest.mark.parametrize(
    "changes",
    [
        {"network": "mobilenet-efficientnet"}, {"network_args": {"width": 2}}, {"start": "batik-mobilenet-3"},
        {"resolution": 48}, {"channels": 1}, {"mean": (0.1,) * 3}, {"std": (0.1,) * 3}, {"rotation": 1.0},
        {"shift": 0.5}, {"shear": 1.0}, {"zoom": 0.5}, {"flip": False}, {"views": 3}, {"close": 0.5}, {"seed": 1},
        {"precision": "bfloat16"},
    ],
    ids=lambda changes: next(iter(changes)),
)  # fmt: skip
def test_features_of_one_frozen_part_are_not_taken_for_anothers(tmp_path, changes):
    recipe = dataclasses.replace(frozen_recipe(tmp_path), precision="float32")
    data = PictureSet(torch.zeros(2, 1, 3, 32, 32, dtype=torch.uint8))

    def key(recipe: ClassifierRecipe) -> str:
        return FeatureBank(SimpleNamespace(recipe=recipe, data=data, device=torch.device("cpu"))).key

    assert key(dataclasses.replace(recipe, **changes)) != key(recipe) == key(dataclasses.replace(recipe, steps=7))


def test_the_rate_falls_from_the_whole_to_nothing_along_half_a_cosine(tmp_path):
    recipe = digits_recipe(tmp_path)
    trainer = ClassifierTrainer(recipe, started(recipe, tmp_path / "run"))
    rates = []
    for trainer.step in (0, 10, 20, 40):
        rates.append(trainer.rate() / recipe.rate)
    assert rates == pytest.approx([1, (1 + 0.5**0.5) / 2, 0.5, 0])


def test_the_loss_is_that_of_smoothed_labels(tmp_path, monkeypatch):
    recipe = digits_recipe(tmp_path, smoothing=0.2)
    trainer = ClassifierTrainer(recipe, started(recipe, tmp_path / "run"))
    # Certain of what is right: were the labels not smoothed, that would cost nothing.
    monkeypatch.setattr(
        trainer,
        "logits",
        lambda indices, _: (50.0 * F.one_hot(trainer.data.labels[indices], 2)).requires_grad_(),
    )
    assert trainer.train_step() == {"loss": pytest.approx(50 * 0.1, rel=1e-3), "accuracy": 1}


def test_pictures_are_taken_as_the_report_takes_them(tmp_path):
    data = open_for(digits_recipe(tmp_path))
    assert data.pictures.shape == (18, 1, 1, 28, 28)
    assert data.pictures.dtype == torch.uint8
    assert data.classes == ["across", "along"]
    report = RECIPES["batik-cnn-3"]
    assert (report.mean, report.std) == ((0, 0, 0), (1, 1, 1)), "the report scales to [0, 1]"
    assert (report.resolution, report.batch, report.rate) == (224, 32, 1e-3)
    assert (report.rotation, report.shift, report.shear, report.zoom, report.flip) == (40, 0.2, 0.2, 0.2, True)
    assert report.source == "batik-motifs:batik-bali,batik-betawi,batik-celup"


def test_augmentation_does_what_its_name_says():
    still = {"rotation": 0.0, "shift": 0.0, "shear": 0.0, "zoom": 0.0, "flip": False}
    recipe = dataclasses.replace(RECIPES["batik-cnn-3"], **still)
    picture = torch.randint(0, 256, (1, 3, 20, 20), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(augmented(picture, recipe, [5]), picture)
    flipping = dataclasses.replace(recipe, flip=True)
    found = [augmented(picture, flipping, [seed]) for seed in range(40)]
    mirrored = sum(torch.equal(one, picture.flip(-1)) for one in found)
    assert mirrored + sum(torch.equal(one, picture) for one in found) == 40
    assert 8 < mirrored < 32
    # Shifts repeat the edge instead of letting black in.
    bright = torch.full((1, 3, 20, 20), 200, dtype=torch.uint8)
    assert augmented(bright, RECIPES["batik-cnn-3"], [1]).min() == 200
    assert torch.equal(augmented(picture, flipping, [7]), augmented(picture, flipping, [7]))


def test_augmentation_stays_within_the_recipes_limits():
    shifting = dataclasses.replace(RECIPES["batik-cnn-3"], rotation=0.0, shear=0.0, zoom=0.0, flip=False)
    turning = dataclasses.replace(RECIPES["batik-cnn-3"], shift=0.0, shear=0.0, zoom=0.0, flip=False)
    moves, angles = [], []
    for seed in range(200):
        moves.append(draw_matrix(shifting, torch.Generator().manual_seed(seed))[:, 2])
        angles.append(torch.rad2deg(draw_matrix(turning, torch.Generator().manual_seed(seed))[1, 0].asin()))
    # A share of 0.2 of the side is 0.4 where the side spans two units.
    assert 0.36 < torch.stack(moves).abs().max() <= 0.4
    assert 36 < torch.stack(angles).abs().max() <= 40.001


@pytest.mark.parametrize("name", ["mobilenet-v2", "mobilenet-efficientnet"])
def test_folding_the_batch_norms_changes_nothing(name):
    torch.manual_seed(0)
    network = nets.build(nets.CLASSIFIERS, name, {"classes": 3}).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.5, 0.5)
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
    x = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        before = network.embed(x)
        assert torch.allclose(fused(network).embed(x), before, rtol=1e-3, atol=1e-4 * before.abs().max().item())


def linear_recipe(root: Path, **changes) -> ClassifierRecipe:
    """Two frozen networks under a linear layer; trained on more views than answered from.

    In full precision: what untrained networks see of one picture and of another differs by less than bfloat16 can tell.
    """
    frozen = dataclasses.replace(frozen_recipe(root), precision="float32")
    linear = {"network": "mobilenet-efficientnet", "solver": "lbfgs", "decay": 1e-4, "smoothing": 0.1, "passes": 1}
    return dataclasses.replace(frozen, **linear, views=1, train_views=3, steps=12, save_every=5, **changes)


def test_a_linear_layer_stopped_and_resumed_equals_left_alone(tmp_path):
    recipe = linear_recipe(tmp_path)
    alone = assert_resumes(LinearTrainer, recipe, tmp_path, at=7)
    losses = [line["loss"] for line in alone.metrics()]
    assert losses == sorted(losses, reverse=True), "every iteration of a convex loss lowers it"


def test_a_linear_layer_learns_from_what_is_chosen_alone(tmp_path):
    recipe = linear_recipe(tmp_path)
    held = [0, 4, 9, 13]
    facts = {"chosen": [i for i in range(18) if i not in held], "held": held}
    trainer = LinearTrainer(recipe, started(recipe, tmp_path / "run", **facts))
    assert trainer.rows.shape == (14 * 3, trainer.network.embedding)
    assert torch.allclose(trainer.rows.norm(dim=1), torch.full((42,), 10.0**0.5), atol=1e-3), "ten blocks of length 1"
    trainer.train()
    assert len(trainer.rows) == 0, "what a cross-validation would otherwise hold five times"
    predicted = trainer.predict(held)
    assert predicted.logits.shape == (4, 1, 2)
    with torch.no_grad():
        direct = trainer.network(trainer.ready(trainer.data.pictures[held, 0])).softmax(1)
    assert torch.allclose(predicted.probabilities, direct, atol=0.02)
