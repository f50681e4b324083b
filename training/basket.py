"""What a visitor has dropped and not trained on yet: one basket a visitor, seen through by the audit.

A basket is a folder under the runs folder, named after its owner's secret word by a hash:

    basket.json  what was handed in, file by file, with the rule by which the audit would leave it out
    pictures/    copies of what could be read, as ``training.intake`` makes them

It is there again when the page is opened anew, grows with each drop, and goes when its run begins.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

from gan.errors import RunError
from gan.files import atomic
from gan.settings import runs_folder
from gan.texts import LANGUAGES, say
from training import labels, retention
from training.intake import LEAST_PICTURES, Taken, TooFew, take_in

FOLDER = ".baskets"


@dataclass
class Item:
    """One file in a basket.

    Attributes:
        name: as it was handed in.
        copy: its file in ``pictures/``; "" for what could not be read.
        label: its class, told by its folder or zip; "" for none.
        group: shared by near-duplicates.
        rule: why the audit would leave it out, one of ``training.audit``'s; "" keeps it.
        like: for a duplicate the name of the one that is kept, for a picture in two classes the other's.
        reason: for an unreadable file what is wrong with it, by language.
    """

    name: str
    copy: str = ""
    label: str = ""
    group: int = -1
    rule: str = ""
    like: str = ""
    reason: dict[str, str] = field(default_factory=dict)


def add(owner: str, pictures: Sequence[Path | str]) -> list[Item]:
    """Put pictures and zips into the basket and audit all that is in it; about 0.2 s for a photo of 12 megapixels.

    Raises:
        DataError: when there are more than 500 in all, or a zip is unsafe; the basket stays as it was.
        RunError: when the basket is in use, or the disk nearly full.
    """
    retention.check_disk()
    with locked(owner) as folder:
        items = read(folder)
        clear_up(folder, items)
        try:
            taken = take_in(pictures, folder / "pictures", present=len(items))
        except BaseException:
            clear_up(folder, items)
            raise
        items += map(item, taken)
        judge(folder / "pictures", items)
        with atomic(folder / "basket.json") as path:
            path.write_text(json.dumps([asdict(one) for one in items], ensure_ascii=False), encoding="utf-8")
    return items


def item(taken: Taken) -> Item:
    """One file as it is noted in a basket, not yet judged."""
    if taken.copy:
        return Item(taken.name, taken.copy.name, taken.label)
    reason = {code: taken.error.say(code) for code in LANGUAGES}
    return Item(taken.name, label=taken.label, rule="unreadable", reason=reason)


def judge(folder: Path, items: list[Item]) -> None:
    """Write the audit's findings about the copies in ``folder`` into their items."""
    from training.audit import audit

    labels.unify(items)
    findings = {one.name: one for one in audit(folder)} if any(one.copy for one in items) else {}
    kept = {findings[one.copy].group: one.name for one in items if one.copy and not findings[one.copy].rule}
    for one in items:
        if one.copy:
            one.rule, one.group = findings[one.copy].rule, findings[one.copy].group
            one.like = kept.get(one.group, "") if one.rule == "duplicate" else ""


def content(owner: str, classes: bool = False) -> list[Item]:
    """What is in a visitor's basket, in the order handed in; with ``classes`` judged as a classifier's pictures."""
    items = read(folder_of(owner))
    return labels.mark_few(labels.judge(items)) if classes else items


def kept(owner: str, left_out: Collection[str]) -> list[Path]:
    """The copies to train on: all but those named in ``left_out``.

    Raises:
        TooFew: when fewer than 10 are left.
    """
    folder, items = folder_of(owner), content(owner)
    out = Counter(one.rule or "chosen" for one in items if not one.copy or one.copy in left_out)
    if len(items) - out.total() < LEAST_PICTURES:
        raise TooFew(len(items), out)
    return [folder / "pictures" / one.copy for one in items if one.copy and one.copy not in left_out]


def kept_classes(owner: str, left_out: Collection[str]) -> tuple[list[Path], list[str]]:
    """The copies to train a classifier on, all but those named in ``left_out``, and the class of each.

    Raises:
        DataError: when they make no two classes of at least 5 pictures each.
    """
    chosen = [one for one in content(owner) if one.copy and one.copy not in left_out]
    labels.check([one.label for one in chosen])
    return [folder_of(owner) / "pictures" / one.copy for one in chosen], [one.label for one in chosen]


def empty(owner: str) -> None:
    """Delete all that is in a visitor's basket. Raises RunError when it is in use."""
    with locked(owner) as folder:
        discard(folder)


@contextlib.contextmanager
def handed_over(owner: str) -> Iterator[None]:
    """The basket stays as it is while its pictures are made a run's, and is empty afterwards, unless that fails.

    Raises:
        RunError: at once, while a drop is being looked at: what it adds would be lost.
    """
    with locked(owner, patience=1, busy="error.job.looking") as folder:
        yield
        # The run has its own copies, and what is left here does it no harm.
        with contextlib.suppress(OSError):
            discard(folder)


def discard(folder: Path) -> None:
    """Delete a basket, the list first: pictures without it are cleared up by the next drop."""
    (folder / "basket.json").unlink(missing_ok=True)
    shutil.rmtree(folder)


def folder_of(owner: str) -> Path:
    """Where a visitor's basket is. The name tells nobody the word they are known by."""
    return runs_folder() / FOLDER / hashlib.sha256(owner.encode()).hexdigest()[:32]


def read(folder: Path) -> list[Item]:
    """The list as it was written; a copy that a power cut has taken is an unreadable file."""
    try:
        items = [Item(**one) for one in json.loads((folder / "basket.json").read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError):
        return []
    for one in items:
        copy = folder / "pictures" / one.copy
        if one.copy and not (copy.is_file() and copy.stat().st_size):
            one.copy, one.rule, one.like = "", "unreadable", ""
            one.reason = {code: say("error.picture.empty", code) for code in LANGUAGES}
    return items


def clear_up(folder: Path, items: list[Item]) -> None:
    """Remove copies that the list does not name: a drop that failed or was killed left them."""
    known = {one.copy for one in items}
    for path in (folder / "pictures").glob("*"):
        if path.name not in known:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(owner: str, patience: float = 60, busy: str = "error.job.busy") -> Iterator[Path]:
    """The basket's folder, made if needed, while nobody else changes it. Raises RunError ``busy`` after ``patience``
    seconds of waiting for it."""
    folder = folder_of(owner)
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(f"{folder}.lock", timeout=patience):
            folder.mkdir(exist_ok=True)
            # Its age is that of its last use.
            os.utime(folder)
            yield folder
    except Timeout as error:
        raise RunError(busy) from error
