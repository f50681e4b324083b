"""What the Train tab shows of a visitor's pictures: as the model will see them, and beside what it makes."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image, ImageOps

from gan.pictures import open_picture
from tests.training.conftest import make_cloths
from training.views import augmented, compare


def test_copies_are_told_from_pictures_of_its_own(tmp_path: Path):
    files = make_cloths(tmp_path / "cloths", 16)
    fresh = [open_picture(path) for path in make_cloths(tmp_path / "fresh", 20)[16:]]
    real = [open_picture(path) for path in files]
    copies = [real[3], ImageOps.mirror(real[7]), real[11].resize((64, 66), Image.Resampling.BICUBIC)]
    matches = compare([*copies[:2], *fresh], files)
    assert [(one.real, one.mirrored, one.copies) for one in matches[:2]] == [(3, False, True), (7, True, True)]
    assert [one.copies for one in matches[2:]] == [False] * 4
    assert compare(copies[2:], files)[0].real == 11


@pytest.mark.usefixtures("studio")
def test_the_preview_is_of_the_models_size_and_changed(pictures: list[Path]):
    shown = augmented(pictures[:8], "tiny")
    assert [one.size for one in shown] == [(64, 64)] * 8
    assert len({one.tobytes() for one in shown}) == 8
