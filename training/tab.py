"""The Train tab: take a model, some pictures of one cloth or of several classes, and watch it learn them.

The page only reads run directories; the work goes on in processes of its own (``training.jobs``). A visitor is known by
a random word that their browser keeps, and sees the runs started under it.
"""

from __future__ import annotations

import secrets
from dataclasses import asdict
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image, ImageOps

from gan import catalog
from gan import own as own_models
from gan.checkpoint import read_config
from gan.device import on_gpu
from gan.pictures import open_picture
from gan.settings import (
    ROOT,
    data_folder,
    keep_days,
    most_gigabytes,
    most_runs,
    runs_folder,
    runs_last,
    training_allowed,
)
from gan.tabs.common import DRAWING, HELPER, PRIVATE, guard, seeds_from, t, unchecked, whole, whose, write_pngs
from gan.texts import LANGUAGES, say
from training import bases, basket, choose, jobs, publish, recogniser, records, where
from training.choose import uploaded
from training.progress import Status
from training.records import own
from training.watch import (
    CALM_SECONDS,
    LOSSES,
    light_copy,
    look_back,
    losses,
    moment_on_view,
    quality,
    view,
)

# The nearest picture's side; the gallery shows them small.
NEAR_SIDE = 600
TRIAL_COUNT = 8
NILA, SOGA = "#3d548e", "#bf843f"


# What the public endpoints do -----------------------------------------------------------------------------------


def start_run(
    base: str,
    pictures: list[str] | None,
    settings: dict | None = None,
    owner: str = "",
    request: gr.Request | None = None,
) -> str:
    """Start to train ``base`` on what the audit keeps of uploaded pictures or zips; returns the run's id.

    A generator learns to make such pictures. A classifier learns to tell classes apart: zips whose folders are the
    classes, or one zip for each. ``settings`` may hold steps, name, mirror, and keep_all to leave nothing out.
    ``owner`` is a secret word under which :func:`list_runs` finds the run again, and Generate and Classify its model;
    without one, it is the client's session.

    Raises:
        RunError: for an unknown base or setting, or where training is off.
        DataError: for pictures, or classes, that cannot be used.
    """
    return jobs.start(base, pictures or [], settings, whose(owner, request))


def stop_run(run: str) -> dict[str, Any]:
    """Let a run save and end; returns how it stands. Raises RunError when there is no such run."""
    jobs.stop(run)
    return public(jobs.status(run))


def list_runs(owner: str = "", request: gr.Request | None = None) -> list[dict[str, Any]]:
    """The caller's runs, newest first."""
    return [public(one) for one in jobs.list_jobs(whose(owner, request))]


def public(status: Status) -> dict[str, Any]:
    """A status as JSON, without this machine's folders."""
    said = {"reason": status.reason, "note": status.note}
    for folder in (runs_folder(), data_folder(), ROOT):
        said = {key: text.replace(str(folder), "…") for key, text in said.items()}
    return {**asdict(status), **said, "checkpoint": status.checkpoint is not None}


# What the page shows --------------------------------------------------------------------------------------------


def opening(owner: str, shown: list, language: str = "en") -> tuple:
    """The tab as it opens: who this is, what can be trained, their pictures not yet trained on, and the runs."""
    owner = owner or secrets.token_hex(16)
    kind = kinds(language)
    usable = gr.update(interactive=True)
    return owner, kind, usable, usable, *turn(owner, kind["value"], language), *view(owner, None, 0, shown, language)


def turn(owner: str, kind: str, language: str = "en") -> tuple:
    """What to train was chosen: what is said of it, the bases there are, the steps, and its view of the pictures."""
    return (
        gr.update(value=say(f"train.intro.{kind}", language)),
        base_choices(kind, language),
        gr.update(visible=kind == "generator"),
        *choose.present(owner, kind, language),
    )


def begin(
    base: str, left_out: list[str] | None, steps: int, name: str, flavor: str, timeout: str, push: bool, owner: str,
    shown: list, token: gr.OAuthToken | None, language: str = "en", request: gr.Request | None = None,
) -> tuple:  # fmt: skip
    """Start was pressed: the new run is the one on view.

    Raises:
        DataError, RunError, HubError: where it cannot begin; the pictures stay then.
    """
    jobs.check_allowed()
    place = where.chosen(flavor, timeout, push, token, request)
    kind, classes = bases.entry(base).kind, []
    with basket.handed_over(owner):
        if kind == "classifier":
            copies, classes = basket.kept_classes(owner, left_out or [])
        else:
            copies = basket.kept(owner, left_out or [])
        run = jobs.begin(base, copies, chosen_settings(base, steps, name), owner, classes, place, language)
    return "", *choose.present(owner, kind, language), *view(owner, run, 0, shown, language)


def chosen_settings(base: str, steps: int, name: str | None) -> dict[str, Any]:
    """The settings that the page offers for a base: how long a classifier trains is its recipe's affair."""
    return {"steps": steps if bases.entry(base).kind == "generator" else None, "name": name or ""}


def halt(owner: str, run: str | None, at: int, shown: list, language: str = "en") -> tuple:
    """Stop was pressed."""
    jobs.stop(own(owner, run))
    return view(owner, run, at, shown, language)


def go_on(
    owner: str, run: str | None, at: int, shown: list, token: gr.OAuthToken | None, language: str = "en",
    request: gr.Request | None = None,
) -> tuple:  # fmt: skip
    """Resume was pressed. Raises HubError for a run that needs a token which whoever asks may not use."""
    where.check(records.read(own(owner, run)), request)
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
    again = jobs.repeat(own(owner, run), base, chosen_settings(base, steps, name), place, language)
    return view(owner, again, 0, shown, language)


def delete(owner: str, run: str | None, shown: list, language: str = "en") -> tuple:
    """Delete was pressed, twice."""
    jobs.delete(own(owner, run))
    return gr.update(visible=False), *view(owner, None, 0, shown, language)


def promote(owner: str, run: str | None, at: int, shown: list, language: str = "en") -> tuple:
    """The moment on view is to be the run's model. Raises RunError where nothing was kept of it."""
    step = moment_on_view(own(owner, run), at, shown) or 0
    jobs.promote(run, step)
    gr.Info(say("train.promoted", language, step=step), duration=5)
    return view(owner, run, at, shown, language)


def try_it(owner: str, run: str | None, seed: int, language: str = "en") -> tuple:
    """Pictures from the model that a run made. Raises RunError when it has made none, RequestError for a bad seed."""
    status, pictures = made_by(own(owner, run), seed)
    captions = [say("generate.caption", language, seed=one) for one in seeds_from(whole(seed), len(pictures))]
    shown = list(zip(written(status, pictures, seed), captions, strict=True))
    return gr.update(value=shown, visible=True), gr.update(visible=False)


def nearest(owner: str, run: str | None, seed: int, language: str = "en") -> tuple:
    """The same pictures, each beside the nearest it was trained on, and whether they are copies. Raises as above."""
    from training.views import compare

    status, pictures = made_by(own(owner, run), seed)
    files = sorted((records.folder_of(run) / "pictures").glob("*.jpg"))
    matches = compare(pictures, files)
    shown = []
    paths, seeds = written(status, pictures, seed), seeds_from(whole(seed), len(pictures))
    for path, one, match in zip(paths, seeds, matches, strict=True):
        near = open_picture(files[match.real], side=NEAR_SIDE // 2)
        near.thumbnail((NEAR_SIDE, NEAR_SIDE))
        word = "copy" if match.copies else "near"
        shown.append((path, say("train.nearest_sample", language, seed=one)))
        shown.append((ImageOps.mirror(near) if match.mirrored else near, say(f"train.nearest_{word}", language)))
    copies = sum(match.copies for match in matches)
    verdict = say(f"train.nearest_{'warning' if copies else 'fine'}", language, count=copies, all=len(matches))
    return gr.update(value=shown, visible=True), gr.update(value=verdict, visible=True)


def made_by(run: str, seed: int) -> tuple[Status, list[Image.Image]]:
    """How a run stands, and what its model makes of ``seed`` and those that follow."""
    status = jobs.status(run)
    if status.checkpoint is None:
        raise jobs.RunError("error.job.no_model")
    return status, draw(status.checkpoint, whole(seed))


def written(status: Status, pictures: list[Image.Image], seed: int) -> list[str]:
    """The pictures as PNG files that know what made them."""
    seeds = seeds_from(whole(seed), len(pictures))
    notes = [{"model": status.title, "seed": one, "truncation": 1.0} for one in seeds]
    return write_pngs(pictures, [f"{status.base}-{status.id[:6]}-seed-{one}" for one in seeds], notes)


@on_gpu
def draw(folder: Path, seed: int) -> list[Image.Image]:
    """Pictures from a checkpoint folder."""
    return own_models.load(folder).sample(TRIAL_COUNT, seed=seed)


def kinds(language: str = "en") -> dict[str, Any]:
    """What can be trained here; not to be chosen where there is but one."""
    found = [kind for kind, some in (("generator", bases.generators()), ("classifier", bases.classifiers())) if some]
    choices = [(say(f"train.kind.{kind}", language), kind) for kind in found]
    value = found[0] if found else "generator"
    return gr.update(choices=choices, value=value, visible=len(found) > 1, interactive=True)


def base_choices(kind: str = "generator", language: str = "en") -> dict[str, Any]:
    """The models to start from: generators, batik first; of classifiers one of each network, as only that stays."""
    if kind == "generator":
        found = catalog.best_first(bases.generators())
        choices = [(one.titled(language), one.name) for one in found]
    else:
        found = sorted(bases.classifiers(), key=lambda one: len(one.classes))
        networks = {read_config(one.folder)["network"]: one for one in found}
        choices = [(say(f"train.base.{network}", language), one.name) for network, one in sorted(networks.items())]
    return gr.update(choices=choices, value=choices[0][1] if choices else None)


def made_now(base: str, run: str | None, language: str = "en") -> dict[str, Any]:
    """What a base makes before it is trained further, as long as no run is on view; a classifier makes nothing."""
    if run:
        return gr.skip()
    grid = bases.entry(base).samples if bases.entry(base).kind == "generator" else None
    value = light_copy(grid) if grid else None
    return gr.update(value=value, label=say("train.samples_now", language), visible=bool(value))


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


# Where a run is watched may be out of sight from where it was started.
TO_STATE = "() => document.querySelector('#train-state')?.scrollIntoView({block: 'center'})"

# Layout and wiring ----------------------------------------------------------------------------------------------


def build(owner: gr.BrowserState) -> None:
    """Lay the tab out and wire it, inside the page's Blocks. ``owner`` keeps the word that a visitor is known by.

    Where training is off, the tab says so and the endpoints, too.
    """
    own_models.register(jobs.own_models)
    endpoints()
    if not training_allowed():
        gr.Markdown(t("error.job.off"), elem_id="train-off")
        return
    first, either = base_choices(), kinds()
    entry = next((one for one in bases.generators() if one.name == first["value"]), None)
    # What this page has been sent: run, number of samples, number of metrics lines.
    shown = gr.State([None, [], 0])
    timer = gr.Timer(CALM_SECONDS, active=False)
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            kind = unchecked(
                gr.Radio(
                    either["choices"], value=either["value"], label=t("train.kind"), visible=either["visible"],
                    interactive=False, elem_id="train-kind",
                )
            )  # fmt: skip
            intro = gr.Markdown(t("train.intro.generator"), elem_id="train-intro", elem_classes="quiet")
            pictures, leave, chosen, look = choose.section(owner, kind)
            base = unchecked(
                gr.Radio(first["choices"], value=first["value"], label=t("train.base"), elem_id="train-base")
            )
            steps = unchecked(
                gr.Slider(
                    50, 5000, bases.DEFAULT_STEPS, step=50, label=t("train.steps"), info=t("train.steps_info"),
                    elem_id="train-steps",
                )
            )  # fmt: skip
            with gr.Accordion(t("train.more"), open=False):
                name = gr.Textbox(label=t("train.name"), max_lines=1, elem_id="train-name")
                place = where.section()
            start = gr.Button(t("train.start"), variant="primary", interactive=False, elem_id="train-start")
            told = gr.Markdown(terms(), elem_id="train-terms", elem_classes="quiet")
        with gr.Column(scale=3, min_width=320):
            runs = unchecked(gr.Radio([], label=t("train.runs"), visible=False, elem_id="train-runs"))
            state = gr.HTML(say("train.empty"), elem_id="train-state")
            with gr.Row():
                stop = gr.Button(t("train.stop"), variant="stop", visible=False, elem_id="train-stop")
                resume = gr.Button(t("train.resume"), visible=False, elem_id="train-resume")
            samples = gr.Image(
                light_copy(entry.samples) if entry and entry.samples else None,
                label=t("train.samples_now"), interactive=False, buttons=["download", "fullscreen"],
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
            figures, test = recogniser.section(owner, runs)
            verdict = gr.Markdown(visible=False, elem_id="train-verdict")
            pictured = gr.Gallery(
                label=t("generate.gallery"), show_label=False, container=False, visible=False, interactive=False,
                object_fit="contain", height="auto", columns=4, buttons=["download", "download_all", "fullscreen"],
                elem_classes="pictures", elem_id="train-gallery",
            )  # fmt: skip
            curve = gr.LinePlot(
                losses([]), x="step", y="loss", color="network", label=t("train.curve"), show_label=False, height=300,
                visible=False,
                color_map={
                    say(key, code): colour
                    for key, colour in zip(LOSSES.values(), (NILA, SOGA) * 2, strict=True)
                    for code in LANGUAGES
                },
                elem_id="train-curve",
            )  # fmt: skip
            way = gr.LinePlot(
                quality([]), x="step", y="quality", label=t("train.quality"), show_label=False, height=220,
                visible=False, elem_id="train-quality",
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

    parts = [runs, state, stop, resume, samples, moment, curve, way, trial, take, manage, figures, test, timer, shown]
    now = [owner, runs, moment, shown]
    page = gr.context.Context.root_block
    turned = [intro, base, steps, *chosen]
    # Until then nobody knows whose the pictures would be, and what was chosen would be lost.
    page.load(guard(opening), [owner, shown], [owner, kind, pictures, start, *turned, *parts], **HELPER)
    kind.input(guard(turn), [owner, kind], turned, **HELPER).then(guard(made_now), [base, runs], samples, **HELPER)
    base.input(guard(made_now), [base, runs], samples, **HELPER)
    page.load(guard(terms), None, told, **HELPER)
    look.click(guard(choose.preview), [owner, base, leave], chosen[-2:], **PRIVATE, **DRAWING)
    begun = start.click(
        guard(begin), [base, leave, steps, name, *place, owner, shown], [name, *chosen, *parts],
        show_progress_on=[start], **PRIVATE,
    )  # fmt: skip
    begun.success(None, js=TO_STATE, **PRIVATE)
    timer.tick(guard(view), now, parts, trigger_mode="once", **HELPER)
    runs.input(guard(view), now, parts, **HELPER).then(
        lambda: [gr.update(visible=False)] * 3, None, [pictured, verdict, sure], **HELPER
    )
    stop.click(guard(halt), now, parts, **HELPER)
    resume.click(guard(go_on), now, parts, **HELPER)
    moment.input(guard(look_back), now, samples, trigger_mode="always_last", **HELPER)
    take.click(guard(promote), now, parts, show_progress_on=[take], **PRIVATE, **DRAWING)
    attempt.click(guard(try_it), [owner, runs, seed], [pictured, verdict], **PRIVATE, **DRAWING)
    beside.click(guard(nearest), [owner, runs, seed], [pictured, verdict], **PRIVATE, **DRAWING)
    entitle.click(guard(rename), [owner, runs, title, moment, shown], [title, *parts], **HELPER)
    again.click(guard(repeat), [owner, runs, base, steps, name, *place, shown], parts, **HELPER)
    away.click(lambda: gr.update(visible=True), None, sure, **HELPER)
    gone = sure.click(guard(delete), [owner, runs, shown], [sure, *parts], **HELPER)
    # Nothing of what was deleted stays on the page.
    emptied = gone.success(lambda: [gr.update(value=None, visible=False)] * 2, None, [pictured, verdict], **HELPER)
    emptied.then(guard(made_now), [base, runs], samples, **HELPER)


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
