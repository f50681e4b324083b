"""The Classify tab: which motif is on this cloth, why, and what does it mean?"""

from __future__ import annotations

import importlib
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import gradio as gr
from PIL import ImageOps

from gan import catalog, own
from gan.checkpoint import read_config
from gan.device import on_gpu
from gan.errors import CantingError, CheckpointError, PictureError
from gan.pictures import open_picture
from gan.tabs.answer import Row, about, as_csv, card, inline, table, why
from gan.tabs.common import (
    DRAWING,
    HELPER,
    PRIVATE,
    entry,
    guard,
    loaded,
    request_folder,
    t,
    tiles,
    unchecked,
    unopened,
    whose,
    write_pngs,
)
from gan.texts import say

if TYPE_CHECKING:
    from gan.classify import Answer, Explanation

EXAMPLES_A_MODEL = 2
THUMBNAIL = 96
# So many labels are few enough to be named.
FEW = 5
REAR = {"video": {"facingMode": "environment"}}
FAVOURITES = ("batik-best-20", "batik-mobilenet-20")
MOST_PHOTOS = 100
# One after the other: an answer to the photo or the model before must not arrive after the one that is asked for now.
IN_TURN = {"concurrency_id": "recognising", "concurrency_limit": 1, "trigger_mode": "always_last"}

# Two may be told of at once, and the first to be asked for may be the last to be told.
OF_THIS_PHOTO = """(told, photo) => {
  const of = /data-photo='([^']*)'/.exec(told)?.[1];
  return photo?.path && (!of || photo.path.includes(of)) ? told : "";
}"""


@on_gpu
def ask(model: catalog.Entry, photos: list[str | bytes]) -> list[Answer | CantingError]:
    """What a classifier says of pictures, given as paths or contents; of one that is no usable picture, why."""
    classifier = loaded(model)
    found = []
    for photo in photos:
        try:
            found.append(classifier.classify(photo))
        except PictureError as error:
            found.append(error)
    return found


@on_gpu
def explain(model: catalog.Entry, photo: str | bytes) -> Explanation:
    """What a classifier says of a picture, and where it looked."""
    return loaded(model).explain(photo)


def classify(
    photo: str | bytes | None, model: str = "batik-best-20", owner: str = "", request: gr.Request | None = None
) -> dict[str, float]:
    """Every label of the model with its probability, best first, for the picture at, or in, ``photo``.

    ``model`` may also be one that the caller has trained: ``owner`` is the word that it was started under, else it is
    the client's session.

    Raises:
        PictureError: for a file that is no usable picture.
        CheckpointError: for a model that is not there or cannot be used.
    """
    if not photo:
        raise PictureError("error.picture.none")
    (found,) = ask(entry(model, "classifier", whose(owner, request)), [photo])
    if isinstance(found, CantingError):
        raise found
    return {label: float(share) for label, share in found}


def classifiers(owner: str = "") -> list[catalog.Entry]:
    """The classifiers to choose from, the visitor's own last; the judges only measure."""
    found = [one for one in catalog.entries("classifier") if not one.name.startswith("judge-")]
    found.sort(key=lambda one: (one.name not in FAVOURITES, one.name.endswith("-report"), one.name))
    return [*found, *own.entries(owner, "classifier")]


def listed(owner: str, language: str = "en") -> dict:
    """The classifiers there are now, for the dropdown: the visitor's own come and go."""
    return gr.update(choices=[(one.titled(language), one.name) for one in classifiers(owner)])


def doubts(model: catalog.Entry) -> bool:
    """Whether a model names a probability below which it is unsure."""
    return float(read_config(model.folder).get("unsure_below", 0)) > 0


def few(model: catalog.Entry) -> tuple[str, ...]:
    """All labels of a model that knows a few alone: beside one that knows twenty its answers mean less."""
    return model.classes if len(model.classes) <= FEW else ()


def recognise(photo: str | bytes | None, model: str, owner: str = "", language: str = "en") -> tuple[str, str, str]:
    """The answer, where the model looked, and what is known of the motif, each as HTML.

    Nothing for no photo, as when a visitor took theirs away.

    Raises:
        PictureError: for a file that is no usable picture.
        CheckpointError: for a model that is not there or cannot be used.
    """
    if not photo:
        return "", "", ""
    found = explain(entry(model, "classifier", owner), photo)
    return card(found.answer, language), why(found, language), about(found.answer, language)


def side_by_side(photo: str | bytes | None, language: str = "en") -> str:
    """What every classifier says of one photo, as an HTML table; nothing for no photo."""
    if not photo:
        return ""
    rows = []
    for one in classifiers():
        try:
            rows.append(Row(one.titled(language), ask(one, [photo])[0], doubts(one), few(one)))
        except CheckpointError as error:  # one model that cannot be loaded does not silence the others
            rows.append(Row(one.titled(language), error, False))
    title = say("classify.side_by_side", language)
    told = table(rows, say("classify.column.model", language), language)
    return f"<div data-photo='{escape(which(photo))}'><h3>{title}</h3>{told}</div>"


def which(photo: str | bytes) -> str:
    """What tells an upload from others: the folder that Gradio named after its contents."""
    return Path(photo).parent.name if isinstance(photo, str) else ""


def many(photos: list[tuple[str, str]] | None, model: str, owner: str = "", language: str = "en") -> tuple[str, str]:
    """Answers for several photos, given as (path, name): an HTML table, and the path of the same as a CSV file.

    A photo that cannot be read has its reason in its row; the others are answered.

    Raises:
        PictureError: for no photo, or too many.
        CheckpointError: for a model that is not there or cannot be used.
    """
    if not photos:
        raise PictureError("error.picture.none")
    if len(photos) > MOST_PHOTOS:
        raise PictureError("error.picture.many", most=MOST_PHOTOS, found=len(photos))
    asked = entry(model, "classifier", owner)
    found = ask(asked, [path for path, _ in photos])
    rows = [
        Row(name, one, doubts(asked), thumbnail=thumbnail(path))
        for (path, name), one in zip(photos, found, strict=True)
    ]
    path = request_folder() / "canting-motifs.csv"
    # The mark at its start tells spreadsheets that the file is UTF-8.
    path.write_text(as_csv(rows, language), encoding="utf-8-sig", newline="")
    return table(rows, say("classify.column.file", language), language), str(path)


def thumbnail(path: str) -> str:
    """A photo's middle, small, in an address that holds it; "" for what is no picture. Files may be named alike."""
    try:
        return inline(ImageOps.fit(open_picture(path, side=THUMBNAIL), (THUMBNAIL, THUMBNAIL)))
    except PictureError:
        return ""


def examples() -> list[tuple[str, str]]:
    """Cloths made by Canting's own generators, the first of each model's samples: (path, caption)."""
    made = []
    for model in catalog.entries("generator"):
        if not model.name.startswith("batik") or model.name.endswith("-report"):
            continue
        pictures = tiles(model, EXAMPLES_A_MODEL)
        notes = [{"model": model.name, "seed": seed, "truncation": 1} for seed in range(len(pictures))]
        paths = write_pngs(pictures, [f"{model.name}-seed-{seed}" for seed in range(len(pictures))], notes)
        made += [(path, model.title) for path in paths]
    return made


def build(owner: gr.State | gr.BrowserState, opened: gr.Tab) -> None:
    """Lay the tab out and wire it, inside the page's Blocks.

    ``owner`` keeps the word that a visitor is known by; ``opened`` is the tab it lies in.
    """
    models = classifiers()
    cloths = examples()
    with gr.Row():
        with gr.Column(scale=3, min_width=300):
            photo = unopened(
                gr.Image(
                    label=t("classify.photo"),
                    type="filepath",
                    sources=["upload", "clipboard", "webcam"],
                    # A telephone's camera on the side of the cloth.
                    webcam_options=gr.WebcamOptions(mirror=False, constraints=REAR),
                    height=420,
                    buttons=["fullscreen"],
                    elem_id="classify-photo",
                )
            )
        with gr.Column(scale=2, min_width=280):
            model = unchecked(
                gr.Dropdown(
                    [(one.title, one.name) for one in models],
                    value=models[0].name if models else None,
                    label=t("classify.model"),
                    filterable=False,
                    elem_id="classify-model",
                )
            )
            start = gr.Button(t("classify.start"), variant="primary", elem_id="classify-start")
            cancel = gr.Button(t("app.cancel"), variant="stop", elem_classes="cancel")
            answer = gr.HTML(elem_id="classify-answer", min_height=60)
            gr.Markdown(t("classify.limits"), elem_classes="quiet")
    with gr.Row(elem_classes="until-asked"):
        with gr.Column(scale=3, min_width=300):
            seen = gr.HTML(elem_id="classify-why")
        with gr.Column(scale=2, min_width=280):
            known = gr.HTML(elem_id="classify-motif")
    versus = gr.HTML(elem_id="classify-versus", elem_classes="until-asked")
    if cloths:
        gr.Markdown(t("classify.examples"), elem_classes="quiet")
        shelf = gr.Gallery(
            cloths, label=t("classify.examples_label"), show_label=False, container=False, interactive=False,
            allow_preview=False, columns=len(cloths), height="auto", buttons=[], elem_id="classify-examples",
            elem_classes=["pictures", "many"],
        )  # fmt: skip
    with gr.Accordion(t("classify.many"), open=False, elem_id="classify-many"):
        photos = named(gr.File(label=t("classify.many_photos"), file_count="multiple", height=180))
        all_start = gr.Button(t("classify.many_start"), variant="primary", elem_id="classify-many-start")
        answers = gr.HTML(elem_id="classify-many-table", min_height=40)
        download = gr.DownloadButton(t("classify.many_download"), visible=False, elem_id="classify-many-download")
    # The endpoint for programs: what the page shows beyond it, it asks for in ways of its own.
    door, word, ranked = gr.Button(visible=False), gr.Textbox("", visible=False), gr.Label(visible=False)
    door.click(guard(classify), [photo, model, word], ranked, api_name="classify", **DRAWING)

    recognising = {**PRIVATE, **IN_TURN, "show_progress_on": answer}
    shown, request = [answer, seen, known], [photo, model, owner]
    asked = start.click(guard(demanded), request, shown, **recognising)
    # A change, not an input: taking the photo away fires the input while the photo is still there.
    changed = photo.change(guard(recognise), request, shown, **recognising)
    switched = model.input(guard(recognise), request, shown, **recognising)
    latest = {**HELPER, **DRAWING, "trigger_mode": "always_last"}
    compared = [event.success(guard(side_by_side), photo, versus, **latest) for event in (asked, changed)]
    photo.change(None, None, versus, js="() => ''", **PRIVATE)
    # What was still being told of the photo before must not stay beside what is told of this one.
    for event in compared:
        event.success(None, [versus, photo], versus, js=OF_THIS_PHOTO, **PRIVATE)
    for event in (asked, changed, switched):
        # An older answer beside a picture that could not be read would be a wrong one.
        event.failure(lambda: ("", "", "", ""), None, [*shown, versus], **HELPER)
    listing = all_start.click(
        guard(listed_all),
        [photos, model, owner],
        [answers, download],
        show_progress_on=answers,
        **PRIVATE,
        **DRAWING,
    )
    if cloths:

        def take(event: gr.SelectData) -> str:
            """The example that was clicked. The browser says which; a path from it would be served to it."""
            return cloths[event.index][0]

        shelf.select(guard(take), None, photo, **HELPER)
        # On a telephone the answer is far above them.
        shelf.select(None, js="() => document.querySelector('#classify-photo')?.scrollIntoView()", **PRIVATE)
    opened.select(guard(listed), owner, model, **HELPER)
    gr.context.Context.root_block.load(guard(listed), owner, model, **HELPER)
    cancel.click(None, cancels=[asked, changed, switched, listing, *compared], **PRIVATE)


def demanded(photo: str | None, model: str, owner: str = "", language: str = "en") -> tuple[str, str, str]:
    """As :func:`recognise`; without a photo a sentence says so."""
    if not photo:
        raise PictureError("error.picture.none")
    return recognise(photo, model, owner, language)


def listed_all(photos: list | None, model: str, owner: str = "", language: str = "en") -> tuple[str, gr.DownloadButton]:
    """As :func:`many`, with the button that hands out the file."""
    shown, path = many(photos, model, owner, language)
    return shown, gr.DownloadButton(value=path, visible=True)


def warm_up() -> None:
    """Load the first classifier and what explains its answers, so that the first visitor need not wait for it."""
    for model in classifiers()[:1]:
        catalog.load(model.name)
    importlib.import_module("captum.attr")  # takes longer than an answer


def named(file: gr.File) -> gr.File:
    """Hand the handler each upload's path and the name that its owner gave it."""

    def pairs(payload: object) -> list[tuple[str, str]]:
        return [(one.path, one.orig_name or Path(one.path).name) for one in payload.root] if payload else []

    file.preprocess = pairs
    return file
