"""What a folder of training pictures holds, and which of them a generator should not learn from.

Every picture is kept or dropped by one rule, the first that applies:

- ``unreadable``: no picture, or a damaged one.
- ``small``: its short side is under 128 pixels.
- ``strip``: a plain strip along one side, at least 6 % of the picture, unlike the rest (captions, borders).
- ``blank``: at least 15 % of the picture is smooth and touches its edge while its middle is patterned (cut-outs on
  white or black, garments and hands before a wall).
- ``crosses``: a near-duplicate lies in another class folder, so one of the two names is wrong.
- ``duplicate``: a near-duplicate with more pixels is kept.

The two rules for what is not flat cloth were set while looking at all 180 labelled pictures; they find margins,
not people, stamps or small print as such. :func:`scores` measures them against the labels.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from gan.errors import DataError
from gan.files import atomic
from gan.pictures import FORMATS, SUFFIXES, open_picture
from training.intake import LEAST_PICTURES

MANIFESTS = Path(__file__).with_name("manifests")
LABELS = MANIFESTS / "labels-flat-cloth.csv"
LEAST_SIDE = 128
SIDE = 256
SHEET_COLUMNS, THUMB = 8, 160


@dataclass
class Finding:
    """One file: what it is, and the rule that drops it ("" keeps it). ``group`` is shared by near-duplicates."""

    name: str
    sha256: str
    format: str = ""
    mode: str = ""
    width: int = 0
    height: int = 0
    group: int = -1
    rule: str = ""


def audit(folder: Path) -> list[Finding]:
    """Look at every picture in ``folder`` and its class folders; about 50 ms each.

    Raises:
        DataError: no such folder, or one without picture files.
    """
    if not folder.is_dir():
        raise DataError("error.data.folder", path=folder)
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file.suffix.lower() in SUFFIXES)
    if not files:
        raise DataError("error.data.empty", path=folder, skipped=0)
    findings = [look_at(file, file.relative_to(folder).as_posix()) for file in files]
    mark_duplicates(files, findings)
    return findings


def look_at(file: Path, name: str) -> Finding:
    """One file by the rules that need no other file."""
    finding = Finding(name, hashlib.sha256(file.read_bytes()).hexdigest())
    try:
        with Image.open(file, formats=FORMATS) as raw:
            finding.format, finding.mode, (finding.width, finding.height) = raw.format, raw.mode, raw.size
        picture = open_picture(file, side=SIDE)
    except Exception:  # Pillow raises nearly anything on hostile input
        finding.rule = "unreadable"
        return finding
    finding.rule = "small" if min(finding.width, finding.height) < LEAST_SIDE else not_flat_cloth(picture)
    return finding


def not_flat_cloth(picture: Image.Image) -> str:
    """ "strip" or "blank" (see above), "" for what may be flat cloth."""
    scale = SIDE / max(picture.size)
    size = tuple(max(16, round(length * scale)) for length in picture.size)
    pixels = np.asarray(picture.resize(size, Image.Resampling.BOX), np.float32)
    smooth = smoothness(pixels)
    height, width = smooth.shape
    middle = smooth[height // 5 : height - height // 5, width // 5 : width - width // 5].mean()
    if middle < 0.2 and plain_strip(pixels) >= 0.06:
        return "strip"
    numbers, _ = ndimage.label(smooth)
    edge = np.unique(np.concatenate([numbers[0], numbers[-1], numbers[:, 0], numbers[:, -1]]))
    return "blank" if middle < 0.1 and np.isin(numbers, edge[edge > 0]).mean() >= 0.15 else ""


def smoothness(pixels: np.ndarray) -> np.ndarray:
    """Where grey values within 9×9 deviate by less than 4: bool (h, w)."""
    grey = pixels.mean(2)
    mean = ndimage.uniform_filter(grey, 9)
    return ndimage.uniform_filter(grey * grey, 9) - mean * mean < 16


def plain_strip(pixels: np.ndarray) -> float:
    """The largest share of the picture, from any side inwards, that one colour fills but for small print."""
    across, widest = pixels.transpose(1, 0, 2), 0.0
    for rows in (pixels, pixels[::-1], across, across[::-1]):
        colour = np.median(rows[: max(2, len(rows) // 50)].reshape(-1, 3), 0)
        near = (np.abs(rows - colour).max(2) < 24).mean(1)
        length = int(np.argmin(np.append(near, 0) >= 0.65))
        if 0 < length < len(rows) and near[:length].mean() >= 0.8 and np.median(near[length:]) < 0.45:
            widest = max(widest, length / len(rows))
    return widest


def mark_duplicates(files: list[Path], findings: list[Finding]) -> None:
    """Number the groups; of each keep the picture with the most pixels, none where it crosses folders."""
    from training.duplicates import duplicate_groups

    members: dict[int, list[int]] = {}
    for index, group in enumerate(duplicate_groups(files)):
        findings[index].group = group
        members.setdefault(group, []).append(index)
    for indices in members.values():
        crosses = len({files[i].parent for i in indices}) > 1
        left = [i for i in indices if not findings[i].rule]
        best = max(left, key=lambda i: findings[i].width * findings[i].height, default=-1)
        for i in left:
            if crosses or i != best:
                findings[i].rule = "crosses" if crosses else "duplicate"


def check_enough(findings: list[Finding], path: Path | str) -> None:
    """Raises DataError, which says what was found, when fewer than 10 pictures are left."""
    kept = sum(not one.rule for one in findings)
    if kept < LEAST_PICTURES:
        found = Counter(one.rule for one in findings if one.rule)
        what = ", ".join(f"{rule} {count}" for rule, count in sorted(found.items())) or "–"
        raise DataError("error.data.few", path=path, files=len(findings), kept=kept, least=LEAST_PICTURES, found=what)


def write(findings: list[Finding], folder: Path, out: Path) -> None:
    """``report.json``, one manifest a set and ``contact-sheet.png`` (dropped pictures first) in ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    with atomic(out / "report.json") as path:
        path.write_text(json.dumps([asdict(one) for one in findings], indent=1) + "\n", encoding="utf-8")
    sets: dict[str, list[Finding]] = {}
    for one in findings:
        sets.setdefault((folder.resolve() / one.name).parent.name, []).append(one)
    for name, rows in sets.items():
        write_manifest(out / f"{name}.csv", rows)
    shown = sorted((one for one in findings if one.rule != "unreadable"), key=lambda one: (not one.rule, one.name))
    contact_sheet(folder, shown).save(out / "contact-sheet.png")


def write_manifest(path: Path, findings: Iterable[Finding]) -> None:
    """File hash, keep or drop, and the rule."""
    with atomic(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["sha256", "decision", "rule"])
        writer.writerows([one.sha256, "drop" if one.rule else "keep", one.rule] for one in findings)


def contact_sheet(folder: Path, findings: list[Finding], most: int = 160) -> Image.Image:
    """Small copies with the rule above each."""
    shown = findings[:most]
    rows = -(-len(shown) // SHEET_COLUMNS) or 1
    sheet = Image.new("RGB", (SHEET_COLUMNS * (THUMB + 6), rows * (THUMB + 20)), "white")
    draw = ImageDraw.Draw(sheet)
    for number, one in enumerate(shown):
        left, top = number % SHEET_COLUMNS * (THUMB + 6), number // SHEET_COLUMNS * (THUMB + 20)
        picture = open_picture(folder / one.name, side=THUMB)
        picture.thumbnail((THUMB, THUMB))
        draw.text((left, top), f"{one.rule or 'keep'} {Path(one.name).name}"[:26], "black")
        sheet.paste(picture, (left, top + 14))
    return sheet


def dropped(name: str) -> frozenset[str]:
    """The hashes that the manifest of the set ``name`` drops; none without a manifest."""
    path = MANIFESTS / f"{name}.csv"
    if not path.is_file():
        return frozenset()
    with path.open(newline="") as file:
        return frozenset(row["sha256"] for row in csv.DictReader(file) if row["decision"] == "drop")


def scores(folder: Path, part: str = "") -> dict[str, float]:
    """Precision and recall of "not flat cloth" against the labels (``part``: "tune", "held" or both)."""
    with LABELS.open(newline="") as file:
        kinds = {row["sha256"]: row["kind"] for row in csv.DictReader(file) if part in ("", row["part"])}
    found = {}
    for file in sorted(folder.rglob("*.jpg")):
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        if digest in kinds:
            found[digest] = bool(not_flat_cloth(open_picture(file, side=SIDE)))
    hits = sum(caught and kinds[digest] != "flat" for digest, caught in found.items())
    positives = [digest for digest in found if kinds[digest] != "flat"]
    without = [digest for digest in positives if kinds[digest] != "stamp"]
    return {
        "pictures": len(found),
        "precision": hits / max(1, sum(found.values())),
        "recall": hits / max(1, len(positives)),
        "recall_without_stamps": sum(found[digest] for digest in without) / max(1, len(without)),
    }
