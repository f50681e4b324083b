"""The maximum mean discrepancy that keeps a generator from settling on a few pictures."""

from __future__ import annotations

import pytest
import torch

from gan.nets.classifiers import statistics
from training.discrepancy import FeatureMemory, distances, likeness


def clusters(memory: FeatureMemory, labels: torch.Tensor) -> list[torch.Tensor]:
    """Statistics round as many far points as there are labels."""
    draw = torch.Generator().manual_seed(0)
    found = []
    for i in range(8):
        width = getattr(memory, f"real_{i}").shape[1]
        centres = 2 * torch.randn(int(labels.max()) + 1, width, generator=draw)
        found.append(centres[labels] + 0.1 * torch.randn(len(labels), width, generator=draw))
    return found


def test_statistics_are_means_and_deviations_wherever_things_are():
    maps = torch.randn(3, 5, 4, 4)
    described = statistics(maps)
    assert torch.allclose(described[:, :5], maps.mean((2, 3)), atol=1e-6)
    assert torch.allclose(described[:, 5:], maps.flatten(2).std(2, correction=0), atol=1e-6)
    assert torch.allclose(statistics(maps.roll((1, 2), (2, 3))), described, atol=1e-5)


def test_distances_and_likeness_have_gradients_even_at_nothing():
    same = torch.ones(2, 6, requires_grad=True)
    assert distances(same, torch.zeros(1, 6)).tolist() == [[1.0], [1.0]]
    value = likeness(same, torch.ones(3, 6))
    value.backward()
    assert value.item() == pytest.approx(1, abs=0.01) and same.grad.isfinite().all()
    assert likeness(same, torch.full((1, 6), 50.0)).item() < 1e-6


def test_the_memory_forgets_the_oldest():
    memory = FeatureMemory(5, size=6)
    for value in range(4):
        memory.add("real", [torch.full((2, x.shape[1]), float(value)) for x in clusters(memory, torch.zeros(1).long())])
    assert memory.real_0[:, 0].tolist() == [3, 3, 1, 1, 2, 2]
    assert memory.seen.tolist() == [8, 0]


def test_what_is_not_remembered_yet_pulls_on_nothing():
    """A memory that is half full says what a full one of half the size says."""
    half, whole = FeatureMemory(5, size=4), FeatureMemory(5, size=8)
    described = clusters(half, torch.arange(4) % 2)
    for memory in (half, whole):
        memory.add("real", described)
        memory.add("fake", [x + 0.1 for x in described])
    assert whole(described).item() == pytest.approx(half(described).item())


def test_pictures_are_described_with_gradients_at_any_side():
    memory = FeatureMemory(5, size=4)
    pictures = torch.rand(2, 3, 64, 64, requires_grad=True)
    described = memory.describe(pictures)
    assert [tuple(x.shape) for x in described] == 2 * [(2, 48), (2, 80), (2, 224), (2, 640)]
    sum(x.sum() for x in described).backward()
    assert pictures.grad.abs().sum() > 0


def test_larger_pictures_are_described_by_a_part_at_full_resolution_too():
    """A chequerboard of single pixels is grey where the whole is shrunk; only a part shows it."""
    memory = FeatureMemory(5, size=4)
    rows, columns = torch.meshgrid(torch.arange(256), torch.arange(256), indexing="ij")
    fine = ((rows + columns) % 2 * 2.0 - 1).expand(1, 3, 256, 256)
    whole, part = memory.describe(fine)[:4], memory.describe(fine)[4:]
    flat = memory.describe(torch.zeros(1, 3, 256, 256))
    assert all(torch.allclose(x, y, atol=1e-4) for x, y in zip(whole, flat[:4], strict=True))
    assert all((x - y).abs().max() > 0.1 for x, y in zip(part, flat[4:], strict=True))


def test_what_sits_at_one_of_three_modes_spreads_to_all():
    memory = FeatureMemory(5, size=96)
    modes = torch.arange(96) % 3
    memory.add("real", clusters(memory, modes))
    free = [x.clone().requires_grad_() for x in clusters(memory, torch.zeros(24, dtype=torch.long))]
    centres = torch.stack([memory.real_0[modes == mode].mean(0) for mode in range(3)])
    optimizer = torch.optim.Adam(free, 0.05)
    for _ in range(150):
        memory.add("fake", free)
        optimizer.zero_grad()
        memory(free).backward()
        optimizer.step()
    nearest = distances(free[0].detach(), centres).argmin(1).bincount(minlength=3)
    assert nearest.min() >= 4


def test_real_pictures_choose_the_nearest_remembered_latents_each_its_own():
    memory = FeatureMemory(5, size=6)
    modes = torch.arange(6) % 3
    memory.add("real", clusters(memory, modes))
    assert not memory.full
    latents = torch.randn(6, 5)
    for half in (slice(0, 3), slice(3, 6)):
        memory.add("fake", [x[half] for x in clusters(memory, modes)], latents[half])
    assert memory.full
    found = memory.nearest([x[[2, 0, 5]] for x in clusters(memory, modes)])
    assert torch.equal(found[1], latents[0]) or torch.equal(found[1], latents[3])
    # Both of the third mode's, whichever was chosen first: one cannot become two cloths.
    assert {tuple(row) for row in found[[0, 2]].tolist()} == {tuple(row) for row in latents[[2, 5]].tolist()}


def test_pictures_are_drawn_to_their_counterparts_not_to_others():
    memory = FeatureMemory(5, size=6)
    modes = torch.arange(6) % 3
    memory.add("real", clusters(memory, modes))
    wanted = [x[[1, 2]] for x in clusters(memory, modes)]
    free = [x[[0, 0]].clone().requires_grad_() for x in clusters(memory, modes)]
    optimizer = torch.optim.Adam(free, 0.1)
    before = memory.apart(free, wanted).item()
    for _ in range(200):
        optimizer.zero_grad()
        memory.apart(free, wanted).backward()
        optimizer.step()
    assert memory.apart(free, wanted).item() < before / 10
    assert distances(free[0].detach(), wanted[0]).argmin(1).tolist() == [0, 1]
