"""A visitor's own models: listed and loaded for them alone, after those that everybody sees.

A visitor is known by a secret word, which their browser keeps. Who makes such models registers how to list them by it;
nothing here knows how they came to be. They are loaded a few at a time: the catalogue would keep every visitor's for
good.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gan import catalog
from gan.catalog import Entry
from gan.checkpoint import CONFIG, WEIGHTS
from gan.errors import CheckpointError
from gan.files import used

Source = Callable[[str], list[Entry]]
_sources: list[Source] = []


def register(source: Source) -> None:
    """Have ``source`` asked for a visitor's models, by the word that they are known by. Once is enough."""
    if source not in _sources:
        _sources.append(source)


def entries(owner: str, kind: str | None = None) -> list[Entry]:
    """The models that ``owner`` alone may use; none for nobody."""
    found = [one for source in _sources for one in source(owner)] if owner else []
    return [one for one in found if kind in (None, one.kind)]


def load(folder: Path) -> Any:
    """As :func:`gan.catalog.load`, for one of :func:`entries`; not kept for long.

    Raises:
        CheckpointError: when its files are not there or do not fit.
    """
    try:
        # Either may change without the other.
        versions = tuple((folder / name).stat().st_mtime_ns for name in (CONFIG, WEIGHTS))
    except OSError as error:
        raise CheckpointError("error.checkpoint.missing_file", folder=folder.name, file=WEIGHTS) from error
    used(folder)
    return _load(folder, versions)


@functools.lru_cache(maxsize=3)
def _load(folder: Path, versions: tuple[int, ...]) -> Any:
    return catalog.opened(folder, folder.parent.name)
