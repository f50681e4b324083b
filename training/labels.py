"""The classes of pictures that somebody hands in: told by their folders and zips, and looked through for what would
mislead a classifier.

Every picture is kept or left out by one rule, the first that applies:

- ``unreadable``, ``small``: as in ``training.audit``. What is not flat cloth is no fault here: a photo to be recognised
  may be of a garment too.
- ``unlabelled``: it lies in no class.
- ``crosses``: a near-duplicate lies in another class, so one of the two names is wrong.
- ``duplicate``: a near-duplicate in the same class is kept.
- ``few``: fewer than 5 pictures of its class are left.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from gan.errors import DataError

if TYPE_CHECKING:
    from training.basket import Item

LEAST_OF_A_CLASS = 5
# With more than this many times as many pictures of one class as of another, answers lean towards the larger.
UNEQUAL = 5
LONGEST_LABEL = 60
# Labels become folder names, on any system.
UNUSABLE = re.compile(r'[<>:"/\\|?*]')


def labels_of(names: Sequence[PurePosixPath], container: str) -> list[str]:
    """The class of each picture of a folder or zip called ``container``, "" for those in no class.

    With class folders a picture's class is the outermost folder it lies in; a folder or zip without any is a class.
    """
    folders = any(len(name.parts) > 1 for name in names)
    return [tidy(name.parts[0] if len(name.parts) > 1 else "" if folders else container) for name in names]


def tidy(label: str) -> str:
    """A label of at most 60 characters that can be read and can be a folder's name anywhere; "" where none is left."""
    label = unicodedata.normalize("NFC", label.encode("utf-8", "ignore").decode())
    label = "".join(" " if unicodedata.category(letter) in ("Cc", "Cf", "Zl", "Zp") else letter for letter in label)
    return " ".join(UNUSABLE.sub(" ", label).split())[:LONGEST_LABEL].strip(". ")


def unify(items: Sequence[Item]) -> None:
    """Give labels that differ in their capitals alone one spelling, the first: on some systems they are one folder."""
    spelling: dict[str, str] = {}
    for one in items:
        one.label = spelling.setdefault(one.label.casefold(), one.label)


def judge(items: Sequence[Item]) -> list[Item]:
    """The items with the rules above, but for ``few``, in the place of those for a generator."""
    members: dict[int, list[Item]] = {}
    for one in items:
        if one.copy and one.label and one.rule != "small":
            members.setdefault(one.group, []).append(one)
    return [judged(one, members.get(one.group, [])) for one in items]


def judged(one: Item, group: list[Item]) -> Item:
    """One item by the rules above, given its near-duplicates, itself included."""
    if not one.copy or one.rule == "small":
        return one
    if not one.label:
        return replace(one, rule="unlabelled", like="")
    elsewhere = next((other for other in group if other.label != one.label), None)
    if elsewhere:
        return replace(one, rule="crosses", like=f"{elsewhere.label}/{elsewhere.name}")
    # The audit kept the one with the most pixels, unless that is no flat cloth.
    best = next((other for other in group if not other.rule), group[0])
    return replace(one, rule="", like="") if one is best else replace(one, rule="duplicate", like=best.name)


def mark_few(items: Sequence[Item]) -> list[Item]:
    """The judged items with the rule ``few``, too."""
    few = too_few([one.label for one in items if not one.rule])
    return [replace(one, rule="few") if not one.rule and one.label in few else one for one in items]


def too_few(labels: Collection[str]) -> dict[str, int]:
    """The classes with fewer than 5 pictures, and how many they have."""
    return {label: count for label, count in sorted(Counter(labels).items()) if count < LEAST_OF_A_CLASS}


def unequal(labels: Collection[str]) -> tuple[str, str] | None:
    """The largest and the smallest class where these differ by more than a factor of 5."""
    counts = Counter(labels).most_common()
    if not counts or counts[0][1] <= UNEQUAL * counts[-1][1]:
        return None
    return counts[0][0], counts[-1][0]


def check(labels: Sequence[str]) -> None:
    """Refuse pictures that no classifier can learn from.

    Raises:
        DataError: when some lie in no class, there are not two classes, or one has fewer than 5 pictures, naming it.
    """
    if not any(labels):
        raise DataError("error.classes.none")
    if "" in labels:
        raise DataError("error.classes.unlabelled", count=list(labels).count(""))
    if len(set(labels)) < 2:
        raise DataError("error.classes.one", label=labels[0])
    few = too_few(labels)
    if few:
        raise DataError("error.classes.few", least=LEAST_OF_A_CLASS, found=listed(few))


def listed(counts: dict[str, int]) -> str:
    """Classes with their numbers of pictures, in one line."""
    return ", ".join(f"{label} ({count})" for label, count in counts.items())
