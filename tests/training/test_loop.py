"""The GAN loop: what it refuses, how it recovers from losses that are no numbers, how it measures itself."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from gan.checkpoint import load_folder, read_config, save
from gan.errors import RunError
from gan.nets.fastgan import FastGANGenerator
from tests.training.conftest import make_pictures
from training.data.pictures import PictureSet
from training.export import snapshot_file
from training.loop import DISCRIMINATOR, GanTrainer, Stopped
from training.projected import ProjectedDiscriminator
from training.recipes import RECIPES, GanRecipe
from training.runs import Run
from training.start import prepare

SMALL = GanRecipe(
    name="small",
    report="R4",
    source="cifar10:train",
    network="dcgan",
    network_args={"resolution": 32, "width": 4},
    discriminators={"dcgan": {"resolution": 32, "width": 4}},
    resolution=32,
    loss="bce",
    batch=4,
    precision="float32",
    steps=12,
    save_every=4,
    snapshot_every=6,
)


def pictures(side: int = 32, channels: int = 3, classes: int = 0) -> PictureSet:
    """Twenty squares of noise, with labels where asked for."""
    noise = torch.randint(256, (20, channels, side, side), dtype=torch.uint8)
    names = [str(i) for i in range(classes)]
    return PictureSet(noise, torch.arange(20) % classes if classes else None, names, description="noise")


def trainer(folder: Path, data: PictureSet | None = None, **changes: Any) -> GanTrainer:
    return GanTrainer(dataclasses.replace(SMALL, **changes), data or pictures(), Run(folder))


MISFITS = [
    ({"resolution": 64}, {"side": 64}, r"network \(dcgan, 32² × 3\) and resolution \(64\)"),
    (
        {"network": "cgan", "network_args": {}, "resolution": 64},
        {"side": 64},
        r"network \(cgan, 28² .* resolution \(64",
    ),
    ({}, {"side": 64}, r"source \(cifar10:train, 64²\) and resolution \(32\)"),
    ({}, {"channels": 1}, r"source \(cifar10:train, 1 channels\) and channels \(3\)"),
    ({"channels": 1}, {"channels": 1}, r"network \(dcgan, 32² × 3\) and channels \(1\)"),
    (
        {
            **{"network": "cgan", "network_args": {}, "discriminators": {"cgan": {}}},
            **{"resolution": 28, "channels": 1, "discrepancy": 1.0},
        },
        {"side": 28, "channels": 1, "classes": 10},
        r"discrepancy \(1\.0\) and network \(cgan, 28² × 1\)",
    ),
    (
        {"network_args": {"resolution": 32, "classes": 10}},
        {},
        r"network \(dcgan, 10 labels\) and source \(cifar10:train, no labels\)",
    ),
    (
        {"network_args": {"resolution": 32, "classes": 10}},
        {"classes": 3},
        r"network \(dcgan, 10 labels\) and source \(cifar10:train, 3 labels\)",
    ),
    (
        {"discriminators": {"resnet": {"width": 4, "classes": 10}}},
        {"classes": 10},
        r"discriminators \(resnet, 10 labels\) and network \(dcgan, no labels\)",
    ),
    ({"discriminators": {"lsgan": {}}}, {}, r"discriminators \(lsgan, 64²\) and resolution \(32\)"),
    ({"loss": "hinge", "smoothing": 0.1}, {}, r"smoothing \(0.1\) and loss \(hinge\)"),
    ({"gradient_penalty": 10.0}, {}, r"gradient_penalty \(10.0\) and discriminators \(dcgan\) with batch norm"),
    (
        {"gradient_penalty": 10.0, "discriminators": {"projected": {}}},
        {},
        r"gradient_penalty \(10.0\) and discriminators \(projected\)",
    ),
    ({"coverage": 2.0}, {}, r"coverage \(2.0\) and discrepancy \(0.0\)"),
    ({"transport": 2.0}, {}, r"transport \(2.0\) and discrepancy \(0.0\)"),
    ({"coverage": 2.0, "discrepancy": 1.0, "batch": 1}, {}, r"discrepancy \(1.0\) and batch \(1\)"),
    ({"coverage": 2.0, "discrepancy": 1.0, "accumulate": 2}, {}, r"coverage \(2.0\) and accumulate \(2\)"),
    ({"coverage": 2.0, "discrepancy": 1.0, "d_steps": 2}, {}, r"coverage \(2.0\) and d_steps \(2\)"),
    ({"freeze": 1}, {}, r"freeze \(1\) and discriminators \(dcgan\)"),
    (
        {"freeze": 1, "discriminators": {"projected": {}}},
        {},
        r"freeze \(1\) and start \(none\), discriminators",
    ),
    ({"loss": "wgan"}, {}, r"loss \(wgan\) and gradient_penalty \(0.0\)"),
    ({"score_every": 5, "score_samples": 3}, {}, r"score_samples \(3\) and source \(20 pictures\)"),
]


@pytest.mark.parametrize(("changes", "data", "sentence"), MISFITS)
def test_parts_that_do_not_fit_are_refused_with_both_fields(tmp_path, changes, data, sentence) -> None:
    with pytest.raises(RunError, match=sentence):
        trainer(tmp_path, pictures(**data), **changes)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"loss": "l1"}, "loss cannot be l1: choose one of bce,"),
        ({"augment": ("color", "blur")}, "augment cannot be blur"),
        ({"precision": "int8"}, "precision cannot be int8"),
        ({"batch": 0}, "batch cannot be 0: it is at least 1"),
        ({"cooldown": 1.5}, "cooldown cannot be 1.5: it is a share, from 0 to 1"),
        ({"cooldown": math.nan}, "cooldown cannot be nan"),
        ({"spectral": "all"}, "spectral cannot be all: choose one of d, g, gd"),
        ({"steps": 0}, "steps cannot be 0"),
        ({"freeze": -1}, "freeze cannot be -1: it is at least 0"),
        ({"rate_g": -1.0}, "rate_g cannot be -1.0: it is at least 0"),
        ({"rate_d": math.nan}, "rate_d cannot be nan"),
        ({"ema": 2.0}, "ema cannot be 2.0: it is a share"),
        ({"betas": (0.5,)}, r"betas cannot be \(0.5,\): it takes a pair"),
        ({"crop": "centre"}, "crop cannot be centre"),
        ({"discriminators": {}}, "discriminators cannot be"),
        ({"network": "gpt"}, "no network called 'gpt'"),
        ({"discriminators": {"dcgan": {"resolution": 28}}}, "32 or 64 pixels a side, not 28"),
        ({"network_args": {"resolution": 32, "width": -4}}, "negative dimension|cannot be built|positive"),
        ({"augment": ([],)}, r"augment cannot be \[\]"),
        ({"discriminators": {"projected": {"depth": 3}}}, "projected does not take these arguments"),
    ],
)
def test_names_and_numbers_that_stand_for_nothing_are_refused(tmp_path, changes, sentence) -> None:
    with pytest.raises(RunError, match=sentence):
        trainer(tmp_path, **changes)


SIZES = {"mnist": (28, 1, 10), "cifar10": (32, 3, 10), "anime-faces": (64, 3, 0)}


@pytest.mark.parametrize("name", [name for name, recipe in RECIPES.items() if isinstance(recipe, GanRecipe)])
def test_every_recipe_fits_its_own_data(name: str, tmp_path: Path) -> None:
    recipe = dataclasses.replace(RECIPES[name], start="", precision="float32")
    side, channels, classes = SIZES.get(recipe.source.split(":")[0], (recipe.resolution, recipe.channels, 0))
    made = GanTrainer(recipe, pictures(side, channels, classes), Run(tmp_path))
    assert sum(p.numel() for p in made.generator.parameters()) < 35_000_000


def test_styles_that_a_checkpoint_lacks_begin_with_no_say(studio: Path) -> None:
    arguments = {"resolution": 64, "width": 4, "latent_size": 8, "noise": False, "styled": True}
    known = FastGANGenerator(**arguments, styles=16)
    config = read_config(studio.parent / "checkpoints" / "tiny")
    folder = save(
        studio.parent / "checkpoints" / "less", known.state_dict(), {**config, "arguments": {**arguments, "styles": 16}}
    )
    changes = {"start": folder.name, "resolution": 64, "network": "fastgan", "network_args": arguments}
    changes["discriminators"] = {"patch": {"width": 4}}
    begun = trainer(studio / "run", pictures(64), **changes).generator
    assert begun.blocks["64"].style is not None
    known, latents = load_folder(folder)[1], torch.randn(2, 8)
    with torch.no_grad():
        torch.testing.assert_close(begun.eval()(latents), known(latents))


@pytest.mark.parametrize("width", [16, 24])
def test_a_training_goes_on_from_what_a_checkpoint_has_and_begins_the_rest(studio: Path, width: int) -> None:
    """A generator's new parts, a discriminator that was not there, and one that was but of another make."""
    folder = studio.parent / "checkpoints" / "tiny"
    known = ProjectedDiscriminator(mixed=(16, 16, 16, 16), width=16)
    save_file({f"projected.{key}": value for key, value in known.state_dict().items()}, folder / DISCRIMINATOR)
    changes = {
        "start": "tiny",
        "resolution": 64,
        "network": "fastgan",
        "network_args": {"resolution": 64, "width": 4, "noise": False, "fine": 2},
        "discriminators": {"projected": {"mixed": [16, 16, 16, 16], "width": width}, "patch": {"width": 4}},
    }
    one = trainer(studio / "run", pictures(64), **changes)
    base = load_folder(folder)[1].state_dict()
    begun = one.generator.state_dict()
    assert all(torch.equal(begun[key], value) for key, value in base.items()) and base.keys() < begun.keys()
    judge = one.discriminators["projected"].state_dict()
    same = [torch.equal(judge[key], value) for key, value in known.state_dict().items() if key.endswith("weight")]
    assert all(same) if width == 16 else not any(same)
    assert all(math.isfinite(value) for value in one.train_step().values())


def test_frozen_layers_stay_as_the_checkpoint_has_them(studio: Path) -> None:
    """One layer on each of the four ways through the heads, also after the run went on from its own state."""
    folder = studio.parent / "checkpoints" / "tiny"
    judges = {"projected": {"mixed": [16, 16, 16, 16], "width": 16}}
    known = ProjectedDiscriminator(**judges["projected"])
    save_file({f"projected.{key}": value for key, value in known.state_dict().items()}, folder / DISCRIMINATOR)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "discriminators": judges}))
    changes = {
        "start": "tiny",
        "resolution": 64,
        "network": config["network"],
        "network_args": config["arguments"],
        "discriminators": judges,
        "freeze": 1,
        "spectral": "d",
    }
    one = trainer(studio / "run", pictures(64), **changes)
    one.train_step()
    one.save()
    again = trainer(studio / "run", pictures(64), **changes)
    again.restore()
    again.train_step()
    again.train_step()
    for old, new in zip(known.heads, again.discriminators["projected"].heads, strict=True):
        first, *later = [i for i, layer in enumerate(old.layers) if hasattr(layer, "weight")]
        kept = new.layers[first].parametrizations.weight.original
        assert kept.grad is None and not kept.requires_grad
        assert torch.equal(kept, old.layers[first].weight) and torch.equal(
            new.layers[first].bias, old.layers[first].bias
        )
        assert all(not torch.equal(new.layers[i].bias, old.layers[i].bias) for i in later)


def test_discriminators_of_three_kinds_judge_side_by_side(tmp_path: Path) -> None:
    """Only the auto-encoding one looks at a 128² copy too; each of them learns."""
    judges = {
        "projected": {"mixed": [16, 16, 16, 16], "width": 16},
        "patch": {"width": 4},
        "fastgan": {"resolution": 256, "width": 2},
    }
    changes = {"resolution": 256, "batch": 2, "network": "fastgan", "network_args": {"resolution": 256, "width": 2}}
    one = trainer(tmp_path, pictures(256), **changes, discriminators=judges)
    before = {name: [w.detach().clone() for w in net.parameters()] for name, net in one.discriminators.items()}
    assert all(math.isfinite(value) for value in one.train_step().values())
    for name, net in one.discriminators.items():
        assert any(not torch.equal(old, new) for old, new in zip(before[name], net.parameters(), strict=True)), name


def test_critic_steps_and_the_penalty_take_effect(tmp_path: Path) -> None:
    """Two critic steps see twice the pictures; the penalty is part of what the critic learns from."""
    judge = {"dcgan": {"resolution": 32, "width": 4, "batch_norm": False}}
    data = pictures()
    plain = trainer(tmp_path, data, loss="wgan", gradient_penalty=1e-9, discriminators=judge)
    held = trainer(tmp_path, data, loss="wgan", gradient_penalty=10.0, discriminators=judge)
    twice = trainer(tmp_path, data, loss="wgan", gradient_penalty=10.0, discriminators=judge, d_steps=2)
    assert (plain.pictures_per_step, twice.pictures_per_step) == (4, 8)
    steps = {name: one.train_step() for name, one in {"plain": plain, "held": held, "twice": twice}.items()}
    assert set(steps["held"]) == {"d_loss", "g_loss", "d_real", "d_fake", "d_penalty"}
    assert steps["plain"]["d_penalty"] == steps["held"]["d_penalty"] > 0
    weights = [next(iter(one.discriminators.parameters())).detach() for one in (plain, held, twice)]
    assert not torch.equal(weights[0], weights[1]) and not torch.equal(weights[1], weights[2])
    counts = [one.optimizer_d.state_dict()["state"][0]["step"].item() for one in (held, twice)]
    assert counts == [1, 2]


def test_with_coverage_half_of_a_batch_is_drawn_to_real_pictures(tmp_path: Path, monkeypatch) -> None:
    """From remembered latents, once there are enough; what was chosen is not remembered as if it were drawn.

    Either half of a batch, which a discriminator may treat in its own way, has as many of them.
    """
    monkeypatch.setattr("training.discrepancy.MEMORY", 6)
    one = trainer(tmp_path, discrepancy=1.0, coverage=2.0)
    seen = []
    draw = one.fake_views
    monkeypatch.setattr(one, "fake_views", lambda latents, labels: (seen.append(latents), draw(latents, labels))[1])
    lost = [one.train_step()["g_coverage"] for _ in range(4)]
    assert lost[:2] == [0, 0] and min(lost[2:]) > 0
    remembered = {tuple(row) for row in torch.cat(seen[:2])[2:].tolist()}
    assert [tuple(row) in remembered for row in seen[2].tolist()] == [False, True] * 2
    # A ring of six: two whole batches of four, then the two freshly drawn of each.
    assert torch.equal(one.memory.latents, torch.cat([seen[1][2:], seen[2][::2], seen[3][::2]]))


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Moments that mean something after two batches, and a map for each."""
    monkeypatch.setattr("training.transport.WINDOW", 32)
    monkeypatch.setattr("training.transport.REFRESH", 1)


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_way_to_the_real_pictures_begins_with_enough_of_them_and_outlives_a_restart(tmp_path, precision) -> None:
    data, changes = pictures(), {"discrepancy": 1.0, "transport": 2.0, "precision": precision}
    one = trainer(tmp_path, data, **changes)
    ways = [one.train_step()["g_transport"] for _ in range(3)]
    assert ways[0] == 0 < min(ways[1:])
    one.save()
    again = trainer(tmp_path, data, **changes)
    again.restore()
    assert again.train_step() == one.train_step()


@pytest.mark.usefixtures("soon")
def test_a_way_that_is_no_number_takes_the_run_back_too(tmp_path: Path) -> None:
    one = trainer(tmp_path, discrepancy=1.0, transport=2.0, steps=5, save_every=2)
    one.train(poison("generator", {4}))
    assert (one.step, one.rollbacks) == (5, 1) and one.finite()
    assert all(buffer.isfinite().all() for buffer in one.transports.buffers())


def poison(name: str, steps: set[int]) -> Any:
    """An ``on_step`` that spoils one network, once after each of ``steps``."""
    left = set(steps)

    def on_step(one: GanTrainer, values: dict[str, float]) -> None:
        if one.step in left:
            left.remove(one.step)
            net = one.ema.average if name == "ema" else getattr(one, name)
            with torch.no_grad():
                next(net.parameters()).fill_(torch.nan)

    return on_step


@pytest.mark.parametrize(
    ("network", "step", "kept"), [("generator", 6, 4), ("discriminators", 2, 0), ("ema", 7, 4), ("generator", 3, 0)]
)
def test_a_loss_that_is_no_number_takes_the_run_back_with_half_the_rates(tmp_path, network, step, kept) -> None:
    seen = []
    spoil = poison(network, {step})

    def on_step(one: GanTrainer, values: dict[str, float]) -> None:
        seen.append((one.step, one.optimizer_g.param_groups[0]["lr"], one.optimizer_d.param_groups[0]["lr"]))
        spoil(one, values)

    trainer(tmp_path, rate_d=4e-4).train(on_step)
    assert [number for number, *_ in seen] == [*range(1, step + 1), *range(kept + 1, 13)]
    assert seen[step - 1][1:] == (2e-4, 4e-4) and seen[step][1:] == (1e-4, 2e-4) == seen[-1][1:]
    state = Run(tmp_path).load_state()
    assert state["step"] == 12 and state["rollbacks"] == 1
    assert all(t.isfinite().all() for part in ("generator", "discriminators", "ema") for t in state[part].values())
    lines = [line["step"] for line in Run(tmp_path).metrics()]
    assert lines == sorted(set(lines))
    # A later process goes on with the smaller rates.
    again = trainer(tmp_path, rate_d=4e-4, steps=13)
    again.train()
    assert again.optimizer_d.param_groups[0]["lr"] == 2e-4


@pytest.mark.parametrize("changes", [{"spectral": "g"}, {"network_args": {"resolution": 32, "width": 8}}])
def test_what_other_networks_saved_is_refused_and_kept(tmp_path: Path, changes: dict[str, Any]) -> None:
    trainer(tmp_path, steps=4).train()
    saved = Run(tmp_path).state_file.read_bytes()
    with pytest.raises(RunError, match="other networks than this version builds.*begin a new run"):
        trainer(tmp_path, **changes).train()
    assert Run(tmp_path).state_file.read_bytes() == saved


def test_rates_fall_to_zero_over_the_cooldown_also_in_a_later_process(tmp_path: Path) -> None:
    rates = []

    def on_step(one: GanTrainer, values: dict[str, float]) -> None:
        rates.append([optimizer.param_groups[0]["lr"] for optimizer in (one.optimizer_g, one.optimizer_d)])
        if one.step == 7:
            raise Stopped

    changes = {"rate_d": 4e-4, "cooldown": 0.5}
    trainer(tmp_path, **changes).train(on_step)
    trainer(tmp_path, **changes).train(on_step)
    shares = [1.0] * 7 + [5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]
    assert rates == [pytest.approx([2e-4 * share, 4e-4 * share]) for share in shares]


def test_after_three_times_the_run_stops_with_the_last_good_state(tmp_path: Path) -> None:
    rates = []

    def on_step(one: GanTrainer, values: dict[str, float]) -> None:
        rates.append(one.optimizer_g.param_groups[0]["lr"])
        if one.step == 6:
            poison("generator", {6})(one, values)

    with pytest.raises(RunError, match=r"At step 7 .* after 3 tries .* The state of step 4"):
        trainer(tmp_path).train(on_step)
    assert sorted(set(rates), reverse=True) == [2e-4, 1e-4, 5e-5, 2.5e-5]
    run = Run(tmp_path)
    state = run.load_state()
    assert state["step"] == 4 and state["rollbacks"] == 3
    assert all(t.isfinite().all() for part in ("generator", "discriminators", "ema") for t in state[part].values())
    assert snapshot_file(run, 4).is_file() and [line["step"] for line in run.metrics()] == [1, 2, 3, 4]
    assert (tmp_path / "samples" / "step-000004.png").is_file()


def test_a_stopped_run_does_not_save_what_is_no_number(tmp_path: Path) -> None:
    def on_step(one: GanTrainer, values: dict[str, float]) -> None:
        if one.step == 6:
            poison("generator", {6})(one, values)
            raise Stopped

    trainer(tmp_path).train(on_step)
    assert Run(tmp_path).load_state()["step"] == 4


def test_the_loop_measures_its_generators_and_export_takes_the_best(tmp_path: Path) -> None:
    make_pictures(tmp_path / "cloths", 8)
    run = Run(tmp_path / "run")
    source = {"source": str(tmp_path / "cloths"), "score_every": 7, "score_samples": 6, "steps": 15}
    run.create(dataclasses.replace(SMALL, **source))
    prepare(run.folder).train()
    measured = {line["step"]: line for line in run.metrics() if "kid" in line}
    assert list(measured) == [7, 14]
    assert all(line["fid"] > 0 and line["kid"] > -1 for line in measured.values())
    best = min(measured.values(), key=lambda line: line["kid"])["step"]
    assert snapshot_file(run, None).name == f"step-{best:06d}.safetensors"

    # Measuring is only looking: without it the training is the same to the bit.
    blind = Run(tmp_path / "blind")
    blind.create(dataclasses.replace(SMALL, **{**source, "score_every": 0}))
    prepare(blind.folder).train()
    ours, theirs = run.load_state()["generator"], blind.load_state()["generator"]
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.parametrize(
    ("lowest", "low", "sides", "stages"),
    [
        (0, 0, [256] * 5, [0] * 5),
        (0, 2, [128, 128, 256, 256, 256], [0, 0, 2, 2, 2]),
        (1, 3, [64, 128, 128, 256, 256], [0, 1, 1, 3, 3]),
        (2, 2, [64, 64, 256, 256, 256], [0, 0, 2, 2, 2]),
    ],
)
def test_small_pictures_come_first(lowest, low, sides, stages):
    trainer = GanTrainer.__new__(GanTrainer)
    trainer.recipe = dataclasses.replace(RECIPES["batik-parang"], lowest_steps=lowest, low_steps=low)
    seen = []
    for trainer.step in range(5):
        seen.append((trainer.side, trainer.stage))
    assert seen == list(zip(sides, stages, strict=True))
    # What is shown and measured after a step is of the side of that step.
    for trainer.step in range(1, 5):
        assert trainer.trained_side == sides[trainer.step - 1]


# One step at 64², one at 128², then 256².
GROWING = {
    "network": "fastgan",
    "network_args": {"resolution": 256, "width": 2, "styled": True},
    "discriminators": {"patch": {}},
    "resolution": 256,
    "batch": 2,
    "lowest_steps": 1,
    "low_steps": 2,
}


def test_only_whole_pictures_are_measured(tmp_path: Path, monkeypatch) -> None:
    """The best of a run is chosen by these figures, and those of small pictures are lower."""
    monkeypatch.setattr(GanTrainer, "score", lambda self: {"kid": 0.0})
    one = trainer(tmp_path, pictures(256), **GROWING, score_every=1, steps=4)
    one.train()
    assert [line["step"] for line in one.run.metrics() if "kid" in line] == [3, 4]


def test_an_accumulated_step_sees_as_many_different_pictures(tmp_path: Path) -> None:
    values = (10 * torch.arange(20, dtype=torch.uint8))[:, None, None, None].expand(20, 3, 32, 32)
    one = trainer(tmp_path, PictureSet(values.contiguous()), batch=5, accumulate=2)
    seen = []
    for one.step in range(2):
        for micro in range(2):
            pictures, _ = one.reals(micro)
            seen += pictures[:, 0, 0, 0].add(1).mul(127.5).round().tolist()
    # Two steps of ten are one pass over twenty.
    assert sorted(seen) == [10.0 * i for i in range(20)]


def test_pictures_are_shown_in_the_range_that_the_generator_draws_in(tmp_path: Path) -> None:
    values = torch.randint(256, (20, 1, 28, 28), dtype=torch.uint8)
    digits = {"network": "cgan", "network_args": {}, "discriminators": {"cgan": {}}, "resolution": 28, "channels": 1}
    one = trainer(tmp_path, PictureSet(values, torch.arange(20) % 10, [str(i) for i in range(10)]), batch=20, **digits)
    shown, labels = one.reals(0)
    assert shown.min() >= 0 and shown.max() <= 1
    assert sorted(shown.mul(255).round().sum((1, 2, 3)).tolist()) == sorted(values.sum((1, 2, 3)).tolist())
    # Each beside its own label.
    sums = {int(picture.sum()): int(label) for picture, label in zip(values.int(), torch.arange(20) % 10, strict=True)}
    assert [sums[int(total)] for total in shown.mul(255).round().sum((1, 2, 3))] == labels.tolist()


def test_the_average_begins_anew_with_larger_pictures(tmp_path: Path, monkeypatch) -> None:
    """The layers of a larger side have learned nothing before, and what they began with is soon forgotten."""
    one = trainer(tmp_path, pictures(256), **GROWING)
    counts = []
    monkeypatch.setattr(one.ema, "update", lambda net, updates: counts.append(updates))
    for _ in range(4):
        one.train_step()
    assert counts == [0, 0, 0, 1]


def test_the_first_grid_is_of_the_generator_before_its_first_step(tmp_path: Path) -> None:
    data = pictures()
    one = trainer(tmp_path / "run", data, rate_g=0.1, steps=1)
    before = trainer(tmp_path / "before", data, rate_g=0.1, steps=1)
    before.save_samples(0, before.samples())
    one.train()
    first, untrained, later = (
        (tmp_path / place).read_bytes()
        for place in (f"{name}/samples/step-00000{step}.png" for name, step in (("run", 0), ("before", 0), ("run", 1)))
    )
    assert first == untrained != later
