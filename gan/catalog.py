"""Which models there are. Reads small files only; weights load on first use, each once."""

from __future__ import annotations

import contextlib
import json
import math
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gan.checkpoint import CONFIG, REJECTION, WEIGHTS, read_config
from gan.errors import CheckpointError
from gan.settings import checkpoints_folder
from gan.texts import title_of


@dataclass(frozen=True)
class Entry:
    """What is known of a model without loading it."""

    name: str
    kind: str
    title: str
    folder: Path
    resolution: int
    channels: int = 3
    classes: tuple[str, ...] = ()
    recipe: str = ""
    metrics: dict[str, Any] = field(default_factory=dict)  # numbers, and "reference"

    def titled(self, language: str = "en") -> str:
        """The title in a language: one that a recipe gave is translated, one that its owner gave is not."""
        return title_of(self.recipe, language) if self.title == title_of(self.recipe) else self.title

    @property
    def digits(self) -> bool:
        """Whether a generator draws the ten digits, small and grey, and so belongs to the Digits tab."""
        return len(self.classes) == 10 and self.channels == 1 and self.resolution <= 32

    @property
    def samples(self) -> Path | None:
        """The grid of consecutive seeds that ships with a generator."""
        path = self.folder / "samples.png"
        return path if path.is_file() else None


LARGEST_SIDE = 4096
# What of a config is shown of a model, or told apart by.
USUAL = {"kind": str, "title": str, "resolution": int, "channels": int, "classes": list, "recipe": str}


def entry(folder: Path) -> Entry:
    """Read one checkpoint folder. Raises CheckpointError when its config cannot be used."""
    config = read_config(folder)
    try:
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        metrics = {}
    # As others may have written it: what is shown of a model, and sorted by, has to be what it is taken for.
    said = {"kind": "", "title": folder.name, "resolution": 0, "channels": 3, "classes": [], "recipe": ""}
    said |= {key: config[key] for key in said if key in config}
    for key, usual in USUAL.items():
        if type(said[key]) is not usual:
            raise CheckpointError("error.checkpoint.config", folder=folder.name, detail=f"{key} is no {usual.__name__}")
    if not 0 <= said["resolution"] <= LARGEST_SIDE or said["channels"] not in (1, 3):
        detail = f"{said['resolution']}² × {said['channels']} are no pictures"
        raise CheckpointError("error.checkpoint.config", folder=folder.name, detail=detail)
    if not all(isinstance(one, str) for one in said["classes"]):
        raise CheckpointError("error.checkpoint.config", folder=folder.name, detail="a class has no name")
    return Entry(
        name=folder.name,
        kind=said["kind"],
        title=said["title"],
        folder=folder,
        resolution=said["resolution"],
        channels=said["channels"],
        classes=tuple(said["classes"]),
        recipe=said["recipe"],
        metrics=figures_of(metrics),
    )


def figures_of(metrics: Any) -> dict[str, Any]:
    """What is a number in a ``metrics.json``, and what the pictures were that it was measured against."""
    found = metrics if isinstance(metrics, dict) else {}
    numbers = {key: value for key, value in found.items() if is_number(value)}
    return {**numbers, "reference": str(found["reference"])} if "reference" in found else numbers


def is_number(value: Any) -> bool:
    """Whether something out of a JSON file is a number that can be reckoned with: JSON's whole ones have no end."""
    # None of what is kept of a model comes near it, and a float still tells it from the next one.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**53


def entries(kind: str | None = None) -> list[Entry]:
    """Every model at hand by name; folders that cannot be read are left out. ``kind``: "generator", "classifier"."""
    found = []
    root = checkpoints_folder()
    for folder in sorted(root.iterdir()) if root.is_dir() else ():
        # A dot in front: a model that is still being fetched.
        if not folder.name.startswith(".") and (folder / CONFIG).is_file() and (folder / WEIGHTS).is_file():
            try:
                found.append(entry(folder))
            except CheckpointError:
                continue
    return [one for one in found if kind in (None, one.kind)]


def best_first(models: list[Entry]) -> list[Entry]:
    """Batik first, which is what people come for, the best by FID before the others; "-report" after all of them."""

    def place(one: Entry) -> tuple[bool, bool, float, str]:
        return (
            one.name.endswith("-report"),
            not one.name.startswith("batik"),
            one.metrics.get("fid", math.inf),
            one.name,
        )

    return sorted(models, key=place)


def available() -> list[str]:
    """Names of the models at hand."""
    return [one.name for one in entries()]


def find(name: str | Path) -> Path:
    """The folder of a name, a folder or a Hub id (``owner/name``, downloaded into the Hub's cache).

    Raises:
        CheckpointError: when there is no such model.
        HubError: when there is none on the Hub, or it cannot be fetched.
    """
    text = str(name)
    local = checkpoints_folder() / text
    # A name may be longer than the system allows.
    with contextlib.suppress(OSError):
        if text and text not in (".", "..") and "/" not in text and "\\" not in text and local.is_dir():
            return local
        if Path(text).is_dir() and (Path(text) / CONFIG).exists():
            return Path(text)
    if text.count("/") == 1 and not text.startswith((".", "/")):
        from gan.hub import cached

        return cached(text)
    raise CheckpointError("error.checkpoint.unknown", name=text, known=", ".join(available()) or "-")


_loaded: dict[Path, tuple[list[float], Any]] = {}
_loading: dict[Path, threading.Lock] = {}


def load(name: str | Path) -> Any:
    """A :class:`gan.sampling.Generator` or :class:`gan.classify.Classifier`, kept for the next call.

    A folder whose weights or config have changed since is read again.

    Raises:
        CheckpointError: when there is no such model or its files do not fit.
    """
    folder = find(name).resolve()
    # A folder of the Hub's cache is named after its commit.
    label = str(name) if folder.parent.name == "snapshots" else folder.name
    parts = [folder / name for name in (WEIGHTS, CONFIG, REJECTION)]
    changed = [path.stat().st_mtime if path.is_file() else 0.0 for path in parts]
    # While one loads, others that have been loaded answer.
    with _loading.setdefault(folder, threading.Lock()):
        if folder in _loaded and _loaded[folder][0] == changed:
            return _loaded[folder][1]
        _loaded[folder] = (changed, opened(folder, label))
        return _loaded[folder][1]


def opened(folder: Path, label: str) -> Any:
    """The model in a checkpoint folder, read anew and called ``label``. Raises CheckpointError as :func:`load`."""
    from gan.checkpoint import load_folder

    config, network = load_folder(folder)
    if config["kind"] == "generator":
        from gan.sampling import Generator

        return Generator(label, config, network)
    from gan.classify import Classifier, Rejection

    return Classifier(label, config, network, Rejection.load(folder))
