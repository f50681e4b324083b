from __future__ import annotations

import io
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from gan import catalog
from gan.checkpoint import build_network, save
from gan.classify import Classifier, Rejection, batik_score, contrast, normalised, to_input
from gan.errors import CheckpointError, PictureError, RequestError
from gan.heatmap import attribution

CLASSES = ["batik-bali", "batik-betawi", "batik-celup"]


def config(network="mobilenet-v2", classes=CLASSES, size=224, channels=3, mean=(0.5,) * 3, std=(0.25,) * 3, views=3):
    return {
        "kind": "classifier",
        "network": network,
        "arguments": {"classes": len(classes)},
        "classes": list(classes),
        "input": {"size": size, "channels": channels, "mean": list(mean), "std": list(std), "views": views},
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkpoint with weights drawn by chance."""
    torch.manual_seed(0)
    network = build_network(config())
    for weights in network.parameters():
        if weights.ndim > 1:  # as initialised, every picture gets a third for each class
            torch.nn.init.kaiming_normal_(weights)
    return save(tmp_path_factory.mktemp("models") / "three", network.state_dict(), config())


@pytest.fixture(scope="module")
def model(folder) -> Classifier:
    return catalog.load(folder)


def picture(width=300, height=240):
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 9 + c) * np.cos(y / (5 + c)) for c in range(3)]
    return Image.fromarray((127.5 + 127.5 * np.stack(waves, -1)).astype(np.uint8))


def jpeg(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=92, **options)
    return buffer.getvalue()


def test_answers_are_ranked_labels_with_probabilities(model):
    answer = model.classify(picture())
    labels, probabilities = zip(*answer, strict=True)
    assert sorted(labels) == CLASSES
    assert list(probabilities) == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1, abs=1e-5)
    assert (answer.label, answer.probability) == (labels[0], probabilities[0])
    assert list(model.classify(picture(), top=2)) == list(answer)[:2]
    assert len(model.classify(picture(), top=50)) == 3


def test_nobody_else_passes_through_the_network_while_it_is_explained(model, monkeypatch):
    def hooked(score, layers, x):
        with ThreadPoolExecutor(1) as other:
            assert not other.submit(model._lock.acquire, timeout=0.1).result()
        return attribution(score, layers, x)

    monkeypatch.setattr("gan.heatmap.attribution", hooked)
    assert model.explain(picture()).answer == model.classify(picture())


def test_the_answer_is_the_networks_own_averaged_over_three_squares(model):
    squares = [picture().crop((left, 0, left + 240, 240)) for left in (0, 30, 60)]
    small = [np.array(square.resize((224, 224), Image.Resampling.BICUBIC)) for square in squares]
    x = (torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.25
    with torch.inference_mode():
        probabilities = model.network(x.to(model.device)).softmax(1).mean(0).cpu()
    answer = dict(model.classify(picture()))
    assert [answer[name] for name in CLASSES] == pytest.approx(probabilities.tolist(), abs=1e-3)


def test_every_way_of_giving_a_picture_gives_one_answer(model, tmp_path):
    image = picture()
    image.save(tmp_path / "cloth.png")
    expected = dict(model.classify(image))
    contents = (tmp_path / "cloth.png").read_bytes()
    for given in (tmp_path / "cloth.png", str(tmp_path / "cloth.png"), contents, io.BytesIO(contents)):
        assert dict(model.classify(given)) == pytest.approx(expected, abs=1e-6)


def test_a_rotated_photo_is_seen_upright(model):
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = jpeg(picture().transpose(Image.Transpose.ROTATE_90), exif=exif)
    assert dict(model.classify(turned)) == pytest.approx(dict(model.classify(jpeg(picture()))), abs=0.02)


@pytest.mark.parametrize("broken", [b"", b"<html>", jpeg(picture())[:500], jpeg(picture(8, 8))])
def test_what_is_no_picture_is_one_clear_error(model, broken):
    with pytest.raises(PictureError):
        model.classify(broken)


@pytest.mark.parametrize("top", [0, -1, 1.5, True, "3"])
def test_top_must_be_a_whole_number(model, top):
    with pytest.raises(RequestError) as caught:
        model.classify(picture(), top=top)
    assert str(caught.value) and caught.value.say("id") != str(caught.value)


def test_reduced_decoding_does_not_change_the_answer(model):
    large = picture(1600, 1200).resize((3200, 2400))
    whole = io.BytesIO()
    large.save(whole, "PNG")
    assert dict(model.classify(jpeg(large))) == pytest.approx(dict(model.classify(whole.getvalue())), abs=0.02)


@pytest.mark.parametrize(
    "changes",
    [
        {"input": None},
        {"input": {"size": 224, "channels": 3, "mean": [0.5] * 3}},
        {"classes": CLASSES[:2]},
        {"classes": []},
        *(
            {"input": config()["input"] | odd}
            for odd in (
                {"size": "224"},
                {"size": 0},
                {"size": 10**6},
                {"channels": 2},
                {"mean": [0.5]},
                {"mean": [0.5, 0.5, "x"]},
                {"std": [1.0, 0.0, 1.0]},
                {"std": [1.0, float("nan"), 1.0]},
                {"views": 0},
                {"views": 10**6},
                {"close": 0},
                {"close": 2},
            )
        ),
    ],
)
def test_a_config_that_no_picture_can_be_brought_to_is_refused(folder, tmp_path, changes):
    odd = tmp_path / "odd"
    odd.mkdir()
    (odd / "model.safetensors").symlink_to(folder / "model.safetensors")
    (odd / "config.json").write_text(json.dumps(config() | changes))
    with pytest.raises(CheckpointError, match="odd"):
        catalog.load(odd)


def test_grey_models_take_colour_pictures(tmp_path):
    described = config("digit-judge", [str(i) for i in range(10)], 28, 1, (0.1307,), (0.3081,), 1)
    model = catalog.load(save(tmp_path / "digits", build_network(described).state_dict(), described))
    assert len(model.classify(picture())) == 10
    assert model.probabilities(torch.zeros(3, 1, 28, 28, dtype=torch.uint8)).shape == (3, 10)


def test_a_grey_models_blank_picture_is_no_cloth_to_doubt(tmp_path):
    described = config("digit-judge", [str(i) for i in range(10)], 28, 1, (0.1307,), (0.3081,), 1)
    model = catalog.load(save(tmp_path / "digits", build_network(described).state_dict(), described))
    answer = model.classify(Image.new("RGB", (64, 64), "white"))
    assert answer.batik is None and answer.sure


def test_a_photo_is_never_read_at_less_than_a_narrow_view_needs(folder, tmp_path):
    large = jpeg(picture(1600, 1200).resize((4000, 3000)))
    for close, least in ((1.0, 224), (0.25, 896)):
        changes = {"input": config()["input"] | {"close": close}}
        narrow = catalog.load(copied(folder, tmp_path / str(close), **changes))
        assert 2 * least <= min(narrow.explain(large).picture.size) < 3000 + (close < 1)


def test_views_cover_the_long_side_in_true_proportions():
    thirds = Image.new("RGB", (600, 200), (255, 0, 0))
    thirds.paste((0, 255, 0), (200, 0, 400, 200))
    thirds.paste((0, 0, 255), (400, 0, 600, 200))
    for given in (thirds, thirds.transpose(Image.Transpose.TRANSPOSE)):
        views = to_input(given, 64, 3, 3)
        assert views.shape == (3, 3, 64, 64) and views.dtype == torch.uint8
        expected = 255 * torch.eye(3, dtype=torch.uint8)[:, :, None, None].expand_as(views)
        # Resizing blends the outermost pixels with those beyond the cut.
        assert torch.equal(views[..., 2:-2, 2:-2], expected[..., 2:-2, 2:-2])
        assert torch.equal(to_input(given, 64, 3), views[1:2]), "one view is the centre"
    assert to_input(thirds, 28, 1, 1).shape == (1, 1, 28, 28)


def test_close_views_are_the_centre_and_the_corners():
    quarters = Image.new("RGB", (400, 400), (255, 255, 255))
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0)]
    for colour, place in zip(colours, [(0, 0), (300, 0), (0, 300), (300, 300)], strict=True):
        quarters.paste(colour, (*place, place[0] + 100, place[1] + 100))
    views = to_input(quarters, 32, 3, 5, close=0.25)
    assert views.shape == (5, 3, 32, 32)
    middle = views[:, :, 16, 16].tolist()
    assert middle == [[255, 255, 255], *map(list, colours)]


def test_normalisation():
    x = torch.randint(0, 256, (2, 3, 4, 4), dtype=torch.uint8)
    assert torch.allclose(normalised(x, [0.0] * 3, [1.0] * 3), x / 255)
    assert normalised(torch.full((1, 1, 2, 2), 255, dtype=torch.uint8), [0.5], [0.25]).max() == 2


def test_weights_for_other_classes_are_refused(folder, tmp_path):
    described = json.loads((folder / "config.json").read_text())
    described["arguments"]["classes"] = 4
    (tmp_path / "config.json").write_text(json.dumps(described))
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match="head.3.weight"):
        catalog.load(tmp_path)


def copied(folder, into, rejection=None, **changes):
    """The same weights under a changed config, and with a rejection."""
    into.mkdir()
    described = json.loads((folder / "config.json").read_text()) | changes
    (into / "config.json").write_text(json.dumps(described))
    (into / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    if rejection:
        save_file(rejection, into / "rejection.safetensors")
    return into


def test_the_temperature_divides_the_logits_of_every_view(folder, model, tmp_path):
    warm = catalog.load(copied(folder, tmp_path / "warm", temperature=4.0))
    x = to_input(picture(), 224, 3, 3)
    with torch.inference_mode():
        logits = model.network(normalised(x, [0.5] * 3, [0.25] * 3).to(model.device)).float().cpu()
    expected = (logits / 4).softmax(1).mean(0)
    assert [dict(warm.classify(picture()))[name] for name in CLASSES] == pytest.approx(expected.tolist(), abs=1e-3)
    assert torch.allclose(warm.probabilities(x), (logits / 4).softmax(1), atol=1e-3)
    assert warm.classify(picture()).probability < model.classify(picture()).probability


def test_below_the_stated_probability_an_answer_is_not_sure(folder, model, tmp_path):
    first = model.classify(picture()).probability
    assert model.classify(picture()).sure, "a config without the figure is always sure"
    assert catalog.load(copied(folder, tmp_path / "low", unsure_below=first - 0.01)).classify(picture()).sure
    unsure = catalog.load(copied(folder, tmp_path / "high", unsure_below=first + 0.01)).classify(picture())
    assert not unsure.sure and unsure.batik is None
    assert dict(unsure) == pytest.approx(dict(model.classify(picture())))


@pytest.mark.parametrize(
    "changes", [{"temperature": 0}, {"temperature": -1.0}, {"temperature": "warm"}, {"unsure_below": None}]
)
def test_a_config_with_senseless_numbers_is_refused(folder, tmp_path, changes):
    with pytest.raises(CheckpointError, match=next(iter(changes))):
        catalog.load(copied(folder, tmp_path / "odd", **changes))


def test_a_screenshot_is_answered(model):
    screen = Image.new("RGB", (1170, 2532), "white")
    for row in range(0, 2532, 84):
        screen.paste((40, 40, 48), (60, row, 200 + row * 37 % 900, row + 30))
    assert len(model.classify(screen)) == 3


def test_the_score_is_what_the_components_leave_over():
    torch.manual_seed(1)
    mean, scale, centre = torch.randn(4), torch.rand(4) + 0.5, 0.1 * torch.randn(4)
    basis = torch.linalg.qr(torch.randn(4, 2)).Q
    features = torch.randn(5, 4)
    expected = []
    for row in features:
        z = (row - mean) / scale
        left = z / z.norm() - centre
        for j in range(2):
            left = left - (left @ basis[:, j]) * basis[:, j]
        expected.append(-left.square().sum().item())
    wide = torch.cat([torch.randn(5, 1), features, torch.randn(5, 2)], 1)
    columns = torch.arange(1, 5)
    assert batik_score(wide, columns, mean, scale, centre, basis).tolist() == pytest.approx(expected, rel=1e-4)
    whole = torch.linalg.qr(torch.randn(4, 4)).Q
    assert batik_score(wide, columns, mean, scale, centre, whole).abs().max() < 1e-5


def rejection_for(model, threshold_of):
    """A rejection whose threshold is a function of that picture's score."""
    x = normalised(to_input(picture(), 224, 3, 3), [0.5] * 3, [0.25] * 3)
    with torch.inference_mode():
        features = model.network.embed(x.to(model.device)).float().cpu()
    made = {
        "columns": torch.arange(1280),
        "mean": torch.zeros(1280),
        "scale": torch.ones(1280),
        "centre": torch.zeros(1280),
    }
    made["basis"] = torch.eye(1280, 8)
    score = batik_score(features, **made).mean().item()
    return {**made, "threshold": torch.tensor([threshold_of(score)])}


def test_a_score_below_the_threshold_is_not_batik(folder, model, tmp_path):
    assert model.classify(picture()).batik is None
    near = catalog.load(copied(folder, tmp_path / "near", rejection_for(model, lambda score: 1.1 * score - 1e-4)))
    far = catalog.load(copied(folder, tmp_path / "far", rejection_for(model, lambda score: 0.9 * score + 1e-4)))
    assert near.classify(picture()).batik is True and near.classify(picture()).sure
    assert far.classify(picture()).batik is False and not far.classify(picture()).sure
    assert far.explain(picture()).answer.batik is False
    assert dict(far.classify(picture())) == pytest.approx(dict(model.classify(picture())), abs=1e-4)


def test_a_picture_is_as_much_batik_as_its_views_are_on_average(folder, model, tmp_path):
    tensors = rejection_for(model, lambda score: score)
    with torch.inference_mode():
        x = normalised(to_input(picture(), 224, 3, 3), [0.5] * 3, [0.25] * 3)
        features = model.network.embed(x.to(model.device)).float().cpu()
    views = batik_score(features, *(tensors[key] for key in ("columns", "mean", "scale", "centre", "basis")))
    for name, threshold, batik in (
        ("best", (views.mean() + views.max()) / 2, False),
        ("worst", (views.mean() + views.min()) / 2, True),
    ):
        made = copied(folder, tmp_path / name, tensors | {"threshold": threshold[None]})
        assert catalog.load(made).classify(picture()).batik is batik


@pytest.mark.parametrize("change", ["missing", "shape", "columns", "pickle"])
def test_a_rejection_that_does_not_fit_is_refused(folder, model, tmp_path, change):
    tensors = rejection_for(model, lambda score: score)
    if change == "missing":
        del tensors["basis"]
    if change == "shape":
        tensors["basis"] = torch.eye(7, 8)
    if change == "columns":
        tensors["columns"] = tensors["columns"] + 1
    made = copied(folder, tmp_path / "made", tensors)
    if change == "pickle":
        torch.save(tensors, made / "rejection.safetensors")
    with pytest.raises(CheckpointError, match="rejection.safetensors" if change in ("columns", "pickle") else "basis"):
        catalog.load(made)
    assert Rejection.load(folder) is None


def wall(noise):
    """A lit wall as a telephone sees it: shadows from side to side, and the sensor's noise."""
    y, x = np.mgrid[:900, :1200]
    grain = np.random.default_rng(0).normal(0, noise, (900, 1200)) if noise else 0
    return Image.fromarray(np.clip(215 - 60 * x / 1200 - 30 * y / 900 + grain, 0, 255).astype(np.uint8))


def test_a_blank_wall_is_not_batik(model):
    for blank in (wall(0), wall(6), wall(25), Image.new("RGB", (300, 200), "white"), Image.new("RGB", (40_000, 16))):
        assert model.classify(blank).batik is False and not model.classify(blank).sure


def test_cloths_are_not_blank(data):
    files = [sorted(folder.iterdir())[:3] for name in ("batik-motifs", "batik-gan") for folder in data(name).iterdir()]
    least = min(contrast(Image.open(path).convert("RGB")) for some in files for path in some)
    assert least > 6


@pytest.mark.parametrize("name", ["mobilenet-v2"])
def test_a_network_with_features_to_reject_by_is_its_head_on_them(name):
    network = build_network(config(name)).eval()
    x = torch.randn(2, 3, 96, 96)
    with torch.inference_mode():
        assert torch.allclose(network(x), network.head(network.embed(x)))
