import numpy as np
import pytest
import torch
import torch_fidelity
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from training import metrics, weights
from training.data.pictures import PictureSet, centre_square


@pytest.fixture(scope="module")
def pretrained():
    """Inception's weights, from its home or from the package index."""
    try:
        metrics.extractor()
    except weights.WeightsError as error:
        pytest.skip(str(error))


class Pictures(torch.utils.data.Dataset):
    def __init__(self, pictures):
        self.pictures = pictures

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, i):
        return self.pictures[i]


def stripes(count, noise):
    """Pictures of stripes at different angles, with some grain: features that are neither equal nor far apart."""
    draw = torch.Generator().manual_seed(count)
    axis = torch.linspace(-1, 1, 32)
    angle = torch.linspace(0, 3, count)[:, None, None]
    wave = torch.sin(12 * (torch.cos(angle) * axis[None, :, None] + torch.sin(angle) * axis[None, None, :]))
    pictures = wave[:, None] * torch.tensor([90.0, 60.0, 30.0])[None, :, None, None] + 128
    pictures = pictures + noise * torch.randn(pictures.shape, generator=draw)
    return pictures.clamp(0, 255).to(torch.uint8)


def test_figures_are_those_of_torch_fidelity(pretrained, monkeypatch):
    fake, real = stripes(9, 12.0), stripes(10, 4.0)
    ours = metrics.generator_figures(metrics.features([fake[:4], fake[4:]]), metrics.features([real]))
    # Its own calculation from end to end, except that it is spared loading the network a second time.
    monkeypatch.setattr("torch_fidelity.metrics.create_feature_extractor", lambda *_, **__: metrics.extractor())
    theirs = torch_fidelity.calculate_metrics(
        input1=Pictures(fake),
        input2=Pictures(real),
        fid=True,
        kid=True,
        prc=True,
        feature_extractor="inception-v3-compat",
        kid_subset_size=4,
        cuda=torch.cuda.is_available(),
        batch_size=16,
        save_cpu_ram=True,
        cache=False,
        verbose=False,
    )
    assert ours["fid"] == pytest.approx(theirs["frechet_inception_distance"], rel=1e-4)
    assert ours["kid"] == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-4)
    assert ours["precision"] == theirs["precision"]
    assert ours["recall"] == theirs["recall"]
    assert 0 < ours["recall"] + ours["precision"] < 2, "the case must tell precision from recall"
    assert (ours["generated"], ours["real"]) == (9, 10)


def test_features_agree_with_the_scripted_network_the_weights_came_from(pretrained, tmp_path):
    try:
        scripted = weights.scripted_inception(tmp_path)
    except weights.WeightsError as error:
        pytest.skip(str(error))
    pictures = torch.randint(0, 256, (2, 3, 299, 299), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        theirs = scripted((pictures.float() - 128) / 128)
    assert torch.allclose(metrics.features([pictures]), theirs, atol=1e-5)


def test_one_channel_is_repeated(pretrained):
    grey = stripes(2, 0.0)[:, :1]
    assert torch.equal(metrics.features([grey]), metrics.features([grey.repeat(1, 3, 1, 1)]))


@pytest.mark.parametrize("wrong", [torch.zeros(1, 3, 8, 8), torch.zeros(1, 4, 8, 8, dtype=torch.uint8)])
def test_features_refuse_what_they_would_misread(pretrained, wrong):
    with pytest.raises(ValueError, match="uint8"):
        metrics.features([wrong])


def test_reference_features_are_kept_and_noticed_when_the_data_change(pretrained, tmp_path, monkeypatch):
    monkeypatch.setattr(metrics, "cache_folder", lambda: tmp_path)
    data = PictureSet(list(stripes(2, 0.0)), description="stripes")
    first = metrics.reference_features(data, 24)
    assert torch.equal(first, metrics.features([metrics.reference_pictures(data, 24)]))
    # From the file, now: without a network nothing could be computed.
    with monkeypatch.context() as patch:
        patch.setattr(metrics, "features", lambda pictures: pytest.fail("computed again"))
        assert torch.equal(metrics.reference_features(data, 24), first)
    changed = PictureSet([255 - picture for picture in data.pictures], description="stripes")
    assert not torch.allclose(metrics.reference_features(changed, 24), first)
    assert not torch.equal(metrics.reference_features(data, 24, flipped=True), first)


def test_features_at_one_resolution_are_not_taken_for_those_at_another(tmp_path, monkeypatch):
    monkeypatch.setattr(metrics, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(metrics, "features", lambda pictures: torch.cat(list(pictures)).float().flatten(1))
    data = PictureSet(list(stripes(2, 0.0)), description="stripes")
    sides = (24, 20, 24)
    assert [metrics.reference_features(data, side).shape[1] for side in sides] == [3 * side**2 for side in sides]


@settings(max_examples=30, deadline=None)
@given(st.integers(16, 70), st.integers(16, 70), st.integers(8, 48), st.sampled_from([1, 3]))
def test_reference_pictures_are_centre_squares(height, width, resolution, channels):
    # A cross through the middle must stay in the middle.
    picture = torch.zeros(channels, height, width, dtype=torch.uint8)
    picture[:, height // 3 : height - height // 3, width // 3 : width - width // 3] = 255
    square = centre_square(picture, resolution)
    assert square.shape == (channels, resolution, resolution)
    assert square.dtype == torch.uint8
    assert square[:, resolution // 2, resolution // 2].min() > 200
    if height == width == resolution:
        assert torch.equal(square, picture)
    rows = torch.arange(resolution).float()
    middle = (square[0].float().sum(1) * rows).sum() / square[0].float().sum()
    assert abs(middle - (resolution - 1) / 2) < 1.5


def test_reference_pictures_resize_the_short_side_with_lanczos():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    picture = torch.from_numpy(pixels).permute(2, 0, 1)
    wanted = Image.fromarray(pixels).resize((30, 20), Image.Resampling.LANCZOS).crop((5, 0, 25, 20))
    got = metrics.reference_pictures(PictureSet([picture]), 20)[0]
    assert np.array_equal(got.permute(1, 2, 0).numpy(), np.asarray(wanted))


def cloud(count, seed, size=64):
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed))


def test_memorised_is_one_percent_for_a_perfect_generator_and_all_for_a_copier():
    real, flipped, fresh = cloud(2000, 0, 4), cloud(2000, 1, 4), cloud(2000, 2, 4)
    assert metrics.closeness(fresh, [real])["memorised"] == pytest.approx(0.01, abs=0.008)
    assert metrics.closeness(fresh, [real, flipped])["memorised"] == pytest.approx(0.01, abs=0.008)
    assert metrics.closeness(real + 1e-4, [real])["memorised"] == 1
    assert metrics.closeness(flipped[:50] + 1e-4, [real])["memorised"] < 0.1
    assert metrics.closeness(flipped[:50] + 1e-4, [real, flipped])["memorised"] == 1
    copies = metrics.closeness(real + 1e-4, [real])["nearest"]
    begins, ends, generated, training = zip(*copies, strict=True)
    assert begins[0] == 0 and begins[1:] == ends[:-1] and sum(generated) == pytest.approx(1) == sum(training)
    assert generated[0] == 1 > training[0], "copies stand in the first row, their originals do not"


def test_copies_are_looked_for_among_what_was_learnt_not_what_is_compared_with():
    compared, learnt = cloud(60, 0), cloud(60, 1)
    assert metrics.generator_figures(learnt, compared, [compared, learnt])["memorised"] == 1
    assert metrics.generator_figures(learnt, compared)["memorised"] < 0.5


@settings(max_examples=20, deadline=None)
@given(st.integers(5, 40), st.integers(5, 40), st.integers(0, 1000))
def test_figures_stay_in_their_ranges(generated, count, seed):
    figures = metrics.generator_figures(cloud(generated, seed), cloud(count, seed + 1))
    assert figures["fid"] > -1e-3
    assert all(0 <= figures[name] <= 1 for name in ("precision", "recall", "memorised"))


def test_a_set_against_itself_is_perfect():
    figures = metrics.generator_figures(cloud(60, 0), cloud(60, 0))
    assert figures["fid"] == pytest.approx(0, abs=1e-3)
    assert figures["kid"] < 0.01
    assert figures["precision"] == figures["recall"] == figures["memorised"] == 1


@settings(max_examples=20, deadline=None)
@given(st.integers(12, 40), st.integers(12, 40), st.integers(0, 1000))
def test_fid_is_the_same_whether_pictures_or_features_are_fewer(generated, count, seed):
    fake, real = cloud(generated, seed, 10), cloud(count, seed + 1, 10) * 2 + 1
    wide = [torch.cat([x, torch.zeros(len(x), 50)], 1) for x in (fake, real)]
    assert metrics.fid(*wide) == pytest.approx(metrics.fid(fake, real), rel=1e-4)


def test_too_few_pictures_are_refused():
    with pytest.raises(ValueError, match="too few"):
        metrics.generator_figures(cloud(4, 0), cloud(40, 1))


def test_recall_is_counted_within_each_class():
    real = torch.cat([cloud(40, 0), cloud(40, 1) + 100])
    labels = torch.arange(80) // 40
    # Ones are drawn as zeros: all real zeros are covered, none of the real ones.
    fake = torch.cat([cloud(40, 0), cloud(40, 0)])
    zeros, ones = metrics.recall_by_class(fake, labels, real, labels)
    assert zeros == 1 and ones == 0
    assert metrics.recall_by_class(fake[:42], labels[:42], real, labels) == [1, 0]
    # All of a cloth that is drawn again and again is like a real one, and few real ones are like it: that is precision.
    narrow = real[:1] + 0.01 * cloud(40, 2)
    assert metrics.recall_by_class(narrow, labels[:40], real[:40], labels[:40])[0] < 0.2
