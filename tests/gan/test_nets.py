"""The generative networks: counts, shapes, ranges, gradients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gan import nets
from gan.nets.common import (
    ConditionalBatchNorm,
    PixelNorm,
    UpConv,
    add_spectral_norm,
    fold_batch_norm,
    glu,
    plain_weights,
)
from gan.nets.dense import DenseGenerator
from gan.nets.fastgan import FastGANDiscriminator, FastGANGenerator, SkipLayerExcitation
from gan.nets.patch import PatchDiscriminator

PAIRS = [
    ("dense", {}, "dense", {}),
    ("lsgan", {}, "lsgan", {}),
    ("cgan", {}, "cgan", {}),
    ("cgan", {}, "cgan-projection", {}),
    ("cgan", {"norm": "pixel"}, "cgan", {"dropout": 0.3}),
    ("dcgan", {"width": 8}, "dcgan", {"width": 8}),
    ("dcgan", {"resolution": 32, "width": 8, "classes": 10, "norm": "pixel"}, "dcgan", {"resolution": 32, "width": 8}),
    ("dcgan", {"width": 8}, "dcgan", {"width": 8, "batch_norm": False, "dropout": 0.3}),
    ("resnet", {"width": 8, "classes": 10}, "resnet", {"width": 8, "classes": 10}),
    ("resnet", {"resolution": 64, "width": 8}, "resnet", {"resolution": 64, "width": 8}),
    ("dcgan", {"width": 8}, "patch", {"width": 4}),
    ("fastgan", {"resolution": 64, "width": 4}, "fastgan", {"resolution": 64, "width": 4}),
    ("fastgan", {"resolution": 256, "width": 4}, "fastgan", {"resolution": 256, "width": 4}),
]


def parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def statistics(net: nn.Module) -> int:
    return sum(b.numel() for name, b in net.named_buffers() if name.endswith(("running_mean", "running_var")))


def sample(generator: nn.Module, count: int = 3, **more: object) -> torch.Tensor:
    return generator(torch.randn(count, generator.latent_size), torch.arange(count) % 10, **more)


def test_the_dense_generator_has_the_reports_parameters() -> None:
    net = DenseGenerator()
    assert parameters(net) == 3_835_136
    assert statistics(net) == 3_584
    assert parameters(net) + statistics(net) == 3_838_720


# DCGAN's are the well-known ones of its 64² pair; the others follow from the layers' shapes.
COUNTS = [
    ("dcgan", {}, 3_576_704, 2_765_568),
    ("dcgan", {"resolution": 32}, 1_068_928, 663_296),
    ("resnet", {}, 2_372_419, 2_316_161),
    ("resnet", {"classes": 10}, 2_392_003, 2_318_721),
    ("resnet", {"resolution": 64}, 2_401_443, 2_433_217),
]


@pytest.mark.parametrize(("name", "arguments", "generator", "discriminator"), COUNTS)
def test_pairs_have_the_parameters_of_their_layers(name, arguments, generator, discriminator) -> None:
    assert parameters(nets.build(nets.GENERATORS, name, arguments)) == generator
    assert parameters(nets.build(nets.DISCRIMINATORS, name, arguments)) == discriminator


@pytest.mark.parametrize(("name", "arguments", "judge", "judge_arguments"), PAIRS)
def test_every_parameter_of_a_pair_receives_a_gradient(name, arguments, judge, judge_arguments) -> None:
    torch.manual_seed(0)
    generator = nets.build(nets.GENERATORS, name, arguments)
    discriminator = nets.build(nets.DISCRIMINATORS, judge, judge_arguments)
    labels = torch.arange(3)
    if name == "fastgan":
        both = arguments["resolution"] > 128
        made = sample(generator, small=both)
        full, small = made if both else (made, None)
        logits, lost = discriminator(full, labels, small=small, reconstruct=True)
        loss = sum(x.mean() for x in logits) + lost
    else:
        full = sample(generator)
        loss = discriminator(full, labels)[0].square().mean()
    loss.backward()
    for net in (generator, discriminator):
        without = [key for key, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
        assert without == []
    # A dead branch has a gradient of nothing but zeros. Noise scales start at zero and move from the first step on.
    assert all(p.grad.abs().sum() > 0 for p in generator.parameters())


@pytest.mark.parametrize(("name", "arguments", "judge", "judge_arguments"), PAIRS)
def test_pictures_have_the_stated_shape_and_range(name, arguments, judge, judge_arguments) -> None:
    generator = nets.build(nets.GENERATORS, name, arguments).eval()
    with torch.no_grad():
        pictures = sample(generator)
    assert pictures.shape == (3, generator.channels, generator.resolution, generator.resolution)
    low, high = generator.value_range
    assert low <= pictures.min() and pictures.max() <= high


@pytest.mark.parametrize("resolution", [64, 128, 256, 512, 1024])
def test_fastgan_is_built_for_every_resolution(resolution: int) -> None:
    generator = FastGANGenerator(resolution, width=8, latent_size=16).eval()
    discriminator = FastGANDiscriminator(resolution, width=8).eval()
    with torch.no_grad():
        picture = generator(torch.randn(1, 16))
        logits, lost = discriminator(picture, reconstruct=True)
    assert picture.shape == (1, 3, resolution, resolution)
    assert all(one.shape == (1, 1, 5, 5) for one in logits)
    assert len(logits) == (2 if resolution > 128 else 1)
    assert lost.ndim == 0


def test_fastgan_without_gates_is_built_at_32() -> None:
    generator = FastGANGenerator(32, width=4, latent_size=8, noise=False).eval()
    assert list(generator.gates) == []
    with torch.no_grad():
        assert generator(torch.randn(2, 8)).shape == (2, 3, 32, 32)
    with pytest.raises(ValueError, match="not 32"):
        FastGANDiscriminator(32)


def test_fastgan_refuses_other_resolutions() -> None:
    with pytest.raises(ValueError, match="not 200"):
        FastGANGenerator(200)
    with pytest.raises(ValueError, match="not 200"):
        FastGANDiscriminator(200)


@pytest.mark.parametrize("name", ["dcgan", "resnet"])
def test_small_pairs_refuse_other_resolutions(name: str) -> None:
    for family in (nets.GENERATORS, nets.DISCRIMINATORS):
        with pytest.raises(ValueError, match="32 or 64 pixels a side, not 28"):
            nets.build(family, name, {"resolution": 28})


@pytest.mark.parametrize("name", ["cgan", "dcgan"])
def test_generators_refuse_other_norms(name: str) -> None:
    with pytest.raises(ValueError, match="not 'layer'"):
        nets.build(nets.GENERATORS, name, {"norm": "layer"})


@pytest.mark.parametrize("name", ["cgan", "dcgan"])
def test_dropout_drops_in_training_alone(name: str) -> None:
    net = nets.build(nets.DISCRIMINATORS, name, {"dropout": 0.3})
    pictures, labels = torch.randn(4, net.channels, net.resolution, net.resolution), torch.arange(4)
    assert not torch.equal(net(pictures, labels)[0], net(pictures, labels)[0])
    net.eval()
    assert torch.equal(net(pictures, labels)[0], net(pictures, labels)[0])


def test_pixel_norm_gives_every_pixel_the_length_one() -> None:
    x = torch.randn(2, 16, 3, 5) * 7
    torch.testing.assert_close(PixelNorm()(x).square().mean(1), torch.ones(2, 3, 5))


def test_conditional_batch_norm_scales_by_label_and_starts_as_batch_norm() -> None:
    torch.manual_seed(0)
    norm = ConditionalBatchNorm(4, classes=3)
    x, labels = torch.randn(6, 4, 5, 5), torch.tensor([0, 1, 2, 0, 1, 2])
    plain = F.batch_norm(x, None, None, training=True)
    torch.testing.assert_close(norm(x, labels), plain)
    with torch.no_grad():
        norm.embed.weight[1, :4] = 3.0
        norm.embed.weight[2, 4:] = 5.0
    y = norm(x, labels)
    torch.testing.assert_close(y[1], plain[1] * 3)
    torch.testing.assert_close(y[2], plain[2] + 5)
    torch.testing.assert_close(y[0], plain[0])


@pytest.mark.parametrize("name", ["dcgan", "resnet"])
def test_labels_change_the_picture(name: str) -> None:
    torch.manual_seed(0)
    generator = nets.build(nets.GENERATORS, name, {"resolution": 32, "width": 8, "classes": 3})
    if name == "resnet":
        for block in generator.blocks:
            nn.init.normal_(block.norm.embed.weight)
    with torch.no_grad():
        one, other = generator.eval()(torch.randn(1, generator.latent_size).expand(2, -1), torch.tensor([0, 2]))
    assert not torch.allclose(one, other, atol=1e-3)


def test_the_projection_moves_the_logit_by_the_labels_vector() -> None:
    torch.manual_seed(0)
    net = nets.build(nets.DISCRIMINATORS, "resnet", {"width": 8, "classes": 3})
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        features = F.relu(net.blocks(x)).sum((2, 3))
        expected = net.logit(features)[:, 0] + (features * net.projection.weight.T[[2, 0]]).sum(1)
        torch.testing.assert_close(net(x, torch.tensor([2, 0]))[0][:, 0], expected)


def test_fastgan_gates_high_resolutions_by_low_ones() -> None:
    generator = FastGANGenerator(256, width=8)
    assert list(generator.gates) == ["64", "128", "256"]
    gate = SkipLayerExcitation(4, 6)
    high = torch.ones(2, 6, 16, 16)
    with torch.no_grad():
        gated = gate(torch.randn(2, 4, 8, 8), high)
    # One factor in (0, 1) a channel, the same everywhere on the map.
    assert ((gated > 0) & (gated < 1)).all()
    assert torch.equal(gated, gated[:, :, :1, :1].expand_as(gated))


def test_fastgans_low_output_is_its_small_output() -> None:
    generator = FastGANGenerator(256, width=4, latent_size=8, noise=False).eval()
    latents = torch.randn(2, 8)
    with torch.no_grad():
        assert torch.equal(generator(latents, side=128), generator(latents, small=True)[1])


def test_a_styled_fastgan_gives_the_latent_a_say_at_every_place() -> None:
    generator = FastGANGenerator(256, width=4, latent_size=8, noise=False, styled=True).eval()
    assert list(generator.outputs()) == [64, 128, 256]
    assert [name for name, block in generator.blocks.items() if block.style] == ["8", "16", "32", "64"]
    further = FastGANGenerator(256, width=4, latent_size=8, noise=False, styled=True, styles=128)
    assert [name for name, block in further.blocks.items() if block.style] == ["8", "16", "32", "64", "128"]
    latents = torch.randn(3, 8)
    with torch.no_grad():
        assert [generator(latents, side=side).shape[-1] for side in (64, 128, 256)] == [64, 128, 256]
        whole = generator(latents)
        assert torch.equal(generator(latents, side=256), whole)
        generator.fold()
        assert torch.allclose(generator(latents), whole, atol=1e-5)


def test_a_styled_fastgans_larger_picture_is_the_smaller_one_and_more_detail() -> None:
    generator = FastGANGenerator(256, width=4, latent_size=8, noise=False, styled=True).eval()
    latents = torch.randn(2, 8)
    with torch.no_grad():
        for name in ("to_rgb", "to_rgb_small"):
            getattr(generator, name).weight.zero_()
        first, low, full = (generator(latents, side=side).atanh() for side in (64, 128, 256))
    for large, small in ((low, first), (full, low)):
        enlarged = F.interpolate(small, scale_factor=2, mode="bilinear")
        torch.testing.assert_close(large, enlarged, rtol=1e-4, atol=1e-5)


def test_latents_that_count_longer_are_longer_latents() -> None:
    generator = FastGANGenerator(64, width=4, latent_size=8, noise=False, styled=True).eval()
    latents = torch.randn(2, 8)
    with torch.no_grad():
        for block in generator.blocks.values():
            block.style.bias.normal_()
        longer = generator(1.3 * latents)
        generator.lengthen(1.3)
        torch.testing.assert_close(generator(latents), longer)


def test_fine_detail_is_added_to_what_is_there() -> None:
    plain = FastGANGenerator(256, width=4, latent_size=8, noise=False, styled=True).eval()
    fine = FastGANGenerator(256, width=4, latent_size=8, noise=False, styled=True, fine=6).eval()
    fine.load_state_dict({**fine.state_dict(), **plain.state_dict()})
    latents = torch.randn(2, 8)
    with torch.no_grad():
        assert torch.equal(fine(latents, side=128), plain(latents, side=128))
        assert 0 < (fine(latents) - plain(latents)).abs().max() < 0.1, "it begins small"
        fine.fine.scale.zero_()
        assert torch.equal(fine(latents), plain(latents))


def test_a_patchs_logit_sees_its_38_pixels_alone_of_a_square_of_any_picture() -> None:
    judge = PatchDiscriminator(width=4, side=128)
    pictures = torch.randn(1, 3, 256, 256, requires_grad=True)
    logits = judge(pictures)[0]
    assert logits.shape == (1, 1, 16, 16) and judge(pictures[..., :64, :64])[0].shape == (1, 1, 8, 8)
    logits[0, 0, 8, 8].backward()
    for axis in (1, 2):
        seen = pictures.grad[0].abs().sum(0).sum(2 - axis).nonzero()[:, 0]
        assert seen.max() - seen.min() + 1 == 38
    squares = {judge(pictures)[0].sum().item() for _ in range(5)}
    assert len(squares) == 5, "another square each time"


def test_fastgans_noise_changes_nothing_until_its_scale_is_learned() -> None:
    generator = FastGANGenerator(64, width=4, latent_size=8).eval()
    latents = torch.randn(1, 8)
    noise = [torch.randn(1, 1, side, side) for side in generator.noise_sizes()]
    with torch.no_grad():
        assert torch.equal(generator(latents), generator(latents, noise=noise))
        generator.blocks["8"].up_noise.scale.fill_(1.0)
        assert not torch.equal(generator(latents), generator(latents, noise=noise))


def test_the_transposed_convolution_equals_upsampling_and_convolving() -> None:
    layer = UpConv(3, 5)
    x = torch.randn(2, 3, 7, 6)
    expected = F.conv2d(F.interpolate(x, scale_factor=2, mode="nearest"), layer.weight, padding=1)
    torch.testing.assert_close(layer(x), expected, rtol=1e-5, atol=1e-6)


def test_glu_is_torchs() -> None:
    x = torch.randn(2, 6, 4, 4)
    torch.testing.assert_close(glu(x), F.glu(x, dim=1))


def test_spectral_norm_keeps_the_largest_singular_value_at_one_and_bakes_out() -> None:
    torch.manual_seed(0)
    generator = FastGANGenerator(64, width=4, latent_size=8, noise=False)
    add_spectral_norm(generator)
    for _ in range(20):
        generator(torch.randn(4, 8))
    weight = generator.blocks["8"].up.weight
    assert torch.linalg.matrix_norm(weight.flatten(1), 2).item() == pytest.approx(1, abs=0.05)
    generator.eval()
    plain = FastGANGenerator(64, width=4, latent_size=8, noise=False).eval()
    plain.load_state_dict(plain_weights(generator))
    latents = torch.randn(2, 8)
    with torch.no_grad():
        torch.testing.assert_close(plain(latents), generator(latents))
    # The original is untouched and trains on.
    generator.train()(latents).mean().backward()


@pytest.mark.parametrize("styled", [True, False])
def test_spectral_norm_lets_styles_and_gates_take_a_picture_as_far_as_they_learn_to(styled: bool) -> None:
    generator = FastGANGenerator(128, width=4, latent_size=8, noise=False, styled=styled, styles=128)
    add_spectral_norm(generator)
    switches = [generator.gates["64"].squeeze, generator.gates["128"].excite]
    switches += [block.style for block in generator.blocks.values() if styled]
    assert len(switches) == 7 if styled else 2
    for layer in switches:
        with torch.no_grad():
            (layer.weight if styled else layer.parametrizations.weight.original).mul_(1000)

    def lengths() -> list[float]:
        return [torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() for layer in switches]

    before = lengths()
    for _ in range(20):
        generator(torch.randn(4, 8))
    if styled:
        assert min(before) > 2 and lengths() == before
    else:
        assert max(lengths()) < 1.1


def test_folding_batch_norm_changes_no_picture() -> None:
    generator = FastGANGenerator(64, width=4, latent_size=8, noise=False)
    for _ in range(3):
        generator(torch.randn(8, 8))
    generator.eval()
    latents = torch.randn(2, 8)
    with torch.no_grad():
        before = generator(latents)
        generator.fold()
        torch.testing.assert_close(generator(latents), before, rtol=1e-4, atol=1e-5)
    assert isinstance(fold_batch_norm(nn.Conv2d(2, 3, 1, bias=False), nn.BatchNorm2d(3).eval()), nn.Identity)


def test_build_names_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="no network called 'gpt'"):
        nets.build(nets.GENERATORS, "gpt", {})
    with pytest.raises(ValueError, match="does not take these arguments"):
        nets.build(nets.GENERATORS, "dense", {"depth": 3})
