"""The map of where a classifier looked, on the shipped classifiers: it is about the network, and about the answer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from gan import catalog, nets
from gan.checkpoint import load_folder, read_config
from gan.classify import Classifier, Explanation, squares
from gan.heatmap import MAP_SIDE, attribution, over_photo, overlay, stages
from gan.pictures import open_picture

SHIPPED = [one.name for one in catalog.entries("classifier") if one.name.startswith("batik-")]
PICTURES = 24
# One classifier of each network: the map reads its layers, whatever classes follow them.
OF_EACH_NETWORK = sorted({read_config(catalog.find(name))["network"]: name for name in reversed(SHIPPED)}.values())


def cloth(width=480, height=320):
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 9 + c) * np.cos(y / (5 + c)) for c in range(3)]
    return Image.fromarray((127.5 + 127.5 * np.stack(waves, -1)).astype(np.uint8))


def hottest_tenth(heat: np.ndarray) -> np.ndarray:
    mask = np.zeros(heat.size, bool)
    mask[np.argsort(-heat.ravel(), kind="stable")[: heat.size // 10]] = True
    return mask.reshape(heat.shape)


def covered(picture: Image.Image, mask: np.ndarray) -> Image.Image:
    """The picture with a part of it in its own mean colour."""
    pixels = np.array(picture)
    large = Image.fromarray(mask.astype(np.uint8)).resize(picture.size, Image.Resampling.NEAREST)
    pixels[np.asarray(large) > 0] = pixels.reshape(-1, 3).mean(0)
    return Image.fromarray(pixels)


@pytest.mark.parametrize("name", SHIPPED)
def test_the_answer_with_a_map_is_the_answer_without(name):
    model = catalog.load(name)
    found = model.explain(cloth())
    assert isinstance(found, Explanation)
    assert dict(found.answer) == pytest.approx(dict(model.classify(cloth())), abs=1e-4)
    assert found.heat.shape == (round(MAP_SIDE * 2 / 3), MAP_SIDE) and found.heat.dtype == np.float32
    assert found.heat.min() >= 0 and found.heat.max() == pytest.approx(1)
    assert found.picture.size == (480, 320)


@pytest.mark.parametrize("name", SHIPPED)
def test_other_weights_look_elsewhere(name):
    config, network = load_folder(catalog.find(name))
    torch.manual_seed(0)
    maps = []
    for drawn in (False, True):
        if drawn:
            for weights in network.parameters():
                if weights.ndim > 1:
                    torch.nn.init.kaiming_normal_(weights)
        maps.append(Classifier(name, config, network).explain(cloth()).heat)
    assert abs(np.corrcoef(maps[0].ravel(), maps[1].ravel())[0, 1]) < 0.7
    assert np.abs(maps[0] - maps[1]).mean() > 0.05


@pytest.mark.parametrize("name", OF_EACH_NETWORK)
def test_covering_the_hottest_tenth_costs_more_than_covering_any_tenth(name, data):
    """The other tenth has the same shape and lies elsewhere: how ragged it is makes no difference."""
    model = catalog.load(name)
    rng = np.random.default_rng(0)
    files = [sorted((data("batik-motifs") / label).iterdir()) for label in model.classes]
    chosen = [found[i % len(found)] for i in range(PICTURES) for found in [files[i % len(files)]]]
    hot, other = [], []
    for path in chosen:
        picture = open_picture(path, side=model.input["size"])
        found = model.explain(picture)
        mask = hottest_tenth(found.heat)
        moved = np.roll(mask, [rng.integers(side) for side in mask.shape], (0, 1))
        for drops, hidden in ((hot, mask), (other, moved)):
            after = dict(model.classify(covered(picture, hidden)))[found.answer.label]
            drops.append(found.answer.probability - after)
    assert np.mean(hot) > 0.01
    assert np.mean(hot) > 1.2 * np.mean(other)


def test_the_map_finds_what_the_label_depends_on():
    """A network whose one label is "red": the map must lie on the red half alone."""
    layer = torch.nn.Conv2d(3, 1, 8, stride=8, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([1.0, -1.0, -1.0]).view(1, 3, 1, 1).expand_as(layer.weight))
    x = torch.zeros(2, 3, 64, 64)
    x[0, 0, :, 32:] = x[1, 0, :32] = 1
    maps = attribution(lambda x: layer(x).relu().mean((1, 2, 3)), [layer], x)
    assert maps.shape == (2, 8, 8)
    assert (maps[0, :, 4:] > 0).all() and (maps[0, :, :4] == 0).all()
    assert (maps[1, :4] > 0).all() and (maps[1, 4:] == 0).all()


def test_maps_of_layers_of_different_size_add_up():
    fine, coarse = torch.nn.AvgPool2d(8), torch.nn.AvgPool2d(16)
    x = torch.zeros(1, 3, 64, 64)
    x[:, :, :, 32:] = 1
    maps = attribution(lambda x: fine(x).mean((1, 2, 3)) + coarse(x).mean((1, 2, 3)), [fine, coarse], x)
    assert maps.shape == (1, 8, 8)
    assert maps.sum().item() == pytest.approx(1, abs=0.01), "half of each mean"
    assert (maps[0, :, 6:] > 0).all() and (maps[0, :, :3] == 0).all()


@pytest.mark.parametrize("name", sorted(nets.CLASSIFIERS))
def test_the_maps_show_what_the_head_is_given(name):
    network = nets.build(nets.CLASSIFIERS, name, {"classes": 3}).eval()
    if not hasattr(network, "embed"):
        assert stages(network) == [network.features]
        return
    seen, x = [], torch.randn(1, 3, 96, 96)
    hooks = [stage.register_forward_hook(lambda *call: seen.append(call[2])) for stage in stages(network)]
    with torch.inference_mode():
        features = network.embed(x)
    for hook in hooks:
        hook.remove()
    assert seen
    for one in seen:
        # The head may be given more: somewhere in its row stand this stage's means.
        windows = features.unfold(1, one.shape[1], 1)
        assert (windows - one.mean((2, 3))[:, None]).abs().amax(2).min() < 1e-5


def test_maps_of_squares_come_to_lie_where_the_squares_were():
    boxes = squares(300, 100, 3)
    maps = torch.stack([torch.full((7, 7), value) for value in (1.0, 0.0, 0.5)])
    heat = over_photo(maps, boxes, (300, 100))
    third = MAP_SIDE // 3
    assert heat.shape == (85, MAP_SIDE)
    assert heat[:, 5 : third - 5] == pytest.approx(1, abs=1e-5)
    assert heat[:, third + 5 : 2 * third - 5] == pytest.approx(0, abs=1e-5)
    assert heat[:, 2 * third + 5 : -5] == pytest.approx(0.5, abs=1e-5)
    upright = over_photo(maps, squares(100, 300, 3), (100, 300))
    assert upright == pytest.approx(heat.T, abs=1e-5)
    assert (over_photo(torch.zeros(3, 7, 7), boxes, (300, 100)) == 0).all()


def test_squares_that_overlap_leave_no_seam():
    maps = torch.stack([torch.full((7, 7), value) for value in (1.0, 0.0, 1.0)])
    heat = over_photo(maps, squares(480, 320, 3), (480, 320))
    assert heat[90, 2] == pytest.approx(1) and heat[85, MAP_SIDE // 2] < 0.6
    assert np.abs(np.diff(heat[85])).max() < 0.05


def test_very_long_photos_have_a_map_too():
    assert over_photo(torch.ones(3, 7, 7), squares(40_000, 16, 3), (40_000, 16)).shape == (1, MAP_SIDE)


def test_the_overlay_glows_where_it_is_hot_and_is_grey_where_it_is_cold():
    photo = Image.new("RGB", (200, 100), (60, 90, 120))
    heat = np.zeros((64, 128), np.float32)
    heat[:, 64:] = 1
    shown = np.asarray(overlay(photo, heat), int)
    assert shown.shape == (100, 200, 3)
    assert np.ptp(shown[50, 20]) <= 1 and shown[50, 180, 0] > shown[50, 180, 2]
    assert shown[50, 180].sum() > 2 * shown[50, 20].sum()


def test_views_beyond_five_close_ones_are_as_wide_as_the_short_side():
    boxes = squares(300, 200, 8, 0.7)
    assert boxes[:5] == squares(300, 200, 5, 0.7)
    assert boxes[5:] == [(0, 0, 200, 200), (50, 0, 250, 200), (100, 0, 300, 200)]
