"""The catalogue of texts: both languages say the same things, and every key that the code names exists."""

from __future__ import annotations

import dataclasses
import json
import re
from collections import Counter
from pathlib import Path
from string import Formatter

import pytest

from gan import settings
from gan.catalog import entries
from gan.settings import ROOT
from gan.texts import LANGUAGES, catalogue, say

TEXTS = catalogue()


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


@pytest.mark.parametrize("path", sorted((ROOT / "gan" / "texts").glob("*.json")), ids=lambda path: path.stem)
def test_no_sentence_is_there_twice(path: Path) -> None:
    """JSON takes the last one without a word."""
    json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=once)


def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    assert len(dict(pairs)) == len(pairs), Counter(key for key, _ in pairs).most_common(3)
    return dict(pairs)


def test_both_languages_have_the_same_keys() -> None:
    assert set(TEXTS["en"]) == set(TEXTS["id"])


@pytest.mark.parametrize("key", TEXTS["en"])
def test_both_languages_fill_the_same_placeholders(key: str) -> None:
    assert placeholders(TEXTS["en"][key]) == placeholders(TEXTS["id"][key])
    assert all(TEXTS[language][key].strip() for language in LANGUAGES)


def test_every_error_named_in_the_code_has_a_sentence() -> None:
    named = set()
    for folder in ("gan", "training"):
        for path in (ROOT / folder).rglob("*.py"):
            named |= set(re.findall(r"\"(error\.[a-z_.]+[a-z_])\"", path.read_text(encoding="utf-8")))
    assert named and named <= set(TEXTS["en"])


def test_an_unknown_language_gets_english() -> None:
    assert say("app.tagline", "fr") == TEXTS["en"]["app.tagline"]
    assert say("app.tagline", "id-ID") == TEXTS["id"]["app.tagline"]


def test_what_ships_has_a_title_in_both_languages() -> None:
    shipped = {one.name: one for one in entries()}
    assert all(f"model.{one.recipe}" in TEXTS["en"] and one.titled() == one.title for one in shipped.values())
    assert shipped["anime-best"].titled("id") == "Wajah anime"
    assert shipped["batik-parang"].titled("id") == "Batik Parang"


def test_a_title_that_its_owner_gave_stays() -> None:
    mine = dataclasses.replace(entries("generator")[0], title="Kain nenek")
    assert mine.titled("id") == mine.titled("en") == "Kain nenek"


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "soon", ""])
def test_a_patience_that_is_no_number_is_a_minute(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("CANTING_HUB_PATIENCE", value)
    assert settings.hub_patience() == 60


def test_an_account_without_a_home_has_a_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert settings.cache_folder().is_absolute()
