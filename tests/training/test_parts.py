"""The parts of the GAN loop: losses against their formulas, DiffAugment, EMA, projection, batches."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gan.nets.common import add_spectral_norm
from training.data.pictures import PictureSet, draw_batch
from training.diffaug import POLICIES, cutout, diff_augment, rotation, translation
from training.ema import Ema
from training.losses import LOSSES, discriminator_loss, generator_loss, gradient_penalty
from training.projected import ProjectedDiscriminator, frozen_features, whole_and_cut

REAL, FAKE = torch.tensor([[2.0], [-0.5]]), torch.tensor([[0.3], [-3.0]])


def test_bce_is_binary_cross_entropy() -> None:
    loss = LOSSES["bce"]
    ones, zeros = torch.ones(2, 1), torch.zeros(2, 1)
    expected = F.binary_cross_entropy_with_logits(REAL, ones) + F.binary_cross_entropy_with_logits(FAKE, zeros)
    torch.testing.assert_close(loss.discriminator(REAL, FAKE), expected)
    torch.testing.assert_close(loss.generator(FAKE), F.binary_cross_entropy_with_logits(FAKE, ones))


def test_lsgan_is_the_reports_mean_squared_error_without_a_half() -> None:
    loss = LOSSES["lsgan"]
    # R2: D pushes real to 1 and fake to 0, G pushes fake to 1.
    assert loss.discriminator(REAL, FAKE).item() == pytest.approx((1 + 2.25) / 2 + (0.09 + 9) / 2)
    assert loss.generator(FAKE).item() == pytest.approx((0.49 + 16) / 2)
    # A fooled discriminator that answers one half everywhere: both losses as the report's reading expects.
    half = torch.full((4, 1), 0.5)
    assert loss.discriminator(half, half).item() == pytest.approx(0.5)
    assert loss.generator(half).item() == pytest.approx(0.25)


def test_hinge_stops_at_its_margin() -> None:
    loss = LOSSES["hinge"]
    assert loss.discriminator(REAL, FAKE).item() == pytest.approx(1.5 / 2 + 1.3 / 2)
    assert loss.discriminator(torch.tensor([[1.0]]), torch.tensor([[-1.0]])).item() == 0
    assert loss.generator(FAKE).item() == pytest.approx(1.35)
    soft = LOSSES["soft-hinge"].discriminator(torch.full((1000, 1), 0.0), torch.full((1000, 1), -5.0)).item()
    assert 0.88 < soft < 0.92


def test_wgan_is_the_difference_of_means() -> None:
    loss = LOSSES["wgan"]
    assert loss.discriminator(REAL, FAKE).item() == pytest.approx(-1.35 - 0.75)
    assert loss.generator(FAKE).item() == pytest.approx(1.35)


def test_smoothing_lowers_the_target_of_the_reals_alone() -> None:
    zeros = torch.zeros(2, 1)
    expected = F.binary_cross_entropy_with_logits(REAL, torch.full((2, 1), 0.9))
    expected = expected + F.binary_cross_entropy_with_logits(FAKE, zeros)
    torch.testing.assert_close(discriminator_loss(LOSSES["bce"], [REAL], [FAKE], 0.1), expected)
    squares = ((2 - 0.9) ** 2 + (-0.5 - 0.9) ** 2) / 2 + (0.09 + 9) / 2
    assert discriminator_loss(LOSSES["lsgan"], [REAL], [FAKE], 0.1).item() == pytest.approx(squares)


def test_the_gradient_penalty_is_the_slopes_distance_from_one() -> None:
    torch.manual_seed(0)
    linear = nn.Linear(12, 1)
    slope = linear.weight.norm().item()

    def judge(pictures: torch.Tensor) -> list[torch.Tensor]:
        return [linear(pictures.flatten(1))]

    penalty = gradient_penalty(judge, torch.randn(5, 3, 2, 2), torch.randn(5, 3, 2, 2))
    assert penalty.item() == pytest.approx((slope - 1) ** 2, rel=1e-4)
    # The second derivative: 2 (|w| − 1) w / |w|.
    penalty.backward()
    torch.testing.assert_close(linear.weight.grad, 2 * (slope - 1) * linear.weight.detach() / slope)


def test_the_gradient_penalty_looks_between_reals_and_fakes_and_survives_a_flat_judge() -> None:
    seen = []
    weight = torch.zeros(1, requires_grad=True)

    def judge(pictures: torch.Tensor) -> list[torch.Tensor]:
        seen.append(pictures.detach())
        return [pictures.flatten(1) * weight]

    penalty = gradient_penalty(judge, torch.ones(64, 1, 2, 2), torch.zeros(64, 1, 2, 2))
    penalty.backward()
    assert penalty.item() == pytest.approx(1, abs=1e-4) and weight.grad.isfinite()
    one_each = seen[0].flatten(1)
    assert torch.equal(one_each.amin(1), one_each.amax(1))
    assert one_each.amin() < 0.1 and one_each.amax() > 0.9


def test_losses_are_averaged_over_scales_of_any_size() -> None:
    loss = LOSSES["lsgan"]
    scales = [torch.zeros(2, 1, 8, 8), torch.ones(2, 1, 4, 4)]
    assert discriminator_loss(loss, scales, scales).item() == pytest.approx((1 + 1) / 2)
    assert generator_loss(loss, scales).item() == pytest.approx(0.5)


@pytest.mark.parametrize("name", POLICIES)
def test_each_augmentation_keeps_the_shape_and_lets_gradients_through(name: str) -> None:
    torch.manual_seed(0)
    x = torch.rand(4, 3, 16, 16, requires_grad=True)
    y = diff_augment(x, (name,))
    assert y.shape == x.shape and not torch.equal(y, x)
    y.sum().backward()
    assert x.grad.abs().sum() > 0


@pytest.mark.parametrize("shape", [(17, 17), (17, 33)])
def test_rotation_turns_a_dot_by_at_most_ten_degrees_and_keeps_distances(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    height, width = shape
    x = torch.zeros(64, 1, height, width)
    x[:, :, height // 2, -3:] = 1.0
    rows, columns = torch.meshgrid(torch.arange(height) - height // 2, torch.arange(width) - width // 2, indexing="ij")
    y = rotation(x)
    mass = y.sum((1, 2, 3))
    centre = torch.stack([(y[:, 0] * rows).sum((1, 2)) / mass, (y[:, 0] * columns).sum((1, 2)) / mass])
    angles = torch.atan2(centre[0], centre[1]).rad2deg()
    assert angles.abs().max() < 12 and angles.max() > 6 and angles.min() < -6
    assert (centre.norm(dim=0) - (width // 2 - 1)).abs().max() < 1


def test_no_policy_changes_nothing() -> None:
    x = torch.rand(2, 3, 8, 8)
    assert diff_augment(x, ()) is x


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), side=st.integers(8, 40))
def test_translation_moves_and_cutout_blanks_within_their_limits(seed: int, side: int) -> None:
    torch.manual_seed(seed)
    x = torch.ones(3, 1, side, side)
    reach = int(side * 0.125 + 0.5)
    assert ((translation(x) == 1).sum((1, 2, 3)) >= (side - reach) ** 2).all()
    size = int(side * 0.5 + 0.5)
    blank = (cutout(x) == 0).sum((1, 2, 3))
    assert ((blank <= size**2) & (blank >= (size // 2) ** 2)).all()
    # Of so many small ones some do not hang over an edge.
    assert (cutout(x.new_ones(200, 1, side, side), 0.3) == 0).sum((1, 2, 3)).max() == int(side * 0.3 + 0.5) ** 2


def test_pictures_are_augmented_each_in_its_own_way() -> None:
    torch.manual_seed(1)
    y = diff_augment(torch.full((2, 3, 8, 8), 0.3), ("color",))
    assert not torch.allclose(y[0], y[1])


def test_the_average_starts_soon_and_follows_weights_and_statistics() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    ema = Ema(net, decay=0.99)
    before = copy.deepcopy(ema.average)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(1.0)
    net(torch.randn(8, 2))
    ema.update(net, 0)
    # The first update's decay is 1/10: nine tenths of the way.
    torch.testing.assert_close(ema.average[0].weight, before[0].weight + 0.9)
    torch.testing.assert_close(ema.average[1].running_mean, 0.9 * net[1].running_mean)
    assert ema.average[1].num_batches_tracked == 1 and not ema.average.training
    ema.update(net, 10_000)
    torch.testing.assert_close(ema.average[0].weight, before[0].weight + 0.9 + 0.01 * 0.1)


def test_the_average_of_a_spectrally_normed_network_keeps_its_directions() -> None:
    torch.manual_seed(0)
    net = add_spectral_norm(nn.Sequential(nn.Linear(3, 3)))
    ema = Ema(net, decay=0.5)
    net(torch.randn(2, 3))
    ema.update(net, 10_000)
    mine, theirs = ema.average[0].parametrizations.weight[0], net[0].parametrizations.weight[0]
    torch.testing.assert_close(mine._u, theirs._u)


def test_the_average_answers_as_in_evaluation() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    ema = Ema(net, 0.9)
    x = torch.randn(4, 3, 5, 5)
    alone = ema.average(x[:1])
    torch.testing.assert_close(ema.average(x)[:1], alone)


def test_the_projected_discriminator_trains_its_heads_alone() -> None:
    torch.manual_seed(0)
    net = ProjectedDiscriminator()
    pictures = torch.rand(2, 3, 64, 64).mul(2).sub(1).requires_grad_()
    features = net.project(pictures)
    assert [tuple(f.shape[1:]) for f in features] == [(32, 16, 16), (48, 8, 8), (64, 4, 4), (128, 2, 2)]
    logits = net(features)
    assert len(logits) == 4
    sum(x.mean() for x in logits).backward()
    assert pictures.grad.abs().sum() > 0
    assert all(p.grad is not None for p in net.parameters())
    assert not any(p.requires_grad for p in net._features[0].parameters())
    # What is saved: the heads and the fixed projections, not the frozen network.
    assert all(key.startswith(("heads.", "across_")) for key in net.state_dict())
    again = ProjectedDiscriminator()
    assert torch.equal(net.across_channels_0, again.across_channels_0)


def test_small_pictures_are_enlarged_for_the_frozen_network() -> None:
    net = ProjectedDiscriminator(side=128)
    pictures = torch.rand(2, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        features = net.project(pictures)
        enlarged = F.interpolate(pictures, size=128, mode="bilinear", align_corners=False)
        expected = ProjectedDiscriminator().project(enlarged)
    assert features[0].shape == (2, 32, 32, 32)
    for a, b in zip(features, expected, strict=True):
        torch.testing.assert_close(a, b)


@given(st.integers(1, 7), st.integers(17, 40))
@settings(max_examples=25, deadline=None)
def test_of_large_pictures_half_are_seen_whole_and_half_in_part(count: int, side: int) -> None:
    # Every place of a picture has a value of its own, so that a part tells where it was cut out.
    pictures = torch.arange(count * side * side).view(count, 1, side, side).float()
    seen = whole_and_cut(pictures, 16)
    assert seen.shape == (count, 1, 16, 16)
    half = (count + 1) // 2
    torch.testing.assert_close(seen[:half], F.interpolate(pictures[:half], size=16, mode="area"))
    for i in range(half, count):
        first = int(seen[i, 0, 0, 0]) - i * side * side
        y, x = divmod(first, side)
        assert torch.equal(seen[i], pictures[i, :, y : y + 16, x : x + 16])


def test_a_discriminator_with_patches_sees_no_more_of_large_pictures_than_of_small_ones() -> None:
    with pytest.raises(ValueError, match="side"):
        ProjectedDiscriminator(patches=True)
    net = ProjectedDiscriminator(side=64, patches=True)
    small, large = torch.rand(2, 3, 64, 64), torch.rand(2, 3, 128, 128)
    with torch.no_grad():
        assert net.project(large)[0].shape == net.project(small)[0].shape
        torch.testing.assert_close(net.project(small), ProjectedDiscriminator().project(small))


def test_lighter_features_are_the_same_features(monkeypatch: pytest.MonkeyPatch) -> None:
    light = frozen_features()
    monkeypatch.setattr("training.projected.lighten", lambda stages: stages)
    plain = frozen_features()
    x = torch.rand(2, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        for a, b in zip(light(x), plain(x), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)


def set_of(*sizes: tuple[int, int]) -> PictureSet:
    return PictureSet([torch.randint(256, (3, *size), dtype=torch.uint8) for size in sizes])


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(8, 60),
    width=st.integers(8, 60),
    low=st.floats(0.1, 1.0),
    seed=st.integers(0, 2**31),
    flip=st.booleans(),
)
def test_batches_have_one_size_and_stay_in_range(height: int, width: int, low: float, seed: int, flip: bool) -> None:
    data = set_of((height, width), (width, height))
    draw = torch.Generator().manual_seed(seed)
    batch = draw_batch(data, [0, 1, 0], 16, (low, 1.0), flip, draw)
    assert batch.shape == (3, 3, 16, 16)
    assert batch.min() >= -1 and batch.max() <= 1
    again = draw_batch(data, [0, 1, 0], 16, (low, 1.0), flip, torch.Generator().manual_seed(seed))
    assert torch.equal(batch, again)


def test_pictures_of_the_right_size_pass_unchanged() -> None:
    data = PictureSet(torch.randint(256, (5, 1, 28, 28), dtype=torch.uint8))
    batch = draw_batch(data, [4, 0], 28, None, False, torch.Generator())
    assert torch.equal(((batch + 1) * 127.5).round().to(torch.uint8), data.pictures[[4, 0]])
