import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gan import nets
from gan.nets.classifiers import CovarianceRoot, trained_parameters

CASES = {
    "scratch-cnn": (3, 3, 224),
    "mobilenet-v2": (3, 3, 224),
    "mobilenet-efficientnet": (3, 3, 224),
    "digit-judge": (10, 1, 28),
}
FROZEN = ["mobilenet-v2", "mobilenet-efficientnet"]


def count(net):
    return sum(p.numel() for p in net.parameters())


def count_with_statistics(net):
    """As Keras counts: the batch norms' running means and variances included."""
    return count(net) + sum(2 * one.num_features for one in net.modules() if isinstance(one, nn.BatchNorm2d))


def test_parameter_counts_are_the_reports():
    scratch, mobile = nets.CLASSIFIERS["scratch-cnn"](), nets.CLASSIFIERS["mobilenet-v2"]()
    assert count(scratch) == 11_169_347
    assert count(mobile) == 2_388_227
    assert count_with_statistics(mobile) == 2_422_339
    assert sum(p.numel() for p in trained_parameters(mobile)) == 1280 * 128 + 128 + 128 * 3 + 3
    assert count(nets.CLASSIFIERS["digit-judge"]()) < 1_000_000


@pytest.mark.parametrize("name", CASES)
def test_shapes_and_every_trained_parameter_gets_a_gradient(name):
    torch.manual_seed(0)
    classes, channels, side = CASES[name]
    net = nets.build(nets.CLASSIFIERS, name, {"classes": classes}).train()
    logits = net(torch.randn(2, channels, side, side))
    assert logits.shape == (2, classes)
    F.cross_entropy(logits, torch.tensor([0, 1])).backward()
    trained = set(trained_parameters(net))
    for key, parameter in net.named_parameters():
        assert (parameter.grad is not None and parameter.grad.abs().sum() > 0) == (parameter in trained), key


@pytest.mark.parametrize("name", CASES)
def test_other_numbers_of_classes(name):
    _, channels, side = CASES[name]
    net = nets.build(nets.CLASSIFIERS, name, {"classes": 7}).eval()
    assert net(torch.zeros(1, channels, side, side)).shape == (1, 7)


@pytest.mark.parametrize("name", FROZEN)
def test_the_frozen_part_keeps_its_statistics_while_training(name):
    net = nets.CLASSIFIERS[name]().train()
    frozen = {key: value for key, value in net.state_dict().items() if not key.startswith("head.")}
    before = {key: value.clone() for key, value in frozen.items()}
    net(torch.randn(2, 3, 64, 64))
    assert all(torch.equal(before[key], value) for key, value in frozen.items())
    assert net.head.training


def test_a_covariance_root_squared_is_the_covariance_of_the_mixtures():
    torch.manual_seed(0)
    layer, maps = CovarianceRoot(6, 4, seed=1), torch.randn(2, 6, 9, 5)
    found = layer(maps)
    rows, columns = torch.triu_indices(4, 4)
    root = torch.zeros(2, 4, 4)
    root[:, rows, columns] = found / torch.where(rows == columns, 1.0, 2**0.5)
    root = root + root.triu(1).transpose(1, 2)
    mixed = torch.einsum("sc,nchw->nshw", layer.mixtures, maps).flatten(2)
    expected = torch.stack([torch.cov(x, correction=0) for x in mixed])
    assert torch.allclose(root @ root, expected, atol=1e-3)
    assert torch.allclose(found.norm(dim=1), root.flatten(1).norm(dim=1), atol=1e-4), "lengths are the matrices'"
    assert torch.allclose(layer(maps.roll((1, 2), (2, 3))), found, atol=1e-5), "wherever things are"
    assert torch.allclose(layer.mixtures @ layer.mixtures.T, torch.eye(4), atol=1e-5)
    assert layer(torch.zeros(1, 6, 3, 3)).isfinite().all()


def test_covariances_stand_after_the_pairs_other_features():
    plain = nets.build(nets.CLASSIFIERS, "mobilenet-efficientnet", {}).eval()
    related = nets.build(nets.CLASSIFIERS, "mobilenet-efficientnet", {"classes": 20, "covariances": 48}).eval()
    frozen = {key: value for key, value in plain.state_dict().items() if not key.startswith("head.")}
    related.load_state_dict({**related.state_dict(), **frozen})
    assert related.embedding == plain.embedding + 8 * 48 * 49 // 2 and count(related) < 10_000_000
    x = torch.randn(2, 3, 96, 96)
    assert torch.equal(related.embed(x)[:, : plain.embedding], plain.embed(x))
    assert related(x).shape == (2, 20)
    with pytest.raises(ValueError, match="between 0 and 48, not at 49"):
        nets.build(nets.CLASSIFIERS, "mobilenet-efficientnet", {"covariances": 49})


def test_the_pair_sees_the_same_picture_with_both_networks():
    pair = nets.CLASSIFIERS["mobilenet-efficientnet"]().eval()
    assert count(pair) < 10_000_000
    picture = torch.rand(1, 3, 64, 64)
    mean, std = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    second = pair.embed((picture - mean) / std)[:, 2112:3392]
    assert torch.allclose(second, pair.second(picture * 2 - 1), atol=1e-4), "EfficientNet-Lite2 expects [-1, 1]"


@pytest.mark.parametrize("name", FROZEN)
def test_embedding_and_head_are_the_whole_network(name):
    net = nets.CLASSIFIERS[name]().eval()
    x = torch.randn(2, 3, 96, 96)
    assert net.embed(x).shape == (2, net.embedding)
    assert torch.equal(net.head(net.embed(x)), net(x))
