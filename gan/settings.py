"""Every setting that comes from the environment, read in one place."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from pathlib import Path

VERSION = "0.1.0"
ROOT = Path(__file__).resolve().parent.parent
# Where a Space has its attached storage, if any; the rest of its disk is emptied at every restart.
STORAGE = Path("/data")


def _folder(variable: str, default: str) -> Path:
    return Path(os.environ.get(variable) or ROOT / default).expanduser().resolve()


def data_folder() -> Path:
    """Where data sets lie: ``CANTING_DATA``, else ``data/`` beside the code."""
    return _folder("CANTING_DATA", "data")


def checkpoints_folder() -> Path:
    """Where models lie, one folder each: ``CANTING_CHECKPOINTS``, else ``checkpoints/``."""
    return _folder("CANTING_CHECKPOINTS", "checkpoints")


def runs_folder() -> Path:
    """Where training runs are kept: ``CANTING_RUNS``, else ``runs/``, on a Space in attached storage if it has any."""
    return _folder("CANTING_RUNS", f"{STORAGE}/runs" if _storage() else "runs")


def runs_last() -> bool:
    """Whether runs outlive a restart: not on a Space, unless in attached storage or where its owner put them."""
    return not on_space() or _storage() or bool(os.environ.get("CANTING_RUNS"))


def _storage() -> bool:
    """Whether this is a Space with attached storage."""
    return on_space() and STORAGE.is_dir() and os.access(STORAGE, os.W_OK)


def cache_folder() -> Path:
    """What can be made again at any time: ``XDG_CACHE_HOME/canting``, else ``~/.cache/canting``."""
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "canting"
    except RuntimeError:
        # An account without a home, as in some containers.
        return Path(tempfile.gettempdir()) / "canting"


def hub_patience() -> float:
    """How long the Hub may go without a useful answer, in seconds: ``CANTING_HUB_PATIENCE``, else a minute."""
    return _number("CANTING_HUB_PATIENCE", 60.0)


def on_space() -> bool:
    """Whether this is a Hugging Face Space, as Gradio sees it: elsewhere it would sign everybody in as the machine."""
    return os.environ.get("SYSTEM") == "spaces" and bool(os.environ.get("SPACE_ID"))


def publishing() -> bool | None:
    """Whether visitors may publish: ``CANTING_PUBLISH``, 1 or 0; ``None`` where the owner has not said."""
    return {"1": True, "0": False}.get(os.environ.get("CANTING_PUBLISH", "").strip())


def training_allowed() -> bool:
    """Whether visitors may train: ``CANTING_TRAIN``, 1 or 0; where the owner has not said, anywhere but on a Space."""
    return {"1": True, "0": False}.get(os.environ.get("CANTING_TRAIN", "").strip(), not on_space())


def run_slots() -> int:
    """How many trainings go on at once: ``CANTING_RUNS_AT_ONCE``, else 1."""
    return max(1, int(_number("CANTING_RUNS_AT_ONCE", 1)))


def niceness() -> int:
    """How far trainings give way to everything else on the machine: ``CANTING_NICE``, 0 to 19, else 10."""
    return min(19, int(_number("CANTING_NICE", 10)))


def keep_days() -> float:
    """After how many days a visitor's pictures and runs are deleted: ``CANTING_KEEP_DAYS``, else 7 on a Space; 0 is
    never."""
    return _number("CANTING_KEEP_DAYS", 7 if on_space() else 0)


def most_runs() -> int:
    """How many runs a visitor may keep: ``CANTING_MOST_RUNS``, else 5 on a Space; 0 is any number."""
    return int(_number("CANTING_MOST_RUNS", 5 if on_space() else 0))


def most_gigabytes() -> float:
    """How much disk a visitor's runs may take: ``CANTING_MOST_GB``, else 5 on a Space; 0 is any amount."""
    return _number("CANTING_MOST_GB", 5 if on_space() else 0)


def answers_folder() -> str:
    """A folder for what visitors send and get, made where there is none: the account's own, which no other can read."""
    if not hasattr(os, "getuid"):  # each account of a Windows machine has temporary files of its own
        return f"{tempfile.gettempdir()}/canting"
    folder = Path(tempfile.gettempdir()) / f"canting-{os.getuid()}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(0o700)
    facts = folder.lstat()
    # Another account may have been there first.
    ours = stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.getuid() and not facts.st_mode & 0o077
    return str(folder) if ours else tempfile.mkdtemp(prefix="canting-")


def _number(variable: str, default: float) -> float:
    """A number of at least 0 from the environment; the default for anything else."""
    try:
        number = float(os.environ.get(variable) or default)
    except ValueError:
        return default
    return number if 0 <= number < float("inf") else default
