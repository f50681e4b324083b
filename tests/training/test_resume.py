"""A training killed at a random moment and resumed ends with the same bits as one left alone."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
import torch

from tests.training.conftest import contents, make_pictures, resuming, wait_for
from training.recipes import GanRecipe
from training.runs import Run


def everything_on(root: Path) -> GanRecipe:
    """Both discriminators, spectral norm, augmentation, crops, drawn margins, noise, discrepancy, transport,
    accumulation."""
    make_pictures(root / "cloths", 7)
    return GanRecipe(
        name="everything",
        report="R1",
        source=str(root / "cloths"),
        network="fastgan",
        network_args={"resolution": 64, "width": 4},
        discriminators={
            "projected": {"mixed": [16, 16, 16, 16], "width": 16},
            "fastgan": {"resolution": 64, "width": 4},
        },
        resolution=64,
        loss="soft-hinge",
        crop=(0.6, 1.0),
        flip=True,
        augment=("color", "translation", "cutout"),
        betas=(0.5, 0.99),
        batch=2,
        accumulate=2,
        spectral="gd",
        discrepancy=1.0,
        transport=1.0,
        precision="float32",
        steps=3,
        save_every=2,
        snapshot_every=2,
    )


def with_labels(root: Path) -> GanRecipe:
    """A conditional pair with a projection discriminator, on grey pictures of ten classes of two sizes."""
    for digit in range(10):
        make_pictures(root / "digits" / str(digit), 4 if digit < 2 else 1, "L")
    return GanRecipe(
        name="labels",
        report="R5",
        source=str(root / "digits"),
        network="cgan",
        discriminators={"cgan-projection": {}},
        resolution=28,
        channels=1,
        flip=True,
        augment=("translation",),
        rate_d=4e-4,
        cooldown=0.8,
        batch=6,
        accumulate=2,
        spectral="d",
        precision="float32",
        steps=40,
        save_every=13,
        snapshot_every=20,
    )


def wishes(root: Path) -> GanRecipe:
    """WGAN-GP with two critic steps, labels by embedding, PixelNorm, dropout, small turns and shifts, in bfloat16;
    measured on the way."""
    for motif in range(3):
        make_pictures(root / "motifs" / str(motif), 3)
    return GanRecipe(
        name="wishes",
        report="R4",
        source=str(root / "motifs"),
        network="dcgan",
        network_args={"resolution": 32, "width": 4, "classes": 3, "norm": "pixel"},
        discriminators={
            "dcgan": {"resolution": 32, "width": 4, "batch_norm": False, "dropout": 0.3},
            "resnet": {"width": 4, "classes": 3},
        },
        resolution=32,
        loss="wgan",
        gradient_penalty=10.0,
        augment=("rotation", "small-translation"),
        batch=4,
        d_steps=2,
        precision="bfloat16",
        steps=30,
        save_every=9,
        snapshot_every=20,
        score_every=20,
        score_samples=6,
    )


@pytest.mark.timeout(900)
@pytest.mark.parametrize("make", [everything_on, with_labels, wishes])
def test_killed_and_resumed_equals_left_alone(make, tmp_path: Path):
    recipe = make(tmp_path)
    alone, killed = Run(tmp_path / "alone"), Run(tmp_path / "killed")
    for run in (alone, killed):
        run.create(recipe)

    left = resuming(alone.folder)
    victim = resuming(killed.folder)
    wait_for(killed.state_file.exists, 240)
    seed = random.randrange(2**32)
    print("seed of the moment of the kill:", seed)
    per_step = (killed.state_file.stat().st_mtime - first_sample(killed)) / recipe.save_every
    time.sleep(random.Random(seed).uniform(0, 0.6) * per_step * (recipe.steps - recipe.save_every))
    victim.kill()
    victim.join()
    assert killed.load_state()["step"] in range(recipe.save_every, recipe.steps)

    resumed = resuming(killed.folder)
    for process in (left, resumed):
        process.join(240)
        assert process.exitcode == 0

    tensors, values = contents(alone)
    again, values_again = contents(killed)
    assert tensors.keys() == again.keys() and values == values_again
    parts = {key.split("/")[1] for key in tensors}
    memory = {"memory", "transports"} if recipe.discrepancy else set()
    assert parts == {"generator", "discriminators", "ema", "optimizer_g", "optimizer_d"} | memory
    assert [key for key in tensors if not torch.equal(tensors[key], again[key])] == []
    # What a person sees is the same too.
    for name in ("samples", "snapshots"):
        files = {path.name: path.read_bytes() for path in (alone.folder / name).glob("[!.]*")}
        assert files == {path.name: path.read_bytes() for path in (killed.folder / name).glob("[!.]*")}
    assert [{**line, "seconds": 0} for line in alone.metrics()] == [{**line, "seconds": 0} for line in killed.metrics()]


def first_sample(run: Run) -> float:
    """When the training of a run began: the time of its first grid of samples."""
    return (run.folder / "samples" / "step-000000.png").stat().st_mtime
