"""What Canting can say of a motif: where it comes from, what it means, how to recognise it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache

from gan import texts
from gan.settings import ROOT


@dataclass(frozen=True)
class Motif:
    """Three short texts in one language, and where they can be read up; None where no source can be named."""

    origin: str
    meaning: str
    signs: str
    source: str | None


@cache
def motifs(language: str = "en") -> dict[str, Motif]:
    """Every motif described, by its class folder's name; English where ``language`` is not one of ours."""
    language = language if language in texts.LANGUAGES else "en"
    path = ROOT / "gan" / "texts" / f"motifs-{language}.json"
    return {label: Motif(**text) for label, text in json.loads(path.read_text(encoding="utf-8")).items()}
