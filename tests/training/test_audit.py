"""The audit: its rules on drawn pictures, its figures on the labelled real ones, and the manifests."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo

from gan.errors import DataError
from gan.settings import ROOT
from training import audit
from training.data.sources import open_source


def cloth(seed: int, side: int = 160) -> Image.Image:
    """A patterned picture like no other."""
    rough = np.random.default_rng(seed).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    return Image.fromarray(rough).resize((side, side), Image.Resampling.NEAREST)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed in range(11):
        cloth(seed).save(tmp_path / f"cloth-{seed:02d}.png")
    cloth(0, 320).save(tmp_path / "again.png")
    cloth(20, 100).save(tmp_path / "small.png")
    (tmp_path / "page.jpg").write_text("<html>")
    # Pillow refuses so much text with an error of its own.
    notes = PngInfo()
    notes.add_text("x", "x" * 2_000_000, zip=True)
    cloth(22).save(tmp_path / "notes.png", pnginfo=notes)
    cut_out = Image.new("RGB", (300, 300), "white")
    cut_out.paste(cloth(21, 220), (40, 40))
    cut_out.save(tmp_path / "cut-out.png")
    return tmp_path


def test_each_rule_finds_its_picture(folder: Path):
    rules = {one.name: one.rule for one in audit.audit(folder)}
    assert {name: rule for name, rule in rules.items() if rule} == {
        "cloth-00.png": "duplicate",
        "small.png": "small",
        "page.jpg": "unreadable",
        "notes.png": "unreadable",
        "cut-out.png": "strip",
    }


def test_a_twin_in_another_class_drops_both(tmp_path: Path):
    for name, seed in (("a/one.png", 1), ("b/two.png", 1), ("b/three.png", 2)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        cloth(seed).save(tmp_path / name)
    assert [one.rule for one in audit.audit(tmp_path)] == ["crosses", "", "crosses"]


def test_a_garment_on_white_is_no_flat_cloth():
    """White in the four corners only, so that no side has a plain strip."""
    fine = np.random.default_rng(23).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    garment, side = Image.fromarray(fine).resize((256, 256), Image.Resampling.NEAREST), 90
    assert audit.not_flat_cloth(garment) == ""
    for _ in range(4):
        ImageDraw.Draw(garment).polygon([(0, 0), (side, 0), (0, side)], "white")
        garment = garment.transpose(Image.Transpose.ROTATE_90)
    assert audit.not_flat_cloth(garment) == "blank"


def test_a_short_side_of_128_pixels_is_enough(tmp_path: Path):
    for side in (127, 128):
        cloth(3, side).save(tmp_path / f"{side}.png")
    assert [audit.look_at(tmp_path / f"{side}.png", "").rule for side in (127, 128)] == ["small", ""]


def test_a_twin_that_is_dropped_for_itself_takes_no_smaller_one_with_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("training.duplicates.duplicate_groups", lambda files: [0] * len(files))
    rules = {"large.png": (900, "strip"), "middle.png": (300, ""), "least.png": (200, "")}
    findings = [audit.Finding(name, "", width=side, height=side, rule=rule) for name, (side, rule) in rules.items()]
    audit.mark_duplicates([Path(name) for name in rules], findings)
    assert [one.rule for one in findings] == ["strip", "", "duplicate"]


def test_ten_pictures_are_enough():
    audit.check_enough([audit.Finding("", "")] * 10, "folder")
    with pytest.raises(DataError, match="only 9 can be used"):
        audit.check_enough([audit.Finding("", "")] * 9, "folder")


def test_the_sheet_begins_with_what_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    rules = {"a.png": "", "b.png": "small", "c.png": "unreadable", "d.png": "strip"}
    shown: list[audit.Finding] = []
    monkeypatch.setattr(audit, "contact_sheet", lambda _, findings: shown.extend(findings) or Image.new("RGB", (8, 8)))
    audit.write([audit.Finding(name, name, rule=rule) for name, rule in rules.items()], tmp_path, tmp_path / "out")
    assert [one.name for one in shown] == ["b.png", "d.png", "a.png"]


def test_the_command_writes_a_report_and_refuses_too_few(folder: Path, tmp_path: Path):
    command = [sys.executable, "-m", "training", "audit", folder, "--out", tmp_path / "out"]
    assert subprocess.run(command, cwd=ROOT, timeout=120).returncode == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "report.json", "contact-sheet.png", f"{folder.name}.csv"
    }  # fmt: skip
    copies = tmp_path / "copies"
    copies.mkdir()
    for number in range(12):
        shutil.copy(folder / "cloth-03.png", copies / f"{number}.png")
    with pytest.raises(DataError, match="only 1 can be used, and training needs 10. Left out: duplicate 11"):
        audit.check_enough(audit.audit(copies), "copies")


def test_sources_honour_a_manifest(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(audit, "MANIFESTS", tmp_path)
    findings = audit.audit(folder)
    audit.write_manifest(tmp_path / f"{folder.name}.csv", findings)
    curated, whole = open_source(str(folder), 64), open_source(f"{folder}!all", 64)
    assert "cut-out.png" in whole.names and "cut-out.png" not in curated.names
    assert "left out by the manifest" in curated.description
    for one in findings:
        one.rule = "small"
    audit.write_manifest(tmp_path / f"{folder.name}.csv", findings)
    with pytest.raises(DataError, match="leaves out all 16"):
        open_source(str(folder), 64)


def test_precision_and_recall_on_labelled_pictures(data):
    figures = audit.scores(data("batik-gan"))
    print(figures)
    assert figures["pictures"] >= 100 and figures["precision"] >= 0.85 and figures["recall_without_stamps"] >= 0.4


def test_the_held_labels_too(data):
    assert audit.scores(data("batik-gan"), "held")["precision"] >= 0.85
