from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training import folds
from training.data.pictures import PictureSet
from training.folds import stratified_folds
from training.recipes import RECIPES, ClassifierRecipe

# Pictures as (class, group); groups may cross classes, as wrongly labelled twins do.
SETS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30)), min_size=12, max_size=80)


@settings(max_examples=30, deadline=None)
@given(SETS, st.integers(2, 6), st.integers(0, 5))
def test_every_picture_is_tested_once_and_no_group_is_divided(pictures, count, seed):
    labels, groups = [label for label, _ in pictures], [group for _, group in pictures]
    if len(set(groups)) < count:
        with pytest.raises(ValueError, match="cannot be split"):
            stratified_folds(labels, groups, count, seed)
        return
    assigned = stratified_folds(labels, groups, count, seed)
    # One number a picture: in exactly one fold's test part, in every other one's training part.
    assert len(assigned) == len(labels)
    assert set(assigned) <= set(range(count))
    for group in set(groups):
        assert len({fold for fold, of in zip(assigned, groups, strict=True) if of == group}) == 1
    assert assigned == stratified_folds(labels, groups, count, seed)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(5, 40), min_size=2, max_size=8), st.integers(2, 5), st.integers(0, 5))
def test_classes_are_spread_evenly_where_nothing_is_grouped(sizes, count, seed):
    labels = [label for label, size in enumerate(sizes) for _ in range(size)]
    assigned = stratified_folds(labels, range(len(labels)), count, seed)
    for label in range(len(sizes)):
        parts = [sum(1 for a, b in zip(assigned, labels, strict=True) if (a, b) == (f, label)) for f in range(count)]
        assert max(parts) - min(parts) <= 1
    wholes = [assigned.count(fold) for fold in range(count)]
    assert max(wholes) - min(wholes) <= len(sizes)


def test_pairs_are_spread_evenly_too():
    labels = [i // 40 for i in range(120)]
    groups = [i // 2 for i in range(120)]
    assigned = stratified_folds(labels, groups, 5)
    for label in range(3):
        assert [sum(assigned[i] == f for i in range(120) if labels[i] == label) for f in range(5)] == [8] * 5


def test_the_seed_changes_the_split():
    labels = [i % 3 for i in range(60)]
    assert stratified_folds(labels, range(60), 5, seed=0) != stratified_folds(labels, range(60), 5, seed=1)


def test_groups_reach_across_both_batik_folders(tmp_path, monkeypatch):
    """A chain of twins through the generators' folder ties two pictures of the classifiers' folder together."""
    monkeypatch.setenv("CANTING_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    names = ["batik-motifs/batik-bali/a.png", "batik-motifs/batik-celup/b.png", "batik-gan/batik-parang/c.png"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(name.encode())
    seen = []

    def grouped(files, features):
        assert len(features) == len(files)
        seen.append([str(file.relative_to(tmp_path)) for file in files])
        return [0] * len(files)

    monkeypatch.setattr(folds.duplicates, "duplicate_groups", grouped)
    monkeypatch.setattr(folds, "whole_features", lambda files: torch.zeros(len(files), 8))
    data = PictureSet([], names=["batik-bali/a.png", "batik-celup/b.png"])
    assert folds.groups_of(RECIPES["batik-cnn-3"], data) == [0, 0]
    assert sorted(seen[0]) == sorted(names)
    assert folds.groups_of(RECIPES["batik-cnn-3"], data) == [0, 0]
    assert len(seen) == 1, "the answer is kept"
    (tmp_path / names[0]).write_bytes(b"another cloth under the same name")
    folds.groups_of(RECIPES["batik-cnn-3"], data)
    assert len(seen) == 2


def test_blurred_copies_belong_to_the_groups_of_their_pictures(monkeypatch):
    recipe = replace(RECIPES["batik-best-20"], at_large="cloths", blurs=(8, 16), views=1, train_views=2)
    data = PictureSet([torch.zeros(3, 40, 40 + i, dtype=torch.uint8) for i in range(3)])
    asked, seen = [], []

    def of(shown: PictureSet) -> torch.Tensor:
        seen.append([tuple(picture.shape[1:]) for picture in shown.pictures])
        return torch.zeros(len(shown), int(shown.description), 5)

    def squares(shown: PictureSet, recipe: ClassifierRecipe) -> PictureSet:
        return replace(shown, description=str(max(recipe.views, recipe.train_views)))

    monkeypatch.setattr(folds, "opened", lambda recipe, source: asked.append(source) or data)
    monkeypatch.setattr(folds, "squares", squares)
    monkeypatch.setattr(folds, "groups_of", lambda recipe, data: [0, 1, 1])
    features, groups = folds.at_large(SimpleNamespace(recipe=recipe, bank=SimpleNamespace(of=of)))
    assert asked == ["cloths"] and features.shape == (6, 1, 5) and groups == [0, 1, 1] * 2
    assert seen == [[(40, 40), (40, 41), (40, 42)], [(8, 8), (16, 16), (8, 8)]]
