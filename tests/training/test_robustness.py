import numpy as np
import pytest
import torch
from PIL import Image

from training.robustness import CHANGES, changed, perspective, turned


@pytest.fixture(scope="module")
def cloth():
    draw = np.random.default_rng(0)
    coarse = Image.fromarray(draw.integers(60, 200, (12, 16, 3), dtype=np.uint8))
    return torch.from_numpy(np.array(coarse.resize((160, 120), Image.Resampling.BICUBIC))).permute(2, 0, 1)


@pytest.mark.parametrize("name", CHANGES)
def test_every_change_alters_a_picture_and_shows_nothing_beyond_it(name, cloth):
    after = changed(cloth, CHANGES[name])
    assert after.dtype == torch.uint8 and after.shape[0] == 3
    assert after.shape != cloth.shape or not torch.equal(after, cloth)
    # What lies beyond a picture is black, and this one has no black in it.
    assert after.min() > 30
    assert abs(after.shape[2] / after.shape[1] - 160 / 120) < 0.05


def test_brightness_changes_by_a_fifth(cloth):
    mean = cloth.float().mean()
    assert changed(cloth, CHANGES["darker"]).float().mean() / mean == pytest.approx(0.8, abs=0.02)
    assert changed(cloth, CHANGES["brighter"]).float().mean() / mean == pytest.approx(1.2, abs=0.04)


def test_a_turned_line_leans_by_fifteen_degrees():
    bar = Image.new("RGB", (400, 400), "white")
    bar.paste((255, 0, 0), (195, 0, 205, 400))
    red = np.array(turned(bar))[..., 1] < 128
    rows = np.arange(len(red))
    centres = np.array([np.flatnonzero(row).mean() for row in red])
    assert abs(np.degrees(np.arctan(np.polyfit(rows, centres, 1)[0]))) == pytest.approx(15, abs=0.5)


def test_perspective_sends_each_place_to_its_source():
    places, sources = [(0, 0), (0, 90), (120, 90), (120, 0)], [(3, 5), (10, 88), (110, 80), (119, 2)]
    a, b, c, d, e, f, g, h = perspective(places, sources)
    for (x, y), found in zip(places, sources, strict=True):
        below = g * x + h * y + 1
        assert ((a * x + b * y + c) / below, (d * x + e * y + f) / below) == pytest.approx(found)
