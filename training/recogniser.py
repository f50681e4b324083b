"""What the Train tab shows of a classifier's run: what it is worth, what it confuses, its losses, and a photo tried."""

from __future__ import annotations

import csv
import html
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from gan import own
from gan.card import mistakes
from gan.device import on_gpu
from gan.tabs.answer import card
from gan.tabs.common import DRAWING, HELPER, PRIVATE, guard, motif, t, unopened
from gan.texts import say
from training import jobs, progress, records
from training.runs import Run

if TYPE_CHECKING:
    from gan.classify import Answer

CONFUSIONS = 3


def recognise(owner: str, run: str | None, photo: str | bytes | None, language: str = "en") -> str:
    """What the visitor's classifier says of one photo, as HTML; nothing for no photo.

    Raises:
        RunError: when the run is not theirs or has made no model.
        PictureError: for a file that is no usable picture.
    """
    if not photo:
        return ""
    status = jobs.status(records.own(owner, run))
    if status.checkpoint is None:
        raise jobs.RunError("error.job.no_model")
    return card(ask(status.checkpoint, photo), language)


@on_gpu
def ask(folder: Path, photo: str | bytes) -> Answer:
    """What the classifier in a checkpoint folder says of a picture file."""
    return own.load(folder).classify(photo)


def report(status: progress.Status, language: str = "en") -> str:
    """What a run's classifier is worth on pictures that it had not seen, in words, as HTML."""
    if status.checkpoint is None:
        return ""
    figures = figures_of(status.checkpoint)
    if not figures:
        return "" if status.state == "running" else f"<p>{say('train.unmeasured', language)}</p>"
    table = confusions(status.checkpoint)
    largest = max((sum(counts) for counts in table), default=0) / max(1, figures["images"])
    shares = {key: percent(figures[key]) for key in ("accuracy", "accuracy_low", "accuracy_high")}
    worst = [
        say("train.confusion", language, true=motif(true), taken=motif(taken), count=count, all=total)
        for true, taken, count, total in mistakes(status.checkpoint / "confusion.csv")[:CONFUSIONS]
    ]
    if worst:
        rows = "".join(f"<li>{html.escape(one)}</li>" for one in worst)
        confused = f"<p>{say('train.confusions', language)}</p><ul>{rows}</ul>"
    else:
        confused = f"<p>{say('train.no_confusions', language)}</p>"
    return (
        f"<h3>{say('train.accuracy', language, **shares)}</h3>"
        f"<p>{say('train.accuracy_text', language, count=figures['images'], folds=figures['folds'], **shares)} "
        f"{say('train.accuracy_guess', language, share=percent(largest))}</p>{confused}"
    )


def figures_of(checkpoint: Path) -> dict[str, Any]:
    """A checkpoint's ``metrics.json``; nothing before it has been measured."""
    try:
        return json.loads((checkpoint / "metrics.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def confusions(checkpoint: Path) -> list[list[int]]:
    """The counts of ``confusion.csv``, true classes by row."""
    with (checkpoint / "confusion.csv").open(newline="", encoding="utf-8") as file:
        return [[int(count) for count in row[1:]] for row in list(csv.reader(file))[1:]]


def percent(share: float) -> str:
    """0.4312 as 43 %, with a space that does not break. What is not all is never shown as 100 %."""
    return f"{100 if share == 1 else min(99, round(100 * share))}\u00a0%"


def lines(status: progress.Status) -> list[dict[str, float]]:
    """Step and loss, and once it is measured the loss on what was held back, as far as the run has come."""
    if status.checkpoint and figures_of(status.checkpoint):
        with (status.checkpoint / "history.csv").open(newline="") as file:
            return [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(file)]
    return Run(records.folder_of(status.id)).metrics()


def section(owner: gr.BrowserState, runs: gr.Radio) -> tuple[gr.HTML, gr.Column]:
    """Lay the section out and wire it; returns its two parts, the report and the trial."""
    told = gr.HTML(visible=False, elem_id="train-figures", elem_classes="answer")
    with gr.Column(visible=False) as trial:
        photo = unopened(
            gr.Image(
                label=t("train.photo"), type="filepath", sources=["upload", "clipboard", "webcam"], height=260,
                buttons=[], elem_id="train-photo",
            )
        )  # fmt: skip
        ranked = gr.HTML(elem_id="train-ranked", min_height=40)
    tried = photo.change(
        guard(recognise), [owner, runs, photo], ranked, show_progress_on=[ranked], **PRIVATE, **DRAWING
    )
    # An older answer beside another photo, or another run, would be a wrong one.
    tried.failure(lambda: "", None, ranked, **HELPER)
    runs.input(lambda: (None, ""), None, [photo, ranked], **HELPER)
    return told, trial
