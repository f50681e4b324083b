"""The classes of what is handed in: told by folders and zips, whatever these are called, and looked through."""

from __future__ import annotations

import unicodedata
import zipfile
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gan.errors import DataError
from gan.pictures import open_picture
from tests.training.conftest import make_cloths
from training import labels
from training.basket import Item
from training.intake import take_in
from training.labels import judge, labels_of, mark_few, tidy, unequal, unify


def paths(*names: str) -> list[PurePosixPath]:
    return [PurePosixPath(name) for name in names]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["parang/1.jpg", "kawung/1.jpg"], ["parang", "kawung"]),
        (["parang/near/1.jpg", "kawung/far/2.jpg"], ["parang", "kawung"]),
        (["1.jpg", "2.jpg"], ["mine", "mine"]),
        (["parang/1.jpg", "readme.jpg"], ["parang", ""]),
        ([], []),
    ],
)
def test_folders_are_classes_and_a_zip_without_any_is_one(names: list[str], expected: list[str]):
    assert labels_of(paths(*names), "mine") == expected


@pytest.mark.parametrize(
    ("given_name", "label"),
    [
        ("  Kain   nenek ", "Kain nenek"),
        ("..", ""),
        ('a:b*c?"<>|d\\e', "a b c d e"),
        ("Kawung\u202e\x00\n", "Kawung"),
        ("\ud800parang", "parang"),
        ("e\u0301", "\u00e9"),
        ("batik." + "x" * 80, "batik." + "x" * 54),
    ],
)
def test_labels_are_tidied(given_name: str, label: str):
    assert tidy(given_name) == label


@given(st.text(max_size=90))
def test_any_label_can_be_a_folder_and_is_never_a_way_out(name: str):
    label = tidy(name)
    assert len(label) <= labels.LONGEST_LABEL and label == label.strip(". ")
    assert not set(label) & set('<>:"/\\|?*') and not any(unicodedata.category(letter) == "Cc" for letter in label)
    if label:
        with TemporaryDirectory() as folder:
            (Path(folder) / label).mkdir()
            assert [path.name for path in Path(folder).iterdir()] == [label]


names = st.text(st.characters(exclude_characters="/\\:\0", exclude_categories=["Cs"]), min_size=1, max_size=20).filter(
    # What a zip refuses, or passes over as hidden.
    lambda name: not name.startswith(".") and name != "__MACOSX" and name.strip() == name and name.isprintable()
)


@settings(max_examples=30, deadline=None)
@given(st.lists(names, min_size=2, max_size=5, unique=True), st.booleans())
def test_a_zip_of_folders_and_zips_by_class_say_the_same(classes: list[str], wrapped: bool):
    with TemporaryDirectory() as place:
        picture = Path(place) / "one.png"
        Image.new("RGB", (20, 20), "navy").save(picture)
        whole = Path(place) / "whole.zip"
        with zipfile.ZipFile(whole, "w") as archive:
            for name in classes:
                archive.write(picture, f"{'all/' * wrapped}{name}/one.png")
        taken = take_in(whole, Path(place) / "copies")
        assert sorted(one.label for one in taken) == sorted(map(tidy, classes))
        for number, one in enumerate(classes):
            with zipfile.ZipFile(Path(place) / f"{number}.zip", "w") as archive:
                archive.write(picture, f"{one}/one.png")
        # Of one folder alone the zip's own name counts.
        single = take_in([Path(place) / f"{number}.zip" for number in range(len(classes))], Path(place) / "more")
        assert sorted(one.label for one in single) == sorted(map(str, range(len(classes))))


def item(copy: str, label: str, group: int, rule: str = "") -> Item:
    return Item(f"{copy}.png", copy, label, group, rule)


def test_each_rule_by_which_a_picture_is_left_out():
    items = [
        item("a", "parang", 0),
        item("b", "kawung", 0, "duplicate"),
        item("c", "parang", 1),
        item("d", "parang", 1, "duplicate"),
        item("e", "kawung", 2, "blank"),
        item("f", "kawung", 3, "small"),
        item("g", "", 4),
        item("", "kawung", -1, "unreadable"),
        item("h", "parang", 5, "duplicate"),
        item("i", "parang", 5, "strip"),
    ]
    found = [(one.rule, one.like) for one in judge(items)]
    assert found == [
        ("crosses", "kawung/b.png"),
        ("crosses", "parang/a.png"),
        ("", ""),
        ("duplicate", "c.png"),
        ("", ""),  # a garment is no flat cloth, and may be recognised all the same
        ("small", ""),
        ("unlabelled", ""),
        ("unreadable", ""),
        ("", ""),
        ("duplicate", "h.png"),
    ]
    many = [item(f"p{i}", "parang", i) for i in range(5)] + [item(f"k{i}", "kawung", 9 + i) for i in range(4)]
    assert [one.rule for one in mark_few(many)] == [""] * 5 + ["few"] * 4


@given(st.lists(st.tuples(st.sampled_from(["", "a", "b"]), st.integers(0, 3), st.sampled_from(["", "small", "blank"]))))
def test_of_near_duplicates_at_most_one_is_kept_and_none_in_two_classes(facts: list[tuple[str, int, str]]):
    items = judge([item(str(i), label, group, rule) for i, (label, group, rule) in enumerate(facts)])
    for group in range(4):
        alike = [one for one in items if one.group == group]
        kept = [one for one in alike if not one.rule]
        usable = {one.label for one in alike if one.label and one.rule != "small"}
        assert len(kept) == (1 if len(usable) == 1 else 0)


def test_classes_that_cannot_be_learned_are_refused_by_name():
    enough = ["parang"] * 5 + ["kawung"] * 5
    labels.check(enough)
    for refused, sentence in (
        ([], "have no classes"),
        (["", ""], "have no classes"),
        ([*enough, ""], "1 of the pictures lie in no class"),
        (["parang"] * 9, "there is only parang"),
        ([*enough, "truntum", "truntum"], r"Too few: truntum \(2\)"),
    ):
        with pytest.raises(DataError, match=sentence) as caught:
            labels.check(refused)
        assert caught.value.say("id") != caught.value.say("en")


def test_unequal_classes_and_capitals():
    assert unequal(["a"] * 26 + ["b"] * 5) == ("a", "b")
    assert unequal(["a"] * 25 + ["b"] * 5) is None and unequal([]) is None
    items = [item("1", "Parang", 0), item("2", "PARANG", 1), item("3", "kawung", 2)]
    unify(items)
    assert [one.label for one in items] == ["Parang", "Parang", "kawung"]


def test_a_folder_of_class_folders_is_taken_in(tmp_path: Path):
    for name in ("parang", "kawung"):
        make_cloths(tmp_path / "cloths" / name, 2)
    taken = take_in(tmp_path / "cloths", tmp_path / "copies")
    assert [one.label for one in taken] == ["kawung"] * 2 + ["parang"] * 2
    assert {one.label for one in take_in(tmp_path / "cloths" / "parang", tmp_path / "more")} == {"parang"}


def test_one_picture_longer_than_jpeg_can_tell_spoils_no_drop(tmp_path: Path):
    make_cloths(tmp_path / "cloths", 1)
    Image.effect_noise((20, 66_000), 60).save(tmp_path / "cloths" / "scroll.png")
    taken = take_in(tmp_path / "cloths", tmp_path / "copies")
    assert [one.error for one in taken] == [None, None]
    assert max(open_picture(taken[1].copy).size) == 65_500
