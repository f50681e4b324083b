import torch

from training import rejection
from training.data.pictures import PictureSet, evenly_spaced


def drawn(count, directions, seed):
    """Features (count, 2, 24) that vary in a few directions only, with a little noise."""
    torch.manual_seed(seed)
    return torch.randn(count, 2, len(directions)) @ directions + 0.05 * torch.randn(count, 2, 24) + 1


def test_what_varies_otherwise_scores_lower():
    torch.manual_seed(3)
    batik, other = torch.randn(2, 4, 24)
    features, strangers = drawn(300, batik, 0), drawn(60, other, 1)
    fitted = rejection.fit(features[:200], range(24), components=8)
    assert rejection.separation(features[200:], strangers, fitted) > 0.95
    assert rejection.scores(features, fitted).shape == (300,) and (rejection.scores(features, fitted) <= 1e-6).all()
    again = rejection.fit(features[:200], range(24), components=8)
    assert all(torch.equal(fitted[key], again[key]) for key in fitted)


def test_only_the_columns_named_are_looked_at():
    torch.manual_seed(3)
    features = drawn(300, torch.randn(4, 24), 0)
    fitted = rejection.fit(features, [2, 5, 7, 11], components=2)
    other = features.clone()
    other[..., [0, 1, 3, 23]] += 100
    assert torch.equal(rejection.scores(other, fitted), rejection.scores(features, fitted))
    other[..., 5] += 100
    assert not torch.equal(rejection.scores(other, fitted), rejection.scores(features, fitted))


def test_the_threshold_turns_few_away():
    torch.manual_seed(4)
    features = drawn(500, torch.randn(4, 24), 2)
    made = rejection.with_threshold(features, list(range(500)), range(24), components=8)
    threshold = made.pop("threshold")
    assert threshold.shape == (1,)
    assert 0 < (rejection.scores(features, made) < threshold).double().mean() < 0.06


def test_shrunk_pictures_are_centre_squares():
    wide = torch.zeros(3, 40, 120, dtype=torch.uint8)
    wide[0, :, 40:80] = 255
    data = PictureSet([wide] * 250, labels=torch.arange(250), names=[str(i) for i in range(250)])
    small = rejection.shrunk(data, 16)
    assert len(small) == 100 and small.labels.tolist() == evenly_spaced(250, 100) and small.names[-1] == "249"
    assert small.pictures[0].shape == (3, 16, 16)
    assert small.pictures[0][0].float().mean() > 240 and small.pictures[0][1:].max() < 16
    assert rejection.shrunk(data, None).pictures[0] is wide
