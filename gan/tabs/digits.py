"""The Digits tab: type a number, see it in a handwriting that nobody has."""

from __future__ import annotations

from typing import Any

import gradio as gr
from PIL import Image

from gan import catalog
from gan.device import on_gpu
from gan.errors import CheckpointError, RequestError
from gan.tabs.common import (
    DICE,
    DRAWING,
    HELPER,
    PRIVATE,
    entry,
    guard,
    seeds_from,
    t,
    tiles,
    unchecked,
    whole,
    write_pngs,
)
from gan.texts import LANGUAGES, say

# What the page opens with: of a shipped model's samples seed 0 is a nought, seed 1 a one, as they are typed here.
FIRST = "0123456789"
LONGEST = 20
ROWS = COLUMNS = 10
# Twenty-eight pixels are hard to see: the grid is shown, and saved, three times as large.
GRID_SCALE = 3


def model_name() -> str:
    """The generator that knows ten digits, Canting's best one first.

    Raises:
        CheckpointError: when there is none.
    """
    able = [one.name for one in catalog.entries("generator") if one.digits]
    able.sort(key=lambda name: (name != "mnist-cgan", name))
    if not able:
        raise CheckpointError(
            "error.checkpoint.unknown", name="mnist-cgan", known=", ".join(catalog.available()) or "-"
        )
    return able[0]


@on_gpu
def draw(model: str, labels: list[int], seed: int) -> list[Image.Image]:
    """One picture a digit."""
    return catalog.load(model).sample(labels=labels, seed=seed)


def digits(text: str, seed: int = 0, language: str = "en") -> list[tuple[str, str]]:
    """Each digit of ``text`` from a seed of its own: (path of a PNG, caption) each. Spaces are left out.

    Raises:
        RequestError: for anything but 1 to 20 digits, or a seed out of range.
        CheckpointError: when there is no model for digits.
    """
    wanted = "".join((text or "").split())
    if not 1 <= len(wanted) <= LONGEST or any(one not in "0123456789" for one in wanted):
        raise RequestError("error.request.digits", most=LONGEST)
    model, seed = model_name(), whole(seed)
    pictures = draw(model, [int(one) for one in wanted], seed)
    return saved(model, wanted, seed, pictures, language)


def saved(model: str, text: str, seed: int, pictures: list[Image.Image], language: str) -> list[tuple[str, str]]:
    """The pictures of the digits of ``text``, drawn from ``seed`` on, as files that say what they are, captioned."""
    drawn = list(zip(text, seeds_from(seed, len(text)), strict=True))
    notes = [{"model": model, "digit": one, "seed": its, "truncation": 1} for one, its in drawn]
    names = [f"{model}-{i:02d}-digit-{one}-seed-{its}" for i, (one, its) in enumerate(drawn)]
    captions = [say("digits.caption", language, digit=one, seed=its) for one, its in drawn]
    return list(zip(write_pngs(pictures, names, notes), captions, strict=True))


def grid(seed: int = 0) -> str:
    """A sheet with a row for each digit, ten hands a row: the path of one PNG.

    Raises:
        RequestError: for a seed out of range.
        CheckpointError: when there is no model for digits.
    """
    model, seed = model_name(), whole(seed)
    half = list(range(ROWS)) * (COLUMNS // 2)
    pictures = draw(model, half, seed) + draw(model, half, seeds_from(seed + len(half), 1)[0])
    sheet = sheet_of(pictures)
    return write_pngs([sheet], [f"{model}-grid-seed-{seed}"], [{"model": model, "seed": seed, "truncation": 1}])[0]


def show(text: str, seed: int = 0, language: str = "en") -> tuple[list[tuple[str, str]], str]:
    """As :func:`digits` and :func:`grid`, for the page."""
    return digits(text, seed, language), grid(seed)


def sheet_of(pictures: list[Image.Image]) -> Image.Image:
    """A hundred pictures, column by column, as one: a row for each digit where they run through the digits in turn."""
    side = pictures[0].width
    sheet = Image.new("L", (COLUMNS * side, ROWS * side))
    for number, picture in enumerate(pictures):
        sheet.paste(picture.convert("L"), (number // ROWS * side, number % ROWS * side))
    return sheet.resize((sheet.width * GRID_SCALE, sheet.height * GRID_SCALE), Image.Resampling.NEAREST)


def shipped() -> tuple[str, list[Image.Image]]:
    """The model for digits and a hundred of its samples, whose seeds run through the digits in turn: seed 12 draws a
    two. No samples where there is no model, or fewer."""
    try:
        model = entry(model_name(), "generator")
    except CheckpointError:
        return "", []
    made = tiles(model, ROWS * COLUMNS)
    return model.name, made if len(made) == ROWS * COLUMNS else []


def opening() -> tuple[list[tuple[str, str]], str | None]:
    """Digits and sheet that the form, as it stands, asks for: from the model's samples, without the model."""
    model, made = shipped()
    if not made:
        return [], None
    sheets = write_pngs([sheet_of(made)], [f"{model}-grid-seed-0"], [{"model": model, "seed": 0, "truncation": 1}])
    return opening_digits(model, made), sheets[0]


def opening_digits(model: str, made: list[Image.Image], language: str = "en") -> list[tuple[str, str]]:
    """The digits of :func:`opening`, captioned; none where nothing is shipped."""
    return saved(model, FIRST, 0, made[: len(FIRST)], language) if made else []


def in_words_of(language: str = "en") -> Any:
    """The first digits again for a visitor who does not read English, which the page was laid out in."""
    return gr.skip() if language == LANGUAGES[0] else opening_digits(*shipped(), language)


def build() -> None:
    """Lay the tab out and wire it, inside the page's Blocks."""
    first_digits, first_sheet = opening()
    gallery = gr.Gallery(
        first_digits,
        label=t("digits.gallery"), show_label=False, container=False, interactive=False, object_fit="contain",
        height="auto", columns=4, buttons=["download", "download_all", "fullscreen"], elem_id="digits-gallery",
        elem_classes=["pictures", "pixels", "digits"],
    )  # fmt: skip
    with gr.Row(elem_classes="actions"):
        text = gr.Textbox(FIRST, label=t("digits.text"), max_lines=1, min_width=140, scale=2, elem_id="digits-text")
        seed = unchecked(gr.Number(0, label=t("generate.seed"), precision=0, min_width=120, elem_id="digits-seed"))
        dice = gr.Button(t("generate.dice"), min_width=120)
        start = gr.Button(t("digits.start"), variant="primary", min_width=140, scale=2, elem_id="digits-start")
        cancel = gr.Button(t("app.cancel"), variant="stop", min_width=90, elem_classes="cancel")
    gr.Markdown(t("digits.grid_text"), elem_classes="quiet")
    sheet = gr.Image(
        first_sheet,
        label=t("digits.grid"), interactive=False, container=False, show_label=False, elem_id="digits-grid",
        buttons=["download", "fullscreen"], elem_classes="pixels",
    )  # fmt: skip

    # The endpoint for programs: the page draws the sheet with it.
    gr.Button(visible=False).click(guard(digits), [text, seed], gallery, api_name="digits", **DRAWING)
    drawing = {**PRIVATE, **DRAWING, "show_progress_on": gallery, "trigger_mode": "always_last"}
    written = gr.on([start.click, text.submit, seed.submit], guard(show), [text, seed], [gallery, sheet], **drawing)
    rolled = dice.click(None, None, seed, js=DICE, **PRIVATE)
    rolled = rolled.then(guard(show), [text, seed], [gallery, sheet], **drawing)
    cancel.click(None, cancels=[written, rolled], **PRIVATE)
    gr.context.Context.root_block.load(guard(in_words_of), None, gallery, **HELPER)
