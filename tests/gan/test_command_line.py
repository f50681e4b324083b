"""python -m gan, on a small model of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from gan.__main__ import main
from gan.card import card, results_table
from gan.checkpoint import save
from gan.nets.cgan import ConditionalGenerator
from gan.pictures import read_metadata
from gan.settings import ROOT


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A CANTING_CHECKPOINTS with one generator of digits, called ``digits``."""
    monkeypatch.setenv("CANTING_CHECKPOINTS", str(tmp_path / "models"))
    arguments = {"latent_size": 4, "width": 4}
    config = {"kind": "generator", "title": "Digits", "network": "cgan", "arguments": arguments, "resolution": 28}
    torch.manual_seed(0)
    return save(tmp_path / "models" / "digits", ConditionalGenerator(**arguments).state_dict(), config).parent


def run(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr("sys.argv", ["canting", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        main()
    return end.value.code or 0


def test_list_shows_each_model(models: Path, monkeypatch, capsys) -> None:
    assert run(monkeypatch, "list") == 0
    assert capsys.readouterr().out.split() == ["digits", "generator", "28", "Digits"]


def test_sample_writes_pictures_that_know_how_they_were_made(models: Path, monkeypatch, tmp_path: Path) -> None:
    out = tmp_path / "pictures"
    assert run(monkeypatch, "sample", "digits", "--labels", "31", "--seed", 7, "--truncation", 0.5, "--out", out) == 0
    assert sorted(path.name for path in out.iterdir()) == ["digits-7-digit-3.png", "digits-8-digit-1.png"]
    with Image.open(out / "digits-8-digit-1.png") as picture:
        assert picture.size == (28, 28)
    facts = read_metadata(out / "digits-8-digit-1.png")
    assert (facts["model"], facts["digit"], facts["seed"], facts["truncation"]) == ("digits", "1", "8", "0.5")


def test_the_seeds_of_files_begin_anew_after_the_last(models: Path, monkeypatch, tmp_path: Path) -> None:
    assert run(monkeypatch, "sample", "digits", "--count", 2, "--seed", 2**31 - 1, "--out", tmp_path) == 0
    assert {path.name for path in tmp_path.glob("*.png")} == {"digits-2147483647.png", "digits-0.png"}
    assert read_metadata(tmp_path / "digits-0.png")["seed"] == "0"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["sample", "none"], "There is no model called none. There are: digits."),
        (["sample", str(ROOT / "checkpoints" / "judge-mnist")], "is not for this. These are: digits."),
        (["classify", "cloth.png", "--model", "digits"], "The model digits is not for this. These are: "),
        (["sample", "digits", "--count", 65], "Choose between 1 and 64 pictures."),
        (["sample", "digits", "--seed", -1], "A seed is a whole number"),
        (["sample", "digits", "--truncation", 9], "Truncation runs from 0 to 1.5."),
        (["sample", "digits", "--labels", "2a"], "digits, 0 to 9, and nothing else"),
        (["sample", "digits", "--labels", "2026", "--count", 2], "Give one label from 0 to 9 for each picture."),
        (["sample", "x" * 300], "There is no model called xxx"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_an_exit_code(models, monkeypatch, capsys, tmp_path, words, sentence):
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, *words) == 1
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1
    assert list(tmp_path.glob("*.png")) == []


def test_the_table_shows_what_was_measured(models: Path) -> None:
    assert "not yet" in results_table()
    figures = {"fid": 12.345, "kid": 0.01, "recall": 0.5, "generated": 100, "real": 90, "reference": "digits"}
    (models / "digits" / "metrics.json").write_text(json.dumps(figures | {"steps": 2000, "digit_accuracy": 0.987}))
    table = results_table()
    assert "98.7% of digits read as asked; FID 12.3" in table and "2,000" in table
    for some in ({"fid": 3}, {"accuracy": 0.5}, [1]):
        (models / "digits" / "metrics.json").write_text(json.dumps(some))
        assert "not yet" in results_table() and card(models / "digits")
    figures = {"accuracy": 0.5, "accuracy_low": 0.4, "accuracy_high": 0.625, "images": 1234, "folds": 5}
    (models / "digits" / "metrics.json").write_text(json.dumps(figures))
    assert "50.0% (40.0% to 62.5%; 5 folds, 1,234 pictures)" in results_table()


def test_classify_says_what_is_no_batik_and_goes_on_past_broken_files(tmp_path: Path, monkeypatch, capsys) -> None:
    Image.new("RGB", (64, 64), "white").save(tmp_path / "wall.png")
    Image.effect_noise((64, 64), 90).convert("RGB").save(tmp_path / "cloth.png")
    (tmp_path / "paper.jpg").write_bytes(b"%PDF-1.7\n" + bytes(100))
    files = [tmp_path / name for name in ("paper.jpg", "wall.png", "cloth.png")]
    assert run(monkeypatch, "classify", *files, "--model", "batik-cnn-3", "--top", 1) == 1
    told = capsys.readouterr()
    wall, cloth = told.out.splitlines()
    assert wall.startswith(f"{files[1]}: not batik? batik-") and cloth.startswith(f"{files[2]}: batik-")
    assert "PDF document" in told.err
