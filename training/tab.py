"""The Train tab: take a model, some pictures of one cloth, and watch it learn them.

The page only reads run directories; the work goes on in processes of its own (``training.jobs``). A visitor is known by
a random word that their browser keeps, and sees the runs started under it.
"""

from __future__ import annotations

import functools
import html
import secrets
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from PIL import Image, ImageOps

from gan.device import on_gpu
from gan.pictures import open_picture
from gan.settings import keep_days, most_gigabytes, most_runs, runs_last
from gan.tabs.common import DRAWING, HELPER, PRIVATE, guard, request_folder, t, unchecked, whole, write_pngs
from gan.texts import say
from training import basket, choose, jobs, publish, where
from training.choose import uploaded
from training.runs import Run

if TYPE_CHECKING:
    import pandas

POLL_SECONDS = 2
SHOWN_SIDE = 1200
TRIAL_COUNT = 8
CURVE_POINTS = 150
NILA, SOGA = "#3d548e", "#bf843f"


# What the public endpoints do -----------------------------------------------------------------------------------


def start_run(
    base: str,
    pictures: list[str] | None,
    settings: dict | None = None,
    owner: str = "",
    request: gr.Request | None = None,
) -> str:
    """Start to fine-tune ``base`` on what the audit keeps of uploaded pictures or zips; returns the run's id.

    ``settings`` may hold steps, name, mirror, and keep_all to leave nothing out. ``owner`` is a secret word under
    which :func:`list_runs` finds the run again; without one, it is the client's session.

    Raises:
        RunError: for an unknown base or setting.
        DataError: for pictures that cannot be used.
    """
    return jobs.start(base, pictures or [], settings, whose(owner, request))


def stop_run(run: str) -> dict[str, Any]:
    """Let a run save and end; returns how it stands. Raises RunError when there is no such run."""
    jobs.stop(run)
    return public(jobs.status(run))


def list_runs(owner: str = "", request: gr.Request | None = None) -> list[dict[str, Any]]:
    """The caller's runs, newest first."""
    return [public(one) for one in jobs.list_jobs(whose(owner, request))]


def whose(owner: str, request: gr.Request | None) -> str:
    """The owner that a call speaks for."""
    return owner or (f"session {request.session_hash}" if request and request.session_hash else "local")


def public(status: jobs.Status) -> dict[str, Any]:
    """A status as JSON, without this machine's folders."""
    return {**asdict(status), "checkpoint": status.checkpoint is not None}


# What the page shows --------------------------------------------------------------------------------------------


def opening(owner: str, shown: list, language: str = "en") -> tuple:
    """The tab as it opens: who this is, the bases there are now, their pictures not yet trained on, and the runs."""
    owner = owner or secrets.token_hex(16)
    return owner, base_choices(), *choose.present(owner, language), *view(owner, None, 0, shown, language)


def begin(
    base: str, left_out: list[str] | None, steps: int, name: str, flavor: str, timeout: str, push: bool, owner: str,
    shown: list, token: gr.OAuthToken | None, language: str = "en", request: gr.Request | None = None,
) -> tuple:  # fmt: skip
    """Start was pressed: the new run is the one on view. Raises TooFew, RunError, HubError; the pictures stay then."""
    place = where.chosen(flavor, timeout, push, token, request)
    run = jobs.begin(base, basket.kept(owner, left_out or []), {"steps": steps, "name": name or ""}, owner, place)
    basket.empty(owner)
    return "", *choose.present(owner, language), *view(owner, run, 0, shown, language)


def halt(owner: str, run: str | None, at: int, shown: list, language: str = "en") -> tuple:
    """Stop was pressed."""
    jobs.stop(own(owner, run))
    return view(owner, run, at, shown, language)


def go_on(
    owner: str, run: str | None, at: int, shown: list, token: gr.OAuthToken | None, language: str = "en"
) -> tuple:
    """Resume was pressed."""
    jobs.resume(own(owner, run), where.given(token))
    return view(owner, run, at, shown, language)


def rename(owner: str, run: str | None, title: str, at: int, shown: list, language: str = "en") -> tuple:
    """Rename was pressed."""
    jobs.rename(own(owner, run), title or "")
    return "", *view(owner, run, at, shown, language)


def repeat(
    owner: str, run: str | None, base: str, steps: int, name: str, flavor: str, timeout: str, push: bool, shown: list,
    token: gr.OAuthToken | None, language: str = "en", request: gr.Request | None = None,
) -> tuple:  # fmt: skip
    """The run on view is to be trained anew, on its pictures, with the settings chosen for a new one."""
    place = where.chosen(flavor, timeout, push, token, request)
    again = jobs.repeat(own(owner, run), base, {"steps": steps, "name": name or ""}, place)
    return view(owner, again, 0, shown, language)


def delete(owner: str, run: str | None, shown: list, language: str = "en") -> tuple:
    """Delete was pressed, twice."""
    jobs.delete(own(owner, run))
    return gr.update(visible=False), *view(owner, None, 0, shown, language)


def promote(owner: str, run: str | None, at: int, shown: list, language: str = "en") -> tuple:
    """The moment on view is to be the run's model. Raises RunError where nothing was kept of it."""
    grids = sample_files(jobs.folder_of(own(owner, run)))
    step = step_of(grids[min(max(0, whole(at)), len(grids) - 1)]) if grids else 0
    jobs.promote(run, step)
    gr.Info(say("train.promoted", language, step=step), duration=5)
    return view(owner, run, at, shown, language)


def own(owner: str, run: str | None) -> str:
    """A run's id. Raises RunError when it is nobody's, or somebody else's."""
    if not owner or jobs.read(run)["owner"] != owner:
        raise jobs.RunError("error.job.unknown")
    return run


def view(owner: str, run: str | None, at: int, shown: list, language: str = "en") -> tuple:
    """One look at the visitor's runs: an update for each part of the right-hand side.

    Args:
        run: the one chosen; the newest when it is not theirs.
        at: which of its samples the slider stands on.
        shown: what the page has already: [run, number of samples, number of metrics lines]. What has not changed is
            not sent again.
    """
    mine = jobs.list_jobs(owner, language) if owner else []
    if not mine:
        hidden = gr.update(visible=False)
        return (
            gr.update(choices=[], value=None, visible=False),
            say("train.empty", language),
            *[hidden] * 2,
            gr.skip(),
            *[hidden] * 5,
            gr.Timer(active=False),
            shown,
        )
    now = next((one for one in mine if one.id == run), mine[0])
    folder = Path(jobs.folder_of(now.id))
    grids, lines = sample_files(folder), Run(folder).metrics()
    same = shown[0] == now.id
    picture = moment = curve = gr.skip()
    if not same or shown[1] != len(grids):
        # Whoever has slid back to an earlier moment stays there.
        following = not same or whole(at) >= shown[1] - 1
        place = len(grids) - 1 if following else whole(at)
        picture = show(grids[place], language) if grids else gr.update(value=None, label=say("train.samples", language))
        moment = gr.update(
            maximum=max(1, len(grids) - 1),
            value=max(0, place),
            visible=len(grids) > 1,
        )
    if not same or shown[2] != len(lines):
        curve = gr.LinePlot(
            value=losses(lines, language),
            x_title=say("train.step", language),
            y_title=say("train.loss", language),
            color_title=say("train.network", language),
            visible=len(lines) > 1,
        )
    return (
        gr.update(choices=[(label(one, language), one.id) for one in mine], value=now.id, visible=True),
        progress(now, language),
        gr.update(visible=True, interactive=now.state in ("waiting", "running")),
        gr.update(visible=True, interactive=now.state in ("stopped", "failed")),
        picture,
        moment,
        curve,
        gr.update(visible=now.checkpoint is not None),
        gr.update(visible=len(grids) > 1 and now.state not in jobs.ACTIVE),
        gr.update(visible=True),
        gr.Timer(active=any(one.state in jobs.ACTIVE for one in mine)),
        [now.id, len(grids), len(lines)],
    )


def look_back(owner: str, run: str | None, at: int, language: str = "en") -> dict[str, Any]:
    """The slider was moved: the samples of that moment."""
    grids = sample_files(jobs.folder_of(own(owner, run)))
    return show(grids[min(max(0, whole(at)), len(grids) - 1)], language) if grids else gr.skip()


def try_it(owner: str, run: str | None, seed: int, language: str = "en") -> tuple:
    """Pictures from the model that a run made. Raises RunError when it has made none, RequestError for a bad seed."""
    status, pictures = made_by(own(owner, run), seed)
    captions = [say("generate.caption", language, seed=whole(seed) + i) for i in range(len(pictures))]
    shown = list(zip(written(status, pictures, whole(seed)), captions, strict=True))
    return gr.update(value=shown, visible=True), gr.update(visible=False)


def nearest(owner: str, run: str | None, seed: int, language: str = "en") -> tuple:
    """The same pictures, each beside the nearest it was trained on, and whether they are copies. Raises as above."""
    from training.views import compare

    status, pictures = made_by(own(owner, run), seed)
    files = sorted((jobs.folder_of(run) / "pictures").glob("*.jpg"))
    matches = compare(pictures, files)
    shown = []
    for i, (path, match) in enumerate(zip(written(status, pictures, whole(seed)), matches, strict=True)):
        near = open_picture(files[match.real], side=SHOWN_SIDE // 4)
        near.thumbnail((SHOWN_SIDE // 2, SHOWN_SIDE // 2))
        word = "copy" if match.copies else "near"
        shown.append((path, say("train.nearest_sample", language, seed=whole(seed) + i)))
        shown.append((ImageOps.mirror(near) if match.mirrored else near, say(f"train.nearest_{word}", language)))
    copies = sum(match.copies for match in matches)
    verdict = say(f"train.nearest_{'warning' if copies else 'fine'}", language, count=copies, all=len(matches))
    return gr.update(value=shown, visible=True), gr.update(value=verdict, visible=True)


def made_by(run: str, seed: int) -> tuple[jobs.Status, list[Image.Image]]:
    """How a run stands, and what its model makes of ``seed`` and those that follow."""
    status = jobs.status(run)
    if status.checkpoint is None:
        raise jobs.RunError("error.job.no_model")
    weights = status.checkpoint / "model.safetensors"
    return status, draw(status.checkpoint, weights.stat().st_mtime_ns, whole(seed))


def written(status: jobs.Status, pictures: list[Image.Image], seed: int) -> list[str]:
    """The pictures as PNG files that know what made them."""
    notes = [{"model": status.title, "seed": seed + i, "truncation": 1.0} for i in range(len(pictures))]
    names = [f"{status.base}-{status.id[:6]}-seed-{seed + i}" for i in range(len(pictures))]
    return write_pngs(pictures, names, notes)


@on_gpu
def draw(folder: Path, version: int, seed: int) -> list[Image.Image]:
    """Pictures from a checkpoint folder as it was at ``version``."""
    return model_of(folder, version).sample(TRIAL_COUNT, seed=seed)


@functools.lru_cache(maxsize=2)
def model_of(folder: Path, version: int) -> Any:
    """The last models tried. The catalogue would keep every visitor's for good."""
    from gan.checkpoint import load_folder
    from gan.sampling import Generator

    return Generator(folder.parent.name, *load_folder(folder))


def label(status: jobs.Status, language: str) -> str:
    """A run in one line of the list."""
    return f"{status.title} · {say(f'train.state.{status.state}', language)}"


def progress(status: jobs.Status, language: str = "en") -> str:
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
    bar = (
        f'<progress max="{status.steps}" value="{min(status.step, status.steps)}" '
        f'style="width: 100%; accent-color: var(--color-accent)" '
        f'aria-label="{say("train.progress", language)}"></progress>'
    )
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
    """Both networks' losses by step, averaged down to at most 150 points each."""
    import pandas

    width = -(-len(lines) // CURVE_POINTS) or 1
    rows = []
    for first in range(0, len(lines), width):
        part = [line for line in lines[first : first + width] if "g_loss" in line and "d_loss" in line]
        for key, name in (("g_loss", "train.generator"), ("d_loss", "train.discriminator")):
            if part:
                mean = sum(line[key] for line in part) / len(part)
                rows.append((part[-1]["step"], mean, say(name, language)))
    return pandas.DataFrame(rows, columns=["step", "loss", "network"])


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


def base_choices() -> dict[str, Any]:
    """The models to start from, batik first."""
    found = sorted(jobs.bases(), key=lambda one: (not one.name.startswith("batik"), one.name))
    return gr.update(choices=[(one.title, one.name) for one in found], value=found[0].name if found else None)


def terms(language: str = "en") -> str:
    """What becomes of a visitor's pictures and runs here."""
    days, limits = keep_days(), []
    if most_runs():
        limits.append(say("train.quota_runs", language, count=most_runs()))
    if most_gigabytes():
        limits.append(say("train.quota_gb", language, gigabytes=f"{most_gigabytes():g}"))
    said = [say("train.yours_days", language, days=f"{days:g}") if days else say("train.yours", language)]
    if limits:
        said.append(say("train.quota", language, limits=", ".join(limits)))
    if not runs_last():
        said.append(say("where.lost", language))
    return " ".join(said)


# Layout and wiring ----------------------------------------------------------------------------------------------


def build(owner: gr.BrowserState) -> None:
    """Lay the tab out and wire it, inside the page's Blocks. ``owner`` keeps the word that a visitor is known by."""
    first = base_choices()
    entry = next((one for one in jobs.bases() if one.name == first["value"]), None)
    # What this page has been sent: run, number of samples, number of metrics lines.
    shown = gr.State([None, 0, 0])
    timer = gr.Timer(POLL_SECONDS, active=False)
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            gr.Markdown(t("train.intro"), elem_classes="quiet")
            leave, chosen, look = choose.section(owner)
            base = unchecked(
                gr.Radio(first["choices"], value=first["value"], label=t("train.base"), elem_id="train-base")
            )
            steps = unchecked(
                gr.Slider(
                    50, 5000, jobs.DEFAULT_STEPS, step=50, label=t("train.steps"), info=t("train.steps_info"),
                    elem_id="train-steps",
                )
            )  # fmt: skip
            with gr.Accordion(t("train.more"), open=False):
                name = gr.Textbox(label=t("train.name"), max_lines=1, elem_id="train-name")
                place = where.section()
            start = gr.Button(t("train.start"), variant="primary", elem_id="train-start")
            told = gr.Markdown(terms(), elem_id="train-terms", elem_classes="quiet")
        with gr.Column(scale=3, min_width=320):
            runs = unchecked(gr.Radio([], label=t("train.runs"), visible=False, elem_id="train-runs"))
            state = gr.HTML(say("train.empty"), elem_id="train-state")
            with gr.Row():
                stop = gr.Button(t("train.stop"), variant="stop", visible=False, elem_id="train-stop")
                resume = gr.Button(t("train.resume"), visible=False, elem_id="train-resume")
            samples = gr.Image(
                light_copy(entry.samples) if entry and entry.samples else None,
                label=t("train.samples"), interactive=False, buttons=["download", "fullscreen"],
                elem_id="train-samples",
            )  # fmt: skip
            moment = unchecked(
                gr.Slider(0, 1, 0, step=1, label=t("train.moment"), visible=False, elem_id="train-moment")
            )
            take = gr.Button(t("train.promote"), size="sm", visible=False, elem_id="train-promote")
            with gr.Row(visible=False, elem_classes="actions") as trial:
                seed = unchecked(gr.Number(0, label=t("generate.seed"), minimum=0, precision=0, min_width=110))
                attempt = gr.Button(t("train.try"), variant="primary", min_width=140, elem_id="train-try")
                beside = gr.Button(t("train.nearest"), min_width=120, elem_id="train-nearest")
            verdict = gr.Markdown(visible=False, elem_id="train-verdict")
            pictured = gr.Gallery(
                label=t("generate.gallery"), show_label=False, container=False, visible=False, interactive=False,
                object_fit="contain", height="auto", columns=4, buttons=["download", "download_all", "fullscreen"],
                elem_classes="pictures", elem_id="train-gallery",
            )  # fmt: skip
            curve = gr.LinePlot(
                losses([]), x="step", y="loss", color="network", label=t("train.curve"), height=300, visible=False,
                color_map={
                    say(f"train.{key}", code): colour
                    for key, colour in (("generator", NILA), ("discriminator", SOGA))
                    for code in ("en", "id")
                },
                elem_id="train-curve",
            )  # fmt: skip
            publish.section(owner, runs)
            with gr.Accordion(t("train.manage"), open=False, visible=False, elem_id="train-manage") as manage:
                with gr.Row():
                    title = gr.Textbox(
                        label=t("train.name"), max_lines=1, min_width=160, scale=2, elem_id="train-title"
                    )
                    entitle = gr.Button(t("train.rename"), min_width=100, scale=1, elem_id="train-rename")
                again = gr.Button(t("train.repeat"), size="sm", elem_id="train-repeat")
                away = gr.Button(t("train.delete"), size="sm", elem_id="train-delete")
                sure = gr.Button(t("train.delete_sure"), size="sm", variant="stop", visible=False, elem_id="train-sure")

    parts = [runs, state, stop, resume, samples, moment, curve, trial, take, manage, timer, shown]
    now = [owner, runs, moment, shown]
    page = gr.context.Context.root_block
    page.load(guard(opening), [owner, shown], [owner, base, *chosen, *parts], **HELPER)
    page.load(guard(terms), None, told, **HELPER)
    look.click(guard(choose.preview), [owner, base, leave], chosen[-2:], **PRIVATE, **DRAWING)
    start.click(
        guard(begin), [base, leave, steps, name, *place, owner, shown], [name, *chosen, *parts],
        show_progress_on=[start], **PRIVATE,
    )  # fmt: skip
    timer.tick(guard(view), now, parts, trigger_mode="once", **HELPER)
    runs.input(guard(view), now, parts, **HELPER).then(
        lambda: [gr.update(visible=False)] * 3, None, [pictured, verdict, sure], **HELPER
    )
    stop.click(guard(halt), now, parts, **HELPER)
    resume.click(guard(go_on), now, parts, **HELPER)
    moment.input(guard(look_back), [owner, runs, moment], samples, trigger_mode="always_last", **HELPER)
    take.click(guard(promote), now, parts, show_progress_on=[take], **PRIVATE, **DRAWING)
    attempt.click(guard(try_it), [owner, runs, seed], [pictured, verdict], **PRIVATE, **DRAWING)
    beside.click(guard(nearest), [owner, runs, seed], [pictured, verdict], **PRIVATE, **DRAWING)
    entitle.click(guard(rename), [owner, runs, title, moment, shown], [title, *parts], **HELPER)
    again.click(guard(repeat), [owner, runs, base, steps, name, *place, shown], parts, **HELPER)
    away.click(lambda: gr.update(visible=True), None, sure, **HELPER)
    sure.click(guard(delete), [owner, runs, shown], [sure, *parts], **HELPER)
    endpoints()


def endpoints() -> None:
    """The contract's endpoints, for clients: each on components of its own that no page shows."""
    with gr.Group(visible=False):
        base, owner, run = gr.Textbox(), gr.Textbox(""), gr.Textbox()
        pictures, settings, answer = uploaded(gr.File(file_count="multiple")), gr.JSON({}), gr.JSON()
        for handler, inputs, output in (
            (start_run, [base, pictures, settings, owner], run),
            (stop_run, [run], answer),
            (list_runs, [owner], answer),
        ):
            gr.Button().click(guard(handler), inputs, output, api_name=handler.__name__)
