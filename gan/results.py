"""What became of the five reports: read from the checkpoints' small files, without loading a model.

Everything here comes from ``config.json``, ``metrics.json`` and ``history.csv``: a new checkpoint folder is in the
comparison the next time somebody looks. A file that is missing, half-written or not what it should be leaves a gap.
"""

from __future__ import annotations

import contextlib
import csv
import io
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gan.catalog import Entry, entry, is_number
from gan.checkpoint import CONFIG, read_config, without_folders
from gan.errors import CheckpointError
from gan.settings import checkpoints_folder
from gan.texts import say

REPORTS = ("R1", "R2", "R3", "R4", "R5")
ROLES = ("report", "best", "trial")
AS_WRITTEN = ("anime-lsgan", "cifar10-dense", "batik-cnn-3", "batik-mobilenet-3")
SHIPPED = ("batik-parang", "batik-megamendung", "batik-kawung", "mnist-cgan")
# What the reports say of their own models, by the subject that our names begin with. None: no figure.
REPORTED: dict[str, tuple[str, float] | None] = {
    "batik-parang": ("fid", 293),
    "batik-megamendung": ("fid", 150),
    "batik-kawung": ("fid", 189),
    "batik-cnn-3": ("accuracy", 0.567),
    "batik-mobilenet-3": ("accuracy", 0.8),
    "batik-best-3": ("accuracy", 0.8),
    "anime": None,
    "cifar10": None,
    "mnist-cgan": None,
}
# The figure that says most about a model, the first that it has.
HEADLINES = ("digit_accuracy", "accuracy", "fid")
FIGURES = (
    "digit_accuracy", "worst_digit_accuracy", "train_on_fake_accuracy", "accuracy", "fid", "kid", "precision", "recall",
    "memorised", "motif_agreement", "top3", "macro_f1", "ece", "not_batik_auroc",
)  # fmt: skip
SHARES = {name for name in FIGURES if "accuracy" in name} | {
    "accuracy_low", "accuracy_high", "held_accuracy", "memorised", "motif_agreement", "top3",
}  # fmt: skip
EFFORT = ("steps", "minutes", "parameters")
AXES = ("minutes", "step", "images")
# Curves in the order of what they say: quality first, losses after.
CURVES = ("fid", "kid", "precision", "recall", "held_accuracy", "accuracy", "d_loss", "g_loss", "held_loss", "loss")
CURVE_POINTS = 120
NOTHING = "–"


@dataclass(frozen=True)
class Result:
    """One checkpoint in the comparison: ``report`` is R1 to R5, ``role`` one of ROLES."""

    entry: Entry
    report: str
    role: str
    config: dict[str, Any]
    metrics: dict[str, float]
    reference: str
    history: list[dict[str, float]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.entry.name

    def file(self, name: str) -> Path | None:
        """A file of the checkpoint, where it is there."""
        path = self.entry.folder / name
        return path if path.is_file() else None


def results() -> list[Result]:
    """Every checkpoint that belongs to a report: by report, the recipe as written first, then by name.

    A folder needs no weights: a report's recipe may ship its figures alone.
    """
    root = checkpoints_folder()
    found = []
    for folder in sorted(root.iterdir()) if root.is_dir() else ():
        if not folder.name.startswith(".") and (folder / CONFIG).is_file():
            with contextlib.suppress(CheckpointError, OSError):
                found.append(result(folder))
    found = [one for one in found if one.report in REPORTS]
    return sorted(found, key=lambda one: (one.report, ROLES.index(one.role), one.name))


def result(folder: Path) -> Result:
    """Read one checkpoint folder. Raises CheckpointError when its config cannot be used."""
    config, known = read_config(folder), entry(folder)
    metrics = {key: value for key, value in known.metrics.items() if is_number(value)}
    report, reference = str(config.get("report", "")), known.metrics.get("reference", "")
    return Result(known, report, role(folder.name), config, metrics, reference, history(folder / "history.csv"))


def role(name: str) -> str:
    """Why a checkpoint is there: "report" is a recipe as written, "best" what Canting makes of it, "trial" the rest."""
    if name.endswith("-report") or name in AS_WRITTEN:
        return "report"
    return "best" if name in SHIPPED or "-best" in name else "trial"


def history(path: Path) -> list[dict[str, float]]:
    """The rows of a ``history.csv`` by column, numbers only; a row without a step, as a cut-off one, is left out."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    rows = []
    with contextlib.suppress(csv.Error):
        for line in csv.DictReader(io.StringIO(text.replace("\0", ""))):
            row = {}
            for key, value in line.items():
                with contextlib.suppress(TypeError, ValueError):
                    number = float(value)
                    if key and math.isfinite(number):
                        row[key] = number
            if "step" in row:
                rows.append(row)
    return rows


def history_end(folder: Path) -> dict[str, float]:
    """``steps`` and ``minutes`` of a checkpoint's training, from the last row of its history; nothing without one."""
    rows = history(folder / "history.csv")
    return {"steps": int(rows[-1]["step"]), "minutes": rows[-1]["minutes"]} if rows and "minutes" in rows[-1] else {}


# What can be drawn ------------------------------------------------------------------------------------------------


def curves(found: list[Result]) -> list[str]:
    """Which columns of these models' histories can be drawn as curves, the most telling first."""
    there = {key for one in found for row in one.history for key in row}
    return [key for key in CURVES if key in there]


def curve(found: list[Result], metric: str, axis: str = "minutes") -> list[tuple[float, float, str]]:
    """Points (x, y, model) of one metric of each model, at most CURVE_POINTS a model: means of neighbours beyond."""
    points = []
    for one in found:
        line = [(row[axis], row[metric]) for row in one.history if axis in row and metric in row]
        size = max(1, math.ceil(len(line) / CURVE_POINTS))
        for i in range(0, len(line), size):
            x, y = zip(*line[i : i + size], strict=True)
            points.append((sum(x) / len(x), sum(y) / len(y), one.name))
    return points


# What can be said -------------------------------------------------------------------------------------------------


def shown(key: str, value: float | None, language: str = "en") -> str:
    """A figure as people write it: shares in percent, counts whole, FID with one decimal; a dash for none."""
    if value is None:
        return NOTHING
    if key in SHARES:
        text = f"{value * 100:.1f} %"
    elif isinstance(value, int) or key in ("steps", "images"):
        text = f"{value:,.0f}"
    elif key == "fid" or (key == "minutes" and value >= 1):
        text = f"{value:,.1f}"
    else:
        text = f"{value:.3f}"
    # Indonesian has the comma where English has the point.
    return text.translate(str.maketrans(".,", ",.")) if language == "id" else text


def label(key: str, language: str = "en") -> str:
    """What a figure or a curve is called."""
    return say(f"results.figure.{key}", language)


def figure(key: str, value: float | None, language: str = "en") -> str:
    """A figure with its name: FID 150.0, Accuracy 57.9 %."""
    return f"{label(key, language)} {shown(key, value, language)}"


def headline(one: Result) -> str | None:
    """The figure that says most about a model; None before it has been measured."""
    return next((key for key in HEADLINES if key in one.metrics), None)


def reported(name: str, language: str = "en") -> str:
    """What the report says of its own model of this subject; a dash where it has none."""
    subject = next((key for key in sorted(REPORTED, key=len, reverse=True) if name.startswith(key)), None)
    if subject is None:
        return NOTHING
    claim = REPORTED[subject]
    return figure(*claim, language) if claim else say("results.no_figure", language)


def measured_with(one: Result, language: str = "en") -> str:
    """On how many pictures the figures rest, and how sure an accuracy is; nothing where that is not known."""
    found = {key: shown(key, value, language) for key, value in one.metrics.items()}
    if {"generated", "real"} <= found.keys():
        return say("results.with_samples", language, generated=found["generated"], real=found["real"])
    if {"images", "accuracy_low", "accuracy_high"} <= found.keys():
        values = {"images": found["images"], "low": found["accuracy_low"], "high": found["accuracy_high"]}
        return say("results.with_pictures", language, **values)
    return ""


def settings(one: Result, language: str = "en") -> list[tuple[str, str]]:
    """How a model came to be, as (name, value): recipe, network and data, and what it cost."""
    itself = {"start": say("results.earlier", language)} if one.config.get("start") == one.name else {}
    told = {**one.config, **itself}
    facts = [
        (key, str(without_folders(told[key]))) for key in ("recipe", "network", "source", "start") if told.get(key)
    ]
    side = one.config.get("resolution")
    if is_number(side) and side:
        facts.append(("resolution", f"{side}×{side}"))
    facts += [(key, shown(key, one.metrics[key], language)) for key in EFFORT if key in one.metrics]
    return [(label(key, language), value) for key, value in facts]


def figures(one: Result, language: str = "en") -> list[tuple[str, str]]:
    """What was measured, as (name, value)."""
    return [(label(key, language), shown(key, one.metrics[key], language)) for key in FIGURES if key in one.metrics]


TABLE = ("fid", "kid", "recall", "memorised", "accuracy", "minutes", "steps", "parameters")


def table(found: list[Result], language: str = "en") -> tuple[list[str], list[list[Any]]]:
    """Headers and rows of the comparison, numbers as numbers so that they sort; shares in percent."""
    words = [say(f"results.column.{key}", language) for key in ("report", "model", "role", "reported")]
    headers = words + [label(key, language) + (" %" if key in SHARES else "") for key in TABLE]
    rows = []
    for one in found:
        # A generator of digits has no accuracy of its own: its share of digits read as asked is the like.
        values = {**one.metrics, "accuracy": one.metrics.get("accuracy", one.metrics.get("digit_accuracy"))}
        numbers = [sortable(key, values.get(key)) for key in TABLE]
        role_now = say(f"results.role.{one.role}", language)
        rows.append([one.report, one.name, role_now, reported(one.name, language), *numbers])
    return headers, rows


def sortable(key: str, value: float | None) -> float | None:
    """A figure as a number with no more digits than it is worth."""
    if value is None or isinstance(value, int):
        return value
    return round(value * 100, 1) if key in SHARES else round(value, {"fid": 1, "minutes": 2}.get(key, 3))


# The same as Markdown ---------------------------------------------------------------------------------------------


def markdown(found: list[Result], beside: Path, language: str = "en") -> str:
    """The whole comparison as Markdown; links and pictures are relative to the folder ``beside``."""
    parts = [f"# {say('results.heading', language)}", say("results.intro", language)]
    for report in REPORTS:
        those = [one for one in found if one.report == report]
        parts += [say(f"results.{report}.title", language), say(f"results.{report}.claim", language)]
        parts += gaps(those, language)
        if those:
            parts += [overview(those, beside, language)]
        parts += [part for one in those for part in details(one, beside, language)]
    return "\n\n".join(parts) + "\n"


def gaps(those: list[Result], language: str = "en") -> list[str]:
    """What a report's section lacks: a recipe as written, one of Canting's own."""
    roles = {one.role for one in those}
    return [say(f"results.no_{role}", language) for role in ("report", "best") if role not in roles]


def overview(those: list[Result], beside: Path, language: str) -> str:
    """A report's models, a row each: what was said, what was measured, what it cost, a link to the card."""
    names = ("model", "role", "reported", "measured")
    words = [say(f"results.column.{key}", language) for key in names] + [label(key, language) for key in EFFORT]
    lines = [row(words), row(["---"] * len(words))]
    for one in those:
        best = headline(one)
        figure_now = figure(best, one.metrics[best], language) if best else say("results.unmeasured", language)
        effort = [shown(key, one.metrics.get(key), language) for key in EFFORT]
        name = f"[`{one.name}`]({relative(one.entry.folder / 'README.md', beside)})"
        lines.append(
            row([name, say(f"results.role.{one.role}", language), reported(one.name, language), figure_now, *effort])
        )
    return "\n".join(lines)


def details(one: Result, beside: Path, language: str) -> list[str]:
    """One model: pictures, figures, settings, and its curves at five moments of the training."""
    parts = [f"### {flat(one.entry.titled(language))}"]
    for file in ("samples.png", "timeline.png"):
        if path := one.file(file):
            parts.append(f"![{say(f'results.{path.stem}', language, name=one.name)}]({relative(path, beside)})")
    if about := flat(one.config.get("about", "")):
        parts.append(about)
    facts = figures(one, language)
    if facts:
        text = "; ".join(f"{name} {value}" for name, value in facts)
        parts.append(f"{text}. {measured_with(one, language)} {flat(one.reference)}".strip())
    parts.append("; ".join(f"{name} {flat(value)}" for name, value in settings(one, language)) + ".")
    if moments := five_moments(one, language):
        parts.append(moments)
    return parts


def five_moments(one: Result, language: str) -> str:
    """The curves as a table: the rows at the beginning, a quarter, half, three quarters and the end."""
    keys = curves([one])
    # Quality is measured now and then: those are the rows to show.
    rows = [line for line in one.history if keys and keys[0] in line]
    if not rows:
        return ""
    columns = ["step", "minutes", *keys]
    places = sorted({round(part * (len(rows) - 1) / 4) for part in range(5)})
    lines = [row([label(key, language) for key in columns]), row(["---"] * len(columns))]
    for place in places:
        names = {"step": "steps"}
        lines.append(row([shown(names.get(key, key), rows[place].get(key), language) for key in columns]))
    return "\n".join(lines)


def row(cells: list[str]) -> str:
    return "| " + " | ".join(flat(cell) for cell in cells) + " |"


def flat(text: Any) -> str:
    """A text from a file on one line, unable to end a table's cell."""
    return " ".join(str(text).split()).replace("|", "\\|")


def relative(path: Path, beside: Path) -> str:
    return Path(os.path.relpath(path, beside)).as_posix()
