"""Every sentence that a person reads, in English (``en.json``) and Indonesian (``id.json``)."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

LANGUAGES = ("en", "id")


@cache
def catalogue() -> dict[str, dict[str, str]]:
    """Texts by language and key, as ``gr.I18n`` takes them."""
    folder = Path(__file__).parent
    return {code: json.loads((folder / f"{code}.json").read_text(encoding="utf-8")) for code in LANGUAGES}


def say(key: str, language: str = "en", /, **values: object) -> str:
    """The text under ``key`` with its placeholders filled; English where ``language`` is not one of ours.

    Raises:
        KeyError: for a key that is in no catalogue.
    """
    texts = catalogue()
    return texts.get(language[:2].lower(), texts["en"])[key].format(**values)


def title_of(recipe: str, language: str = "en") -> str:
    """What a recipe's model is called; the recipe's own name where nothing else is written down."""
    key = f"model.{recipe}"
    return say(key, language) if key in catalogue()["en"] else recipe
