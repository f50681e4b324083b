"""Checkpoint folders: strict loading, and a sentence for everything that can be wrong with one."""

from __future__ import annotations

import copy
import json
import os
import pickle
import threading
from collections import Counter
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from gan import CantingError, catalog
from gan.card import card, confused
from gan.checkpoint import LARGEST_IN_HALF, REJECTION, load_folder, load_weights, save, save_weights
from gan.errors import CheckpointError, PictureError
from gan.nets.dense import DenseGenerator
from training.intake import TooFew, UploadError

CONFIG = {
    "kind": "generator",
    "title": "Small pictures",
    "network": "dense",
    "arguments": {"latent_size": 4},
    "recipe": "cifar10-dense",
    "resolution": 32,
    "source": "cifar10:train",
    "report": "R4",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sound checkpoint called ``small`` in an otherwise empty CANTING_CHECKPOINTS."""
    monkeypatch.setenv("CANTING_CHECKPOINTS", str(tmp_path))
    torch.manual_seed(0)
    return save(tmp_path / "small", DenseGenerator(4).state_dict(), CONFIG)


def test_what_was_saved_is_loaded(folder: Path) -> None:
    config, network = load_folder(folder)
    assert config["network"] == "dense" and not network.training
    torch.manual_seed(0)
    original = DenseGenerator(4).state_dict()
    for key, tensor in network.state_dict().items():
        if tensor.numel() > LARGEST_IN_HALF:
            off, largest = (tensor - original[key]).abs().amax(1), original[key].abs().amax(1)
            assert (off <= largest / 253).all(), "eight bits"
        else:
            torch.testing.assert_close(tensor, original[key], rtol=1e-3, atol=1e-4)
    assert load_file(folder / "model.safetensors")["layers.0.weight"].dtype == torch.float16


def test_a_tensor_of_millions_of_weights_keeps_eight_bits(tmp_path: Path) -> None:
    torch.manual_seed(0)
    matrix = torch.randn(3, (1 << 21) // 3 + 1) * torch.tensor([[1e-6], [1.0], [0.0]])
    save_weights(tmp_path / "large", {"dense.weight": matrix, "dense.bias": torch.ones(3)})
    save_weights(
        tmp_path / "kernels", {"up.weight": torch.randn(512, 4097, 1, 1), "conv.weight": torch.randn(9, 9, 3, 3)}
    )
    stored = load_file(tmp_path / "kernels")
    assert stored["up.weight"].dtype == torch.int8 and stored["conv.weight"].dtype == torch.float16
    assert (tmp_path / "large").stat().st_size < 1.01 * matrix.numel()
    network = nn.Module()
    network.dense = nn.Linear(matrix.shape[1], 3)
    load_weights(network, tmp_path / "large")
    off = (network.dense.weight - matrix).abs().amax(1)
    assert (off <= matrix.abs().amax(1) / 253).all() and network.dense.weight.dtype == torch.float32
    assert (network.dense.bias == 1).all()


def test_what_only_training_begins_with_keeps_eight_bits_of_each_channel(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(32, 64, 3), nn.BatchNorm2d(64), nn.Conv2d(64, 3, 1))
    path = tmp_path / "coarse"
    save_weights(path, network.state_dict(), coarse=True)
    assert path.stat().st_size < 1.2 * network[0].weight.numel()
    loaded = load_weights(copy.deepcopy(network), path).state_dict()
    for key, tensor in network.state_dict().items():
        unit = tensor.abs().flatten(1).amax(1).view(-1, 1, 1, 1) if tensor.dim() > 1 else 1.0
        assert ((loaded[key] - tensor).abs() <= unit / 253).all()
    # Small ones keep half precision.
    assert load_file(path)["2.weight"].dtype == torch.float16


def change(folder: Path, edit) -> None:
    path = folder / "model.safetensors"
    weights = load_file(path)
    edit(weights)
    save_file(weights, path)


def test_a_missing_key_is_named(folder: Path) -> None:
    change(folder, lambda weights: weights.pop("layers.9.bias"))
    with pytest.raises(CheckpointError, match="lack layers.9.bias"):
        load_folder(folder)


def test_an_unknown_key_is_named(folder: Path) -> None:
    change(folder, lambda weights: weights.update({"head.weight": torch.zeros(1)}))
    with pytest.raises(CheckpointError, match=r"hold head\.weight"):
        load_folder(folder)


def test_a_swapped_shape_is_shown(folder: Path) -> None:
    change(folder, lambda weights: weights.update({"layers.0.weight": weights["layers.0.weight"].T.contiguous()}))
    with pytest.raises(CheckpointError, match=r"layers\.0\.weight has shape \[4, 256\] .* needs \[256, 4\]"):
        load_folder(folder)


class Evil:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was executed",))


@pytest.mark.parametrize("content", [pickle.dumps(Evil()), b"", b"<html>404</html>", b"\xff" * 64])
def test_a_file_that_is_no_safetensors_is_refused_and_never_executed(folder: Path, content: bytes) -> None:
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        load_folder(folder)


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(folder: Path, file: str) -> None:
    (folder / file).unlink()
    with pytest.raises(CheckpointError, match=f"small has no {file}"):
        load_folder(folder)


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ("{", "cannot be used"),
        ("[]", "cannot be used"),
        ('{"kind": "generator"}', "no network, arguments"),
        (json.dumps(CONFIG | {"network": "gpt"}), "no network called 'gpt'"),
        (json.dumps(CONFIG | {"arguments": {"layers": 9}}), "does not take these arguments"),
        (json.dumps(CONFIG | {"arguments": {"latent_size": -1}}), "negative dimension"),
        (json.dumps(CONFIG | {"arguments": {"latent_size": 2**60}}), "cannot be built|Storage size|memory"),
    ],
)
def test_a_config_that_cannot_be_used_is_explained(folder: Path, config: str, sentence: str) -> None:
    (folder / "config.json").write_text(config)
    with pytest.raises(CheckpointError, match=sentence):
        load_folder(folder)


def test_weights_that_do_not_fit_are_not_saved(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        save(tmp_path / "odd", DenseGenerator(5).state_dict(), CONFIG)
    assert not (tmp_path / "odd").exists()


def test_the_catalog_lists_sound_folders_and_loads_each_once(folder: Path) -> None:
    broken = folder.parent / "broken"
    broken.mkdir()
    (broken / "config.json").write_text("{")
    (broken / "model.safetensors").write_bytes(b"")
    assert catalog.available() == ["small"]
    assert catalog.entries("classifier") == []
    model = catalog.load("small")
    assert catalog.load("small") is model and catalog.load(folder) is model
    # New weights under the same name are read again.
    save(folder, DenseGenerator(4).state_dict(), CONFIG)
    assert (newer := catalog.load("small")) is not model
    # And a new config: a classifier's temperature stands in it, and whether it is ever unsure.
    os.utime(folder / "config.json", (1, 1))
    assert catalog.load("small") is not newer


@pytest.mark.parametrize("name", ["", ".", "..", "none", "../small", "a/b/c", "/", "small\\..\\x"])
def test_a_name_that_is_no_model_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(CheckpointError, match="There is no model called|could not be fetched"):
        catalog.find(name)


def test_errors_speak_both_languages(folder: Path) -> None:
    with pytest.raises(CantingError) as caught:
        catalog.load("none")
    assert str(caught.value) == "There is no model called none. There are: small."
    assert caught.value.say("id") == "Tidak ada model bernama none. Yang tersedia: small."


def test_while_one_model_loads_others_answer(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog.load("small")
    save(folder.parent / "slow", DenseGenerator(4).state_dict(), CONFIG)
    opened, begun, go_on = catalog.opened, threading.Event(), threading.Event()

    def slowly(*arguments: object) -> object:
        begun.set()
        assert go_on.wait(20)
        return opened(*arguments)

    monkeypatch.setattr(catalog, "opened", slowly)
    loading = threading.Thread(target=catalog.load, args=("slow",))
    loading.start()
    other = threading.Thread(target=catalog.load, args=("small",))
    try:
        assert begun.wait(20)
        other.start()
        other.join(20)
        assert not other.is_alive()
    finally:
        go_on.set()
        loading.join()


def test_errors_cross_from_one_process_to_another() -> None:
    reason = PictureError("error.picture.small", width=3, height=4, least=16)
    for error in (reason, UploadError("kain.jpg", reason), TooFew(12, Counter(duplicate=5))):
        for same in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
            assert type(same) is type(error) and same.say("id") == error.say("id")
            assert repr(same) == repr(error)


def test_the_card_shows_figures_data_and_limits(folder: Path) -> None:
    figures = {"fid": 300.25, "generated": 1000, "command": "python -m training evaluate small", "date": "2026-01-02"}
    (folder / "metrics.json").write_text(json.dumps(figures))
    text = card(folder)
    assert text.startswith("---\n") and "license: apache-2.0" in text
    for part in ("300.2", "1,000", "python -m training evaluate small", "CIFAR-10 (JPEG)", "## Limits", "## Licence"):
        assert part in text


def test_a_card_says_what_a_model_was_taught_and_when_it_doubts(folder: Path) -> None:
    cloth = {**CONFIG, "report": "R3", "kind": "classifier", "source": "batik-motifs", "start": "imagenet"}
    (folder / REJECTION).write_bytes(b"")

    def text(**changes: object) -> str:
        (folder / "config.json").write_text(json.dumps(cloth | changes))
        return card(folder)

    assert "798 pictures" in text() and "ImageNet's weights" in text() and "however low" in text()
    assert "when it is unsure" in text(unsure_below=0.5) and "however low" not in text(unsure_below=0.5)
    assert "These classes alone" in text(source="batik-motifs:batik-bali,batik-celup")
    assert "near-duplicates, which" in text(source="batik-gan")
    assert "training/manifests" in text(source="batik-gan/batik-parang", kind="generator")


def test_a_card_names_the_most_frequent_mistakes(tmp_path):
    (tmp_path / "confusion.csv").write_text("true \\ predicted,a,b\na,7,1\nb,3,0\n")
    assert confused(tmp_path / "confusion.csv") == "- b taken for a: 3 of 3\n- a taken for b: 1 of 8"


@pytest.mark.parametrize(
    ("source", "licence", "sentence"),
    [
        ("mnist:train", "apache-2.0", "are under the Apache licence 2.0"),
        *(
            (source, "other", "carry no stated licence")
            for source in ("batik-gan/batik-parang", "batik-motifs", "anime-faces", "12 pictures", "/home/me/mnist")
        ),
    ],
)
def test_only_what_was_learned_from_free_pictures_is_free(
    folder: Path, source: str, licence: str, sentence: str
) -> None:
    (folder / "config.json").write_text(json.dumps(CONFIG | {"source": source}))
    assert f"\nlicense: {licence}\n" in card(folder) and sentence in card(folder)


def test_a_card_speaks_of_curation_only_where_there_was_one(folder: Path) -> None:
    for source, curated in (("batik-gan/batik-parang", True), ("batik-gan/batik-parang!all", False)):
        (folder / "config.json").write_text(json.dumps(CONFIG | {"source": source}))
        assert ("without near-duplicates" in card(folder)) is curated


def test_a_card_shows_copies_in_the_column_of_what_was_generated(folder: Path) -> None:
    (folder / "metrics.json").write_text(json.dumps({"fid": 1.0}))
    lines = ["from,to,generated,training", "0.000,1.500,0.2500,1.0000", "1.500,3.000,0.7500,0.0000"]
    (folder / "nearest.csv").write_text("\n".join(lines))
    _, rows = card(folder).split("| distance | generated | training |\n|---|---|---|\n")
    assert rows.split("\n")[:2] == [
        f"| 0.0 to 1.5 | {'█' * 10} 25.0% | {'█' * 40} 100.0% |",
        f"| 1.5 to 3.0 | {'█' * 30} 75.0% |  0.0% |",
    ]


def test_a_card_promises_to_turn_pictures_away_only_where_the_model_can(folder: Path) -> None:
    cloth = {**CONFIG, "report": "R3", "kind": "classifier", "source": "batik-motifs", "unsure_below": 0.5}
    (folder / "config.json").write_text(json.dumps(cloth))
    always = "answers with one of them whatever it is shown"
    assert always in card(folder)
    (folder / REJECTION).write_bytes(b"")
    assert always not in card(folder)


def test_a_card_says_what_a_training_began_from(folder: Path) -> None:
    for start, sentence in (("small", "an earlier state of this model"), ("/home/me/base", "began from `base`")):
        (folder / "config.json").write_text(json.dumps(CONFIG | {"start": start}))
        assert sentence in card(folder)
