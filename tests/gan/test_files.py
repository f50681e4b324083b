"""Files and folders that are written whole or not at all."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from gan.files import atomic, replacing


def test_what_is_written_can_be_read_by_others(tmp_path: Path) -> None:
    """The app may run as another user than the one who trained."""
    with atomic(tmp_path / "deep" / "config.json") as path:
        path.write_text("{}")
    assert stat.S_IMODE((tmp_path / "deep" / "config.json").stat().st_mode) == 0o644


def test_a_file_that_fails_leaves_the_one_before_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("before")
    with pytest.raises(KeyboardInterrupt), atomic(tmp_path / "config.json") as path:
        path.write_text("half")
        raise KeyboardInterrupt
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("config.json", "before")]


def test_a_folder_that_cannot_take_its_place_leaves_the_one_before(tmp_path: Path, monkeypatch) -> None:
    folder, rename = tmp_path / "model", Path.rename
    folder.mkdir()
    (folder / "before").touch()

    def refused(self: Path, target: Path) -> Path:
        """Setting aside and bringing back succeed, what lies between does not."""
        if self.name == folder.name and target == folder:
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refused)
    with pytest.raises(OSError, match="No space"), replacing(folder) as made:
        (made / "after").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["model", "before"]
