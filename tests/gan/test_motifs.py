"""The texts on motifs: every class of the shipped classifiers, in both languages, nothing left out."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from gan import catalog
from gan.motifs import motifs
from gan.texts import LANGUAGES


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_class_of_the_shipped_classifiers_is_described(language):
    labels = {label for one in catalog.entries("classifier") for label in one.classes if label.startswith("batik-")}
    assert len(labels) >= 20
    assert labels <= set(motifs(language))


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_texts_are_short_and_whole(language):
    for label, one in motifs(language).items():
        for text in (one.origin, one.meaning, one.signs):
            assert 20 < len(text) < 330 and text.endswith("."), label
        assert one.source is None or len(one.source) > 5


def test_both_languages_describe_the_same_motifs_in_their_own_words():
    english, indonesian = motifs("en"), motifs("id")
    assert list(english) == list(indonesian)
    for label in english:
        first, second = asdict(english[label]), asdict(indonesian[label])
        assert all(first[part] != second[part] for part in ("origin", "meaning", "signs"))
        assert (first["source"] is None) == (second["source"] is None)


def test_an_unknown_language_gets_english():
    assert motifs("fr") == motifs("en")


def test_the_data_sets_classes_are_described(data):
    assert {folder.name for folder in data("batik-motifs").iterdir()} == set(motifs())
