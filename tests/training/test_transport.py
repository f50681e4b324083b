"""The way from generated to real features."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.transport import LEAST, WINDOW, Moments, Transport, transport


def positive(seed: int, size: int) -> torch.Tensor:
    """A random covariance (size, size), none of its variances near 0."""
    factor = torch.randn(size, size, generator=torch.Generator().manual_seed(seed))
    return factor @ factor.T / size + 0.1 * torch.eye(size)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 12))
def test_the_map_carries_one_covariance_over_to_the_other(seed: int, size: int):
    real, fake = positive(seed, size), positive(seed + 1, size)
    carried = transport(real, fake)
    assert torch.allclose(carried @ fake @ carried.T, real, atol=1e-3)
    assert torch.allclose(carried, carried.T, atol=1e-3)
    # Symmetric and positive is what tells the shortest way from the other maps that do the same.
    assert torch.linalg.eigvalsh(carried).min() > 0


def test_moments_are_those_of_all_rows_and_then_of_the_latest():
    rows = torch.randn(WINDOW, 4, generator=torch.Generator().manual_seed(0)) @ positive(3, 4) + 2
    moments = Moments(4)
    for part in rows.split(64):
        moments.add(part)
    assert torch.allclose(moments.mean, rows.mean(0), atol=1e-4)
    assert torch.allclose(moments.covariance, rows.T.cov(correction=0), atol=1e-3)
    for _ in range(20):
        moments.add(torch.zeros(WINDOW // 2, 4))
    assert moments.mean.abs().max() < 1e-4 and moments.covariance.abs().max() < 1e-3


def test_the_mean_square_way_is_the_frechet_distance():
    """Of the means and, as scipy has it, of the covariances."""
    from scipy.linalg import sqrtm

    draw = torch.Generator().manual_seed(1)
    real = torch.randn(WINDOW, 5, generator=draw) @ positive(7, 5) + 1
    fake = torch.randn(WINDOW, 5, generator=draw) @ positive(8, 5)
    way = Transport(5)
    way.real.add(real)
    way.fake.add(fake)
    found = way(fake).item()
    both = torch.outer(way.unit, way.unit)
    a, b = (part.covariance / both + LEAST * torch.eye(5) for part in (way.real, way.fake))
    apart = ((way.real.mean - way.fake.mean) / way.unit).square().sum()
    expected = apart + torch.trace(a + b) - 2 * torch.from_numpy(sqrtm((a @ b).double().numpy()).real).trace()
    # LEAST belongs to no picture, so it does not count on the way.
    assert found == pytest.approx(expected.item() / 5, rel=0.1)


def test_narrow_pictures_spread_out_to_the_real_ones_mean_and_covariance():
    draw = torch.Generator().manual_seed(2)
    real = torch.randn(WINDOW, 3, generator=draw) @ positive(4, 3) + 3
    free = (0.3 * torch.randn(256, 3, generator=draw)).requires_grad_()
    way = Transport(3)
    way.real.add(real)
    optimizer = torch.optim.Adam([free], 0.05)
    for _ in range(300):
        way.fake.add(free.detach())
        optimizer.zero_grad()
        way(free).backward()
        optimizer.step()
    assert torch.allclose(free.mean(0), real.mean(0), atol=0.3)
    spread, wanted = free.detach().T.cov(), real.T.cov()
    assert (spread - wanted).abs().max() < 0.25 * wanted.abs().max()


def test_nothing_is_said_before_enough_was_seen():
    way = Transport(2)
    way.real.add(torch.randn(WINDOW, 2))
    assert not way.ready
    way.fake.add(torch.randn(WINDOW // 4, 2))
    assert way.ready


def test_a_direction_in_which_nothing_varies_yet_is_not_stretched_without_end():
    real = torch.randn(WINDOW, 3, generator=torch.Generator().manual_seed(5))
    flat = real * torch.tensor([1.0, 1.0, 0.0])
    way = Transport(3)
    way.real.add(real)
    way.fake.add(flat)
    way(flat)
    assert torch.linalg.eigvalsh(way.map).max() < 1.1 * ((1 + LEAST) / LEAST) ** 0.5
