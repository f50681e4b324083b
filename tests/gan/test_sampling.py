"""Sampling: one seed, one picture, whatever is drawn beside it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gan import sampling
from gan.errors import RequestError
from gan.nets.cgan import ConditionalGenerator
from gan.nets.fastgan import FastGANGenerator
from gan.sampling import MAX_SEED, Generator, around, slerp


def generator(noise: bool) -> Generator:
    torch.manual_seed(0)
    network = FastGANGenerator(64, width=4, latent_size=16, noise=noise)
    # A few passes give the batch norms the statistics of real features, so that pictures differ as trained ones do.
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        for _ in range(10):
            network(torch.randn(16, 16))
        network.to_rgb.weight *= 5
    for module in network.modules():
        if hasattr(module, "scale"):
            module.scale.data.fill_(0.02)
    return Generator("tiny", {}, network.eval())


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "noise"])
def model(request: pytest.FixtureRequest) -> Generator:
    return generator(request.param)


@pytest.fixture(scope="module")
def digits() -> Generator:
    torch.manual_seed(0)
    network = ConditionalGenerator(8, 8)
    # As initialised, all pictures are the same grey.
    with torch.no_grad():
        for weights in network.parameters():
            weights *= 4
    return Generator("digits", {}, network.eval())


def apart(a, b) -> int:
    """The largest difference of two pictures in grey levels."""
    return int(np.abs(np.asarray(a).astype(int) - np.asarray(b).astype(int)).max())


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, MAX_SEED - 20), count=st.integers(2, 12), data=st.data())
def test_a_picture_depends_on_its_own_seed_alone(model: Generator, seed: int, count: int, data) -> None:
    i = data.draw(st.integers(0, count - 1))
    truncation = data.draw(st.sampled_from([0.5, 1.0]))
    together = model.sample(count, seed, truncation)
    assert len(together) == count
    assert apart(together[i], model.sample(1, seed + i, truncation)[0]) <= 1


def test_seeds_differ_and_truncation_matters(model: Generator) -> None:
    a, b = model.sample(2, seed=3)
    assert apart(a, b) > 10
    assert apart(a, model.sample(1, 3, truncation=0.5)[0]) > 5
    assert a.size == (64, 64) and a.mode == "RGB"


def test_noise_comes_from_the_seed() -> None:
    noisy = generator(True)
    plain = generator(True)
    for module in plain.network.modules():
        if hasattr(module, "scale"):
            module.scale.data.zero_()
    assert apart(noisy.sample(1, 5)[0], plain.sample(1, 5)[0]) > 0
    assert apart(noisy.sample(1, 5)[0], noisy.sample(1, 5)[0]) == 0


def test_labels_are_what_is_asked_for(digits: Generator) -> None:
    pictures = digits.sample(labels=[3, 1, 3], seed=0)
    assert [p.mode for p in pictures] == ["L"] * 3
    assert apart(digits.sample(labels=[3], seed=1)[0], pictures[1]) > 10 < apart(pictures[0], pictures[2])
    # More than pass through the network at once.
    many = digits.sample(labels=range(9, -1, -1), seed=0)
    assert apart(many[7], digits.sample(labels=[2], seed=7)[0]) <= 1
    assert apart(digits.sample(labels=[1], seed=1)[0], pictures[1]) <= 1
    # Without labels the seed decides, so that a picture stays the same whatever is drawn beside it.
    assert apart(digits.sample(3, seed=0)[1], pictures[1]) <= 1
    assert apart(digits.sample(4, seed=7)[1], digits.sample(1, seed=8)[0]) <= 1
    assert apart(digits.neighbours(13, count=2)[0], digits.sample(labels=[3], seed=13)[0]) <= 1
    assert apart(digits.walk(13, 4, frames=2)[0], digits.sample(1, seed=13)[0]) <= 1


def test_the_last_seed_wraps_round(model: Generator) -> None:
    assert apart(model.sample(2, MAX_SEED)[1], model.sample(1, 0)[0]) <= 1


@pytest.mark.parametrize(
    "arguments",
    [
        {"count": 0},
        {"count": sampling.MAX_COUNT + 1},
        {"count": 1.5},
        {"count": True},
        {"seed": -1},
        {"seed": MAX_SEED + 1},
        {"seed": "7"},
        {"truncation": -0.1},
        {"truncation": 2},
        {"truncation": float("nan")},
        {"truncation": True},
        {"truncation": None},
        {"seed": np.bool_(True)},
        {"labels": [1]},
    ],
)
def test_arguments_out_of_range_are_refused(model: Generator, arguments: dict) -> None:
    with pytest.raises(RequestError):
        model.sample(**({"count": 1} | arguments))


@pytest.mark.parametrize("labels", [[10], [-1], [1.0], [True], ["3"], 3, "3", [None]])
def test_labels_out_of_range_are_refused(digits: Generator, labels: list) -> None:
    with pytest.raises(RequestError, match="one label from 0 to 9"):
        digits.sample(labels=labels)


def test_other_libraries_numbers_are_numbers(digits: Generator) -> None:
    expected = digits.sample(2, MAX_SEED, 0.5, [1, 2])
    for numbers in (
        {"count": np.int64(2), "seed": np.int32(MAX_SEED), "truncation": np.float32(0.5), "labels": np.array([1, 2])},
        {"count": torch.tensor(2), "seed": torch.tensor(MAX_SEED), "truncation": 0.5, "labels": torch.tensor([1, 2])},
        {"count": 2, "seed": MAX_SEED, "truncation": 0.5, "labels": (one for one in (1, 2))},
    ):
        assert [one.tobytes() for one in digits.sample(**numbers)] == [one.tobytes() for one in expected]


@pytest.mark.parametrize("arguments", [{"step": "x"}, {"step": None}, {"step": 1.1}, {"path": 3}, {"path": None}])
def test_what_leads_to_no_neighbour_is_refused(model: Generator, arguments: dict) -> None:
    with pytest.raises(RequestError):
        model.neighbours(5, 4, **arguments)


def test_neighbours_stay_near(model: Generator) -> None:
    here, *near = model.neighbours(5, count=4, step=0.1)
    *_, far = model.neighbours(5, count=4, step=1.0)
    assert apart(here, model.sample(1, 5)[0]) <= 1

    def distance(picture) -> float:
        return float(np.abs(np.asarray(picture, float) - np.asarray(here, float)).mean())

    assert 0 < max(map(distance, near)) < distance(far)


@given(step=st.floats(0, 1), seed=st.integers(0, MAX_SEED))
@settings(max_examples=20, deadline=None)
def test_neighbours_latents_are_as_long_as_those_of_the_training(step: float, seed: int) -> None:
    latent = torch.randn(4096, generator=torch.Generator().manual_seed(0))
    latents = around(latent, 4, step, seed)
    assert torch.equal(latents[0], latent)
    assert latents[1:].std().item() == pytest.approx(1, abs=0.05)


def test_each_seed_has_neighbours_in_directions_of_its_own(model: Generator) -> None:
    one, other = (model.neighbours(seed, count=2, step=1.0)[1] for seed in (5, 6))
    assert apart(one, other) > 10


def test_truncation_and_labels_hold_for_neighbours_and_walks(digits: Generator) -> None:
    near = digits.neighbours(13, count=2, truncation=0.5, labels=[7, 7])
    assert apart(near[0], digits.sample(1, 13, 0.5, labels=[7])[0]) <= 1
    assert apart(digits.walk(13, 4, frames=2, truncation=0.5)[0], digits.sample(1, 13, 0.5)[0]) <= 1


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        *(("neighbours", {"seed": 1, "step": step}) for step in (-0.1, 1.1, float("nan"))),
        ("neighbours", {"seed": -1}),
        ("neighbours", {"seed": 1, "count": sampling.MAX_COUNT + 1}),
        ("walk", {"seed_a": -1, "seed_b": 1}),
        ("walk", {"seed_a": 1, "seed_b": MAX_SEED + 1}),
        ("walk", {"seed_a": 1, "seed_b": 2, "frames": 0}),
        ("walk", {"seed_a": 1, "seed_b": 2, "truncation": 2}),
    ],
)
def test_neighbours_and_walks_out_of_range_are_refused(model: Generator, method: str, arguments: dict) -> None:
    with pytest.raises(RequestError):
        getattr(model, method)(**arguments)


def test_one_goes_on_from_a_neighbour(model: Generator) -> None:
    near = model.neighbours(5, count=4, step=0.4)
    onward = model.neighbours(5, count=4, step=0.4, path=[3])
    further = model.neighbours(5, count=4, step=0.4, path=[3, 2])
    assert apart(onward[0], near[3]) <= 1 and apart(further[0], onward[2]) <= 1
    # Each turn has directions of its own, and the same way leads to the same pictures.
    assert apart(onward[1], near[1]) > 1 and apart(further[1], onward[1]) > 1
    assert apart(model.neighbours(5, count=4, step=0.4, path=[3, 2])[1], further[1]) <= 1
    for path in ([4], [-1], [1.0], [True], ["1"]):
        with pytest.raises(RequestError, match="by their numbers, 0 to 3"):
            model.neighbours(5, count=4, path=path)


def test_a_walk_is_a_loop_between_two_seeds(model: Generator) -> None:
    frames = model.walk(2, 9, frames=8)
    assert len(frames) == 8
    assert apart(frames[0], model.sample(1, 2)[0]) <= 1
    if not model.network.noise_sizes():
        # Halfway it is at the other seed; both halves pass through the same pictures.
        assert apart(frames[4], model.sample(1, 9)[0]) <= 1
    assert apart(frames[1], frames[7]) <= 1
    assert apart(model.walk(2, 2, frames=2)[1], frames[0]) <= 1, "from a seed to itself there is no angle to divide by"


@given(share=st.floats(0, 1))
def test_slerp_keeps_the_length_between_vectors_of_one_length(share: float) -> None:
    a = torch.tensor([3.0, 0.0, 4.0])
    b = torch.tensor([0.0, 5.0, 0.0])
    assert slerp(a, b, share).norm().item() == pytest.approx(5, abs=1e-4)
