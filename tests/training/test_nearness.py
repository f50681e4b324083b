import numpy as np
import pytest
import torch

from training.data.pictures import PictureSet
from training.nearness import Nearness, kernel_distance


def patches(count: int, colour: tuple[int, int, int], seed: int, channels: int = 3) -> torch.Tensor:
    """Grainy pictures of about one colour, uint8 (count, channels, 64, 64)."""
    random = np.random.default_rng(seed)
    grain = random.integers(-60, 60, (count, 1, 16, 16)).repeat(4, 2).repeat(4, 3)
    return torch.from_numpy((np.array(colour)[None, :channels, None, None] + grain).clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize("channels", [3, 1])
def test_pictures_like_the_real_ones_are_nearer_than_others(channels: int):
    data = PictureSet(patches(40, (200, 60, 40), 0, channels))
    nearness = Nearness(data, 64)
    alike = nearness(patches(20, (200, 60, 40), 1, channels).float() / 255)
    other = nearness(patches(20, (40, 80, 190), 2, channels).float() / 255)
    plain = nearness(torch.full((20, channels, 64, 64), 0.5))
    assert abs(alike) < 0.1 * min(other, plain)


def test_the_distance_is_that_of_kid():
    torch.manual_seed(0)
    x, y = torch.randn(5, 3), torch.randn(7, 3) + 1

    def kernel(a: torch.Tensor, b: torch.Tensor) -> float:
        return (float(a @ b) / 3 + 1) ** 3

    expected = sum(kernel(x[i], x[j]) for i in range(5) for j in range(5) if i != j) / 20
    expected += sum(kernel(y[i], y[j]) for i in range(7) for j in range(7) if i != j) / 42
    expected -= 2 * sum(kernel(a, b) for a in x for b in y) / 35
    assert kernel_distance(x, y) == pytest.approx(expected, rel=1e-4)
