"""The Generate tab: pictures from any of the generators, and ways to wander from one to the next."""

from __future__ import annotations

import base64
import io
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import gradio as gr
from PIL import Image, ImageOps

from gan import catalog, own
from gan.device import on_gpu
from gan.errors import CheckpointError, RequestError
from gan.tabs.common import (
    DICE,
    DRAWING,
    HELPER,
    PRIVATE,
    SEEDS,
    entry,
    guard,
    loaded,
    request_folder,
    seeds_from,
    t,
    tiles,
    unchecked,
    whole,
    whose,
    write_pngs,
)
from gan.texts import LANGUAGES, say

COUNT = 8
NEIGHBOURS = 8
WALK_FRAMES = 32
WALK_MILLISECONDS = 70

Captioned = list[tuple[str, str]]


@on_gpu
def draw(model: catalog.Entry, count: int, seed: int, truncation: float) -> list[Image.Image]:
    """Sample a model; with classes, a seed always shows the same one."""
    generator = loaded(model)
    labels = None
    if generator.classes and isinstance(count, int) and isinstance(seed, int) and 0 < count <= 64:
        labels = [one % generator.classes for one in seeds_from(seed, count)]
    return generator.sample(count, seed=seed, truncation=truncation, labels=labels)


@on_gpu
def draw_neighbours(model: catalog.Entry, seed: int, truncation: float, path: Sequence[int]) -> list[Image.Image]:
    """A picture and its neighbours, or those of the neighbour that ``path`` leads to."""
    generator = loaded(model)
    labels = [seed % generator.classes] * NEIGHBOURS if generator.classes and isinstance(seed, int) else None
    return generator.neighbours(seed, NEIGHBOURS, truncation=truncation, labels=labels, path=path)


@on_gpu
def draw_walk(model: catalog.Entry, seed_a: int, seed_b: int, truncation: float) -> list[Image.Image]:
    """The frames of a loop between two seeds."""
    return loaded(model).walk(seed_a, seed_b, frames=WALK_FRAMES, truncation=truncation)


def generate(
    model: str,
    count: int = COUNT,
    seed: int = 0,
    truncation: float = 1.0,
    owner: str = "",
    language: str = "en",
    request: gr.Request | None = None,
) -> Captioned:
    """Pictures of the seeds ``seed``, ``seed + 1``, …: (path of a PNG that knows what made it, caption) each.

    ``model`` may also be one that the caller has trained: ``owner`` is the word that it was started under, else it is
    the client's session.

    Raises:
        CheckpointError: for a model that is not there or cannot be used.
        RequestError: for a number out of range.
    """
    count, seed = whole(count), whole(seed)
    pictures = draw(entry(model, "generator", whose(owner, request)), count, seed, truncation)
    return captioned(model, pictures, seed, truncation, language)


def captioned(model: str, pictures: list[Image.Image], seed: int, truncation: float, language: str = "en") -> Captioned:
    """Write pictures of consecutive seeds and caption each with its own."""
    seeds = seeds_from(seed, len(pictures))
    notes = [{"model": model, "seed": one, "truncation": float(truncation)} for one in seeds]
    paths = write_pngs(pictures, [f"{model}-seed-{one}" for one in seeds], notes)
    return [(path, say("generate.caption", language, seed=one)) for path, one in zip(paths, seeds, strict=True)]


def neighbours(
    model: str,
    seed: int,
    truncation: float = 1.0,
    owner: str = "",
    path: Sequence[int] = (),
    language: str = "en",
) -> Captioned:
    """The picture of ``seed``, or the neighbour that ``path`` leads to, and others a small step away, captioned."""
    seed = whole(seed)
    if seed is None:
        raise RequestError("error.request.choose")
    pictures = draw_neighbours(entry(model, "generator", owner), seed, truncation, path)
    ways = [[*path, i] for i in range(len(pictures))]
    # A file's name has its limits; the picture itself tells the whole way.
    names = [f"{model}-seed-{seed}-near-{'-'.join(map(str, way[-12:]))}" for way in ways]
    notes = [
        {"model": model, "seed": seed, "truncation": f"{truncation:g}", "neighbour": " ".join(map(str, way))}
        for way in ways
    ]
    paths = write_pngs(pictures, names, notes)
    here = " › ".join(map(str, (seed, *path)))
    first, others = say("generate.caption", language, seed=here), say("generate.near", language, seed=here)
    return [(path, others if i else first) for i, path in enumerate(paths)]


def walk(model: str, seed_a: int, seed_b: int, truncation: float = 1.0, owner: str = "") -> str:
    """An endless loop from one seed's picture to another's and back: the path of an animated WebP."""
    seed_a, seed_b = whole(seed_a), whole(seed_b)
    if seed_a is None or seed_b is None:
        raise RequestError("error.request.choose_two")
    frames = draw_walk(entry(model, "generator", owner), seed_a, seed_b, truncation)
    path = request_folder() / f"canting-{model}-walk-{seed_a}-{seed_b}.webp"
    frames = [frame.convert("RGB") for frame in frames]
    frames[0].save(
        path, save_all=True, append_images=frames[1:], duration=WALK_MILLISECONDS, loop=0, quality=82, method=2
    )
    return str(path)


def bundle(pictures: list[tuple[str, str | None]] | None) -> str | None:
    """All pictures of a gallery as one zip; they are compressed already, so it only stores them."""
    if not pictures:
        return None
    path = request_folder() / "canting.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number, (picture, _) in enumerate(pictures):
            name = Path(picture).name
            archive.write(picture, name if name not in archive.namelist() else f"{number}-{name}")
    return str(path)


def samples(model: str, owner: str = "", language: str = "en") -> Captioned:
    """The pictures a model ships with, seeds 0, 1, 2, …: there at once, without the model."""
    return captioned(model, tiles(entry(model, "generator", owner), COUNT), 0, 1.0, language)


def warm_up() -> None:
    """Load the first generator, and torch with it, so that the first visitor need not wait for it."""
    for model in generators()[:1]:
        catalog.load(model.name)


def generators(owner: str = "") -> list[catalog.Entry]:
    """The generators to choose from, the visitor's own last; those that draw digits have a tab of their own."""
    found = catalog.entries("generator")
    free = [one for one in found if not one.digits] or found
    return [*catalog.best_first(free), *own.entries(owner, "generator")]


def swatch_style(models: list[catalog.Entry]) -> str:
    """A style sheet that lays each model's first picture on its radio button."""
    rules = []
    for number, model in enumerate(models, start=1):
        for tile in tiles(model, 1):
            buffer = io.BytesIO()
            swatch = tile.convert("RGB")
            if swatch.width < 120:
                swatch = swatch.resize((128, 128), Image.Resampling.NEAREST)
            ImageOps.fit(swatch, (144, 108)).save(buffer, "WEBP", quality=80)
            data = base64.b64encode(buffer.getvalue()).decode()
            picture = f'url("data:image/webp;base64,{data}")'
            rules.append(f".swatches label:nth-of-type({number}) {{ --cloth: {picture} }}")
    return f"<style>{' '.join(rules)}</style>"


def look(model: str, owner: str = "") -> dict[str, Any]:
    """How a gallery shows a model's pictures: small ones smaller, with their pixels left square."""
    small = entry(model, "generator", owner).resolution <= 64
    return {"columns": 8 if small else 4, "elem_classes": ["pictures", "pixels", "many"] if small else ["pictures"]}


def show(model: str, count: int, seed: int, truncation: float, owner: str, language: str = "en") -> tuple:
    """As :func:`generate`, for the page: the pictures, what they are, the end of the link to them, and their zip."""
    pictures = generate(model, count, seed, truncation, owner, language)
    return pictures, *told(model, pictures, whole(seed), truncation)


def told(model: str, pictures: Captioned, seed: int, truncation: float) -> tuple[list, str, str | None]:
    """What goes with pictures on the page, whatever the form says by then."""
    count = len(pictures) or COUNT
    query = urlencode({"model": model, "seed": seed, "truncation": truncation, "count": count})
    return [model, seed, truncation], f"?{query}", bundle(pictures)


def choose_model(model: str, owner: str, language: str = "en") -> tuple:
    """A visitor picked another model: its samples, and the form as it was for them."""
    pictures = samples(model, owner, language)
    gallery = gr.update(value=pictures, **look(model, owner))
    return len(pictures) or COUNT, 0, 1.0, gallery, *told(model, pictures, 0, 1.0)


def asked_for(query: dict[str, str]) -> tuple[str, int, int, float] | None:
    """What a link asks for: (model, count, seed, truncation), or None when it names no model.

    Raises:
        RequestError: when one of its numbers is none.
    """
    if "model" not in query:
        return None
    try:
        return (
            query["model"],
            int(query.get("count", COUNT)),
            int(query.get("seed", 0)),
            float(query.get("truncation", 1)),
        )
    except ValueError:
        raise RequestError("error.request.link") from None


def listed(owner: str, language: str = "en") -> tuple[dict[str, Any], str]:
    """The models there are now, for the radio group and its style: the visitor's own come and go."""
    return offered(generators(owner), language)


def offered(models: list[catalog.Entry], language: str) -> tuple[dict[str, Any], str]:
    """Models for the radio group, and its style."""
    return gr.update(choices=choices(models, language)), swatch_style(models)


def opening(owner: str, request: gr.Request, language: str = "en") -> tuple:
    """The page as its address asks for it: the models there are now, and the pictures of a link."""
    asked = asked_for(dict(request.query_params))
    models = generators(owner)
    if asked:
        try:
            entry(asked[0], "generator", owner)
        except CheckpointError:
            gr.Warning(say("generate.gone", language, name=asked[0]))
            asked = None
    if asked is None:
        # The page was laid out for everybody, with captions in English.
        pictures = gr.skip() if language == LANGUAGES[0] or not models else samples(models[0].name, owner, language)
        return *offered(models, language), *[gr.skip()] * 3, pictures, *[gr.skip()] * 3
    name, count, seed, truncation = asked
    pictures, *facts = show(name, count, seed, truncation, owner, language)
    if name not in [one.name for one in models]:
        models.append(entry(name, "generator"))
    return (
        gr.update(choices=choices(models, language), value=name),
        swatch_style(models),
        count,
        seed,
        truncation,
        gr.update(value=pictures, **look(name, owner)),
        *facts,
    )


def choices(models: list[catalog.Entry], language: str = "en") -> list[tuple[str, str]]:
    """Models as a radio group takes them."""
    return [(one.titled(language), one.name) for one in models]


def pick(event: gr.SelectData, shown: list[int], picked: int | None) -> tuple[int | None, int | None, list[int]]:
    """A picture was opened: its seed, that of the one opened before, and no way yet from it to a neighbour."""
    seed = (shown[1] + event.index) % SEEDS
    return seed, picked if picked != seed else gr.skip(), []


def follow(event: gr.SelectData, here: list) -> tuple[int, list[int]]:
    """A neighbour was opened: the seed that it comes from, and the way to it; ``here`` is what all of them are of."""
    seed, path = here
    return seed, [*path, event.index]


def copied(language: str = "en") -> None:
    """The browser has the link: nothing else would show it."""
    gr.Info(say("generate.copied", language), duration=3)


# What only the browser knows: where this page lies.
LINK = "query => new URL(query, window.location.origin + window.location.pathname).href"
# What is on show is there again when the page is loaded anew.
KEPT = f"query => {{ const link = ({LINK})(query); history.replaceState(history.state, '', link); return link; }}"
COPY = "link => { navigator.clipboard?.writeText(link); }"
# Gradio looks at the row of small pictures below the one that was opened.
IN_SIGHT = "() => setTimeout(() => document.querySelector('{}')?.scrollIntoView({{block: 'start'}}), 60)"
# A gallery that shows a picture alone would go on to show another.
CLOSED = "() => document.querySelector('{} .preview .icon-button-wrapper button:last-of-type')?.click()"
NEXT = f"(seed, count) => (Number(seed) + Number(count)) % {SEEDS}"


def build(owner: gr.State | gr.BrowserState, opened: gr.Tab) -> None:
    """Lay the tab out and wire it, inside the page's Blocks.

    ``owner`` keeps the word that a visitor is known by; ``opened`` is the tab it lies in.
    """
    models = generators()
    first = models[0].name if models else None
    style = gr.HTML(swatch_style(models), padding=False, elem_classes="no-show")
    model = unchecked(
        gr.Radio(
            choices(models),
            value=first,
            label=t("generate.model"),
            show_label=False,
            container=False,
            elem_classes="swatches",
            elem_id="generate-model",
        )
    )
    if not models:
        gr.Markdown(t("generate.none"))
    opening_pictures = samples(first) if first else []
    opening_facts, opening_link, opening_zip = told(first, opening_pictures, 0, 1.0)
    gallery = gr.Gallery(
        opening_pictures,
        label=t("generate.gallery"),
        show_label=False,
        container=False,
        interactive=False,
        object_fit="contain",
        height="auto",
        buttons=["download", "download_all", "fullscreen"],
        elem_id="generate-gallery",
        **(look(first) if first else {}),
    )
    with gr.Row(elem_classes="actions"):
        # No bounds here: Gradio would refuse in English what the model refuses in the visitor's language.
        count = unchecked(gr.Number(COUNT, label=t("generate.count"), precision=0, min_width=90))
        seed = unchecked(gr.Number(0, label=t("generate.seed"), precision=0, min_width=120, elem_id="generate-seed"))
        dice = gr.Button(t("generate.dice"), min_width=110, scale=1)
        more = gr.Button(t("generate.next"), min_width=120, scale=1)
        start = gr.Button(t("generate.start"), variant="primary", min_width=160, scale=2, elem_id="generate-start")
        cancel = gr.Button(t("app.cancel"), variant="stop", min_width=90, scale=1, elem_classes="cancel")
    with gr.Row():
        with gr.Column(min_width=280):
            gr.Markdown(t("generate.wander"), elem_classes="quiet")
            with gr.Row():
                picked = unchecked(gr.Number(0, label=t("generate.picked"), precision=0, min_width=110))
                before = unchecked(gr.Number(1, label=t("generate.before"), precision=0, min_width=110))
            with gr.Row():
                near = gr.Button(t("generate.more_like"), min_width=140, elem_id="generate-near")
                stroll = gr.Button(t("generate.walk"), min_width=140, elem_id="generate-walk")
        with gr.Column(min_width=280):
            with gr.Row():
                link = gr.Textbox(
                    opening_link, label=t("generate.link"), interactive=True, max_lines=1, scale=3,
                    elem_id="generate-link",
                )  # fmt: skip
                copy = gr.Button(t("generate.copy"), min_width=110, elem_id="generate-copy")
            download = gr.DownloadButton(t("generate.download"), opening_zip, elem_id="generate-download")
            with gr.Accordion(t("generate.expert"), open=False):
                truncation = unchecked(
                    gr.Slider(0, 1.5, 1, step=0.05, label=t("generate.truncation"), info=t("generate.truncation_info"))
                )
    loop = gr.Image(
        label=t("generate.loop"), interactive=False, visible=False, buttons=["download", "fullscreen"],
        elem_classes="loop", elem_id="generate-loop",
    )  # fmt: skip
    close = gr.Gallery(
        label=t("generate.close"), visible=False, interactive=False, object_fit="contain", height="auto", columns=4,
        buttons=["download", "download_all", "fullscreen"], elem_classes="pictures", elem_id="generate-close",
    )  # fmt: skip
    # What the gallery shows, whatever the form says by now: model, first seed, truncation. One a visitor.
    shown = gr.State(opening_facts)
    # The way from the chosen seed to the neighbour that was opened last; what the neighbours on show are of.
    way, here = gr.State([]), gr.State([0, []])
    request, mine = [model, count, seed, truncation], [model, count, seed, truncation, owner]
    pictured = [gallery, shown, link, download]
    # Their answers have more parts than the gallery, which alone is to show that it waits.
    drawing = {**PRIVATE, **DRAWING, "show_progress_on": gallery, "trigger_mode": "always_last"}

    # The endpoint for programs: the page's own requests know the visitor by what the browser keeps.
    door, word = gr.Button(visible=False), gr.Textbox("", visible=False)
    door.click(guard(generate), [*request, word], gallery, api_name="generate", **DRAWING)
    drawn = [gr.on([start.click, count.submit, seed.submit], guard(show), mine, pictured, **drawing)]
    for button, inputs, js in ((more, [seed, count], NEXT), (dice, None, DICE)):
        moved = button.click(None, inputs, seed, js=js, **PRIVATE)
        drawn.append(moved.then(guard(show), mine, pictured, **drawing))
    # Pictures of the model before must not come after the samples of this one.
    chosen = model.input(
        guard(choose_model), [model, owner], [count, seed, truncation, *pictured], cancels=drawn,
        trigger_mode="always_last", **HELPER,
    )  # fmt: skip
    for event in (*drawn, chosen):
        event.success(None, link, link, js=KEPT, **PRIVATE)
        # Nobody has chosen what would come in the place of the picture that was opened.
        event.success(None, js=CLOSED.format("#generate-gallery"), **PRIVATE)

    copy.click(None, link, js=COPY, **PRIVATE)
    copy.click(guard(copied), **HELPER)

    # Not in the queue: whoever presses a button next means the picture that was opened.
    gallery.select(guard(pick), [shown, picked], [picked, before, way], queue=False, **HELPER)
    close.select(guard(follow), here, [picked, way], queue=False, **HELPER)
    picked.input(lambda: [], None, way, **HELPER)
    for one in (gallery, close):
        one.select(None, js=IN_SIGHT.format(f"#{one.elem_id}"), **PRIVATE)
    near.click(None, js=CLOSED.format("#generate-close"), **PRIVATE)
    wander = [
        near.click(guard(near_shown), [shown, picked, way, owner], [close, here], **drawing),
        stroll.click(guard(walk_shown), [shown, before, picked, owner], loop, **drawing),
    ]
    for event, one in zip(wander, (close, loop), strict=True):
        event.success(None, js=IN_SIGHT.format(f"#{one.elem_id}"), **PRIVATE)
    cancel.click(None, cancels=[*drawn, *wander], **PRIVATE)
    # They are of the model before.
    model.input(
        lambda: [gr.update(visible=False), gr.update(visible=False), []],
        None,
        [close, loop, way],
        cancels=wander,
        **HELPER,
    )

    page = gr.context.Context.root_block
    page.load(None, link, link, js=LINK, **PRIVATE)
    arrived = page.load(guard(opening), owner, [model, style, count, seed, truncation, *pictured], **HELPER, **DRAWING)
    arrived.success(None, link, link, js=LINK, **PRIVATE)
    opened.select(guard(listed), owner, [model, style], **HELPER)


def near_shown(
    shown: list, seed: int | None, way: list[int], owner: str, language: str = "en"
) -> tuple[dict[str, Any], list]:
    """More like the chosen picture, or the neighbour of it that was opened last, and what they are of."""
    return gr.update(value=neighbours(shown[0], seed, shown[2], owner, way, language), visible=True), [whole(seed), way]


def walk_shown(shown: list, seed_a: int | None, seed_b: int | None, owner: str) -> dict[str, Any]:
    """A walk between two chosen pictures of those on show."""
    return gr.update(value=walk(shown[0], seed_a, seed_b, shown[2], owner), visible=True)
