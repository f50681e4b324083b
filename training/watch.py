"""A run as the Train tab shows it: its line in the list, how it stands, its samples, its curves."""

from __future__ import annotations

import html
from bisect import bisect_right
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from PIL import Image

from gan.tabs.common import request_folder, whole
from gan.texts import say
from training import jobs, processes, recogniser, records, where
from training.progress import Status
from training.records import own
from training.runs import Run

if TYPE_CHECKING:
    import pandas

# How often the page looks at a run: that of which nothing has been seen yet, and every other.
EAGER_SECONDS, CALM_SECONDS = 1, 5
SHOWN_SIDE = 1200
CURVE_POINTS = 150
LOSSES = {
    "g_loss": "train.generator",
    "d_loss": "train.discriminator",
    "loss": "train.learned",
    "held_loss": "train.held",
}


def view(owner: str, run: str | None, at: int, shown: list, language: str = "en") -> tuple:
    """One look at the visitor's runs: an update for each part of the right-hand side.

    Args:
        run: the one chosen; the newest when it is not theirs.
        at: which of its samples the slider stands on.
        shown: what the page has already: [run, the steps of its samples, number of figures]. What has not changed
            is not sent again.
    """
    mine = jobs.list_jobs(owner, language) if owner else []
    if not mine:
        hidden = gr.update(visible=False)
        return (
            gr.update(choices=[], value=None, visible=False),
            say("train.empty", language),
            *[hidden] * 2,
            # A classifier's run that has gone had none to show.
            gr.skip() if shown[0] is None else gr.update(visible=True),
            *[hidden] * 8,
            gr.Timer(active=False),
            shown,
        )
    now = next((one for one in mine if one.id == run), mine[0])
    folder = records.folder_of(own(owner, now.id))
    generator = now.kind == "generator"
    grids, lines = sample_files(folder), Run(folder).metrics() if generator else recogniser.lines(now)
    # A line that has grown longer is news, too: what was held back is measured at the end.
    news = sum(map(len, lines))
    same = shown[0] == now.id
    # Not their number alone: of a long run one goes for each that comes.
    moments = [step_of(grid) for grid in grids]
    picture = moment = curve = way = gr.skip()
    if not same or shown[1] != moments:
        # Whoever has slid back to an earlier moment stays there, or at the one before where it has gone.
        following = not same or whole(at) >= len(shown[1]) - 1
        place = len(grids) - 1 if following else max(0, bisect_right(moments, shown[1][max(0, whole(at))]) - 1)
        picture = show(grids[place], language) if grids else gr.update(value=None, label=say("train.samples", language))
        picture["visible"] = generator
        moment = gr.update(
            maximum=max(1, len(grids) - 1),
            value=max(0, place),
            visible=len(grids) > 1,
        )
    if not same or shown[2] != news:
        curve = gr.LinePlot(
            value=losses(lines, language),
            x_title=say("train.step", language),
            y_title=say("train.loss", language),
            color_title=say("train.network" if generator else "train.pictures_kind", language),
            visible=len(lines) > 1,
        )
        points = quality(lines)
        way = gr.LinePlot(
            value=points,
            title=say("train.distance" if generator else "train.held_accuracy", language),
            x_title=say("train.step", language),
            y_title=" ",
            visible=len(points) > 1,
        )
    return (
        gr.update(choices=[(label(one, language), one.id) for one in mine], value=now.id, visible=True),
        progress(now, language),
        gr.update(visible=True, interactive=now.state in ("waiting", "running")),
        gr.update(visible=True, interactive=now.state in ("stopped", "failed")),
        picture,
        moment,
        curve,
        way,
        gr.update(visible=generator and now.checkpoint is not None),
        gr.update(visible=len(grids) > 1 and now.state not in processes.ACTIVE),
        gr.update(visible=True),
        gr.update(value="" if generator else recogniser.report(now, language), visible=not generator),
        gr.update(visible=not generator and now.checkpoint is not None),
        gr.Timer(pace(now), active=any(one.state in processes.ACTIVE for one in mine)),
        [now.id, moments, news],
    )


def pace(status: Status) -> int:
    """Seconds until the page looks at a run again: soon while its first figures, or its end, are waited for."""
    return EAGER_SECONDS if status.state == "stopping" or not status.step else CALM_SECONDS


def look_back(owner: str, run: str | None, at: int, shown: list, language: str = "en") -> dict[str, Any]:
    """The slider was moved: the samples of that moment, as long as they are kept."""
    step = moment_on_view(own(owner, run), at, shown)
    grid = records.folder_of(run) / "samples" / f"step-{step or 0:06d}.png"
    return show(grid, language) if step is not None and grid.is_file() else gr.skip()


def moment_on_view(run: str, at: int, shown: list) -> int | None:
    """The step of the samples that a page shows, ``at`` the slider's place; None where it shows none of that run."""
    steps = shown[1] if shown[0] == run else []
    return steps[min(max(0, whole(at)), len(steps) - 1)] if steps else None


def label(status: Status, language: str) -> str:
    """A run in one line of the list."""
    return f"{status.title} · {say(f'train.state.{status.state}', language)}"


def progress(status: Status, language: str = "en") -> str:
    """How a run stands, as HTML: a bar, figures, and why it failed."""
    state = say(f"train.state.{status.state}", language)
    parts = [f"<strong>{state}</strong>", say("train.steps_done", language, step=status.step, steps=status.steps)]
    if status.images_per_second:
        parts.append(say("train.speed", language, speed=f"{status.images_per_second:.1f}"))
    if status.seconds_left is not None:
        parts.append(say("train.left", language, time=duration(status.seconds_left, language)))
    elif status.seconds:
        parts.append(say("train.took", language, time=duration(status.seconds, language)))
    if status.memory:
        parts.append(say("train.memory", language, gigabytes=f"{status.memory / 1e9:.1f}"))
    if status.ahead:
        parts.append(say("train.ahead", language, count=status.ahead))
    parts.append(say("train.pictures_count", language, count=status.pictures))
    if status.state == "running" and status.step in (0, status.steps):
        # What goes on before the first step and after the last takes longer than a classifier's steps.
        before, after = ("looking", "checking") if status.kind == "classifier" else ("preparing", "keeping")
        parts.insert(1, say(f"train.{after if status.step else before}", language))
    bar = (
        f'<progress max="{status.steps}" value="{min(status.step, status.steps)}" '
        f'aria-label="{say("train.progress", language)}"></progress>'
    )
    if status.state == "stopped" and status.kind == "generator" and status.step and not status.checkpoint:
        parts.append(say("train.unmade", language))
    reason = ""
    if status.reason:
        reason = f'<pre style="white-space:pre-wrap">{html.escape(status.reason)}</pre>'
    return (
        f'<div data-state="{status.state}">{bar}<p>{" · ".join(parts)}</p>{where.noted(status, language)}{reason}</div>'
    )


def duration(seconds: float, language: str = "en") -> str:
    """A time span in words, rounded as people say it."""
    if seconds < 90:
        return say("train.time.seconds", language, seconds=max(1, round(seconds)))
    minutes = round(seconds / 60)
    if minutes < 90:
        return say("train.time.minutes", language, minutes=minutes)
    return say("train.time.hours", language, hours=minutes // 60, minutes=minutes % 60)


def losses(lines: list[dict[str, float]], language: str = "en") -> pandas.DataFrame:
    """The losses by step, averaged down to at most 150 points each: both networks' of a GAN; a classifier's on what it
    learned and on what was held back."""
    import pandas

    width = -(-len(lines) // CURVE_POINTS) or 1
    rows = []
    for first in range(0, len(lines), width):
        for key, name in LOSSES.items():
            part = [line for line in lines[first : first + width] if key in line]
            if part:
                mean = sum(line[key] for line in part) / len(part)
                rows.append((part[-1]["step"], mean, say(name, language)))
    return pandas.DataFrame(rows, columns=["step", "loss", "network"])


def quality(lines: list[dict[str, float]]) -> pandas.DataFrame:
    """By step, how far a generator's pictures are from those it learns from, or how often a classifier is right on what
    was held back."""
    import pandas

    rows = [(line["step"], line[key]) for line in lines for key in ("distance", "held_accuracy") if key in line]
    return pandas.DataFrame(rows, columns=["step", "quality"])


def sample_files(folder: Path) -> list[Path]:
    """A run's grids of samples, oldest first."""
    return sorted((folder / "samples").glob("step-*.png"))


def show(grid: Path, language: str = "en") -> dict[str, Any]:
    """A grid of samples as the page shows it: a light copy, labelled with its step."""
    return gr.update(value=light_copy(grid), label=say("train.samples_at", language, step=step_of(grid)))


def step_of(grid: Path) -> int:
    """The step that a grid of samples was drawn at."""
    return int(grid.stem.removeprefix("step-"))


def light_copy(path: Path) -> str:
    """A picture from disk as a small WebP among the files that the page may read."""
    with Image.open(path) as picture:
        picture = picture.convert("RGB")
    if picture.width > SHOWN_SIDE:
        picture = picture.resize((SHOWN_SIDE, round(picture.height * SHOWN_SIDE / picture.width)), Image.Resampling.BOX)
    copy = request_folder() / f"{path.stem}.webp"
    picture.save(copy, "WEBP", quality=85, method=2)
    return str(copy)
