"""The Train tab's pictures: drop them, see what the audit finds, tick what to leave out, see what the model will see.

The tick boxes are the contact sheet: each shows its picture. All of them come as one picture inside the page's style,
so that nothing of a visitor's lies at an address of its own.

What the audit says depends on what is to be trained: a classifier's pictures have classes (``training.labels``).
"""

from __future__ import annotations

import base64
import contextlib
import html
import io
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image, ImageOps

from gan.errors import PictureError
from gan.pictures import SUFFIXES, open_picture
from gan.tabs.common import HELPER, PRIVATE, guard, t, unchecked
from gan.texts import say
from training import basket, labels
from training.intake import LEAST_PICTURES, MOST

COLUMNS, CELL = 10, (144, 108)
LONGEST_NAME = 20
PREVIEWS = 8
# How many pictures of two classes are named under the count.
NAMED = 5

CSS = """
#train-leave { padding: 8px 10px !important; background: var(--block-background-fill) !important; }
#train-leave .wrap { display: grid; grid-template-columns: repeat(auto-fill, minmax(104px, 1fr)); gap: 6px;
  max-height: 430px; overflow-y: auto; padding: 4px; }
#train-leave label { position: relative; display: flex; flex-direction: column; align-items: stretch; gap: 4px;
  padding: 0 0 4px; border: 0; border-radius: 4px; background: transparent; box-shadow: none; cursor: pointer; }
#train-leave label::before { content: ""; display: block; aspect-ratio: 4 / 3; border-radius: 3px;
  background: var(--background-fill-secondary) var(--sheet, none); }
#train-leave label:has(input:checked)::before { opacity: .35; filter: grayscale(1); }
#train-leave label:focus-within { outline: 3px solid #d9a441; outline-offset: 1px; }
#train-leave label span { margin: 0 !important; font-size: 12px; line-height: 1.25; overflow-wrap: anywhere;
  color: var(--body-text-color-subdued); }
#train-leave label:has(input:checked) span { color: var(--body-text-color); }
#train-leave input { position: absolute; top: 6px; left: 6px; width: 18px; height: 18px; margin: 0; }
#train-pictures .empty { min-height: 0; height: 114px; }
#train-count p { margin: 0; font-size: 14px; }
#train-count .few { color: var(--secondary-700); font-weight: 700; }
.dark #train-count .few { color: #d9a441; }
"""


# Handlers -------------------------------------------------------------------------------------------------------


def drop(
    pictures: list[str] | None, left_out: list[str] | None, owner: str, kind: str = "generator", language: str = "en"
) -> tuple:
    """Pictures were dropped: into the basket, and what the audit finds onto the page. Ticks of before stay.

    Raises:
        DataError: for too many pictures or an unsafe zip.
    """
    before = {one.copy: one.rule for one in judged(owner, kind)}
    basket.add(owner, pictures or [])
    items = judged(owner, kind)
    # Ticks stay, and so does their absence, but not where what is found is new, or gone: a class may have grown.
    stays = [one.copy for one in items if before.get(one.copy) == one.rule]
    ticked = [one.copy for one in items if (one.copy in (left_out or []) if one.copy in stays else one.rule)]
    return None, *show(owner, items, ticked, kind, language)


def clear(owner: str, kind: str = "generator", language: str = "en") -> tuple:
    """Remove all was pressed."""
    basket.empty(owner)
    return show(owner, [], [], kind, language)


def present(owner: str, kind: str = "generator", language: str = "en") -> tuple:
    """The basket as it lies, with the audit's own ticks."""
    items = judged(owner, kind) if owner else []
    return show(owner, items, [one.copy for one in items if one.rule], kind, language)


def recount(owner: str, left_out: list[str] | None, kind: str = "generator", language: str = "en") -> str:
    """A box was ticked: how many are left, and what could not be read."""
    return count(judged(owner, kind), left_out or [], kind, language)


def judged(owner: str, kind: str) -> list[basket.Item]:
    """What is in the basket, and what speaks against it for a generator or a classifier."""
    return basket.content(owner, classes=kind == "classifier")


def preview(owner: str, base: str, left_out: list[str] | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Some of the chosen pictures as a training would see them. Raises TooFew when too few are chosen."""
    from training.views import augmented

    chosen = basket.kept(owner, left_out or [])
    some = chosen[:: max(1, len(chosen) // PREVIEWS)][:PREVIEWS]
    return gr.update(value=augmented(some, base), visible=True), gr.update(visible=True)


# What they show -------------------------------------------------------------------------------------------------


def show(owner: str, items: list[basket.Item], ticked: list[str], kind: str, language: str) -> tuple:
    """Updates for the section's parts: style, count, boxes, buttons, the preview's button, preview and its text."""
    seen = sorted((one for one in items if one.copy), key=lambda one: not one.rule)
    boxes = gr.update(
        choices=[(caption(one, kind, language), one.copy) for one in seen],
        value=[one for one in ticked if one],
        visible=bool(seen),
    )
    folder = basket.folder_of(owner) / "pictures"
    return (
        sheet([folder / one.copy for one in seen]),
        count(items, ticked, kind, language),
        boxes,
        gr.update(visible=bool(items)),
        # A classifier sees pictures as they are.
        gr.update(visible=kind == "generator"),
        gr.update(value=None, visible=False),
        gr.update(visible=False),
    )


def caption(item: basket.Item, kind: str, language: str) -> str:
    """What the audit says about a picture, its class, and its name or that of the one it repeats."""
    parts = [say(f"train.rule.{item.rule}", language)] if item.rule else []
    if kind == "classifier" and item.label:
        parts.append(short(item.label))
    parts.append(say("train.like", language, name=short(item.like)) if item.like else short(item.name))
    return " · ".join(parts)


def short(name: str, most: int = LONGEST_NAME) -> str:
    """A file name with its middle left out where it is long."""
    return name if len(name) <= most else f"{name[: most // 2]}…{name[-(most // 2) :]}"


def count(items: list[basket.Item], left_out: list[str], kind: str, language: str) -> str:
    """How many pictures will be used, of which classes, and which files could not be read and why, as HTML."""
    if not items:
        return ""
    kept = [one for one in items if one.copy and one.copy not in left_out]
    few = len(kept) < LEAST_PICTURES
    values = {"kept": len(kept), "files": len(items), "least": LEAST_PICTURES}
    sentence = say("train.audit_few" if few else "train.audit_count", language, **values)
    classes = about_classes(items, kept, language) if kind == "classifier" else []
    broken = [one for one in items if not one.copy]
    rows = [f"<p>{html.escape(one.name)}: {html.escape(one.reason.get(language[:2], ''))}</p>" for one in broken[:10]]
    if len(broken) > 10:
        rows.append(f"<p>+ {len(broken) - 10}</p>")
    return "".join(
        [
            f'<p role="status" class="{"few" if few else ""}">{sentence}.</p>',
            *classes,
            *rows,
            f"<p>{say(f'train.audit_found.{kind}', language)}</p>",
        ]
    )


def about_classes(items: list[basket.Item], kept: list[basket.Item], language: str) -> list[str]:
    """The classes with their numbers of pictures, and what stands in the way of learning them, as HTML."""
    chosen = [one.label for one in kept if one.label]
    all_labels = sorted({one.label for one in items if one.label})
    used = {label: chosen.count(label) for label in all_labels if label in chosen}
    gone = {label: sum(one.label == label for one in items) for label in all_labels if label not in chosen}
    few, apart = labels.too_few(chosen), labels.unequal(chosen)
    # Of each group once, however many are in it.
    crosses = {one.group: f"{one.label}/{one.name} = {one.like}" for one in items if one.rule == "crosses"}
    crossing = list(crosses.values())
    named = "; ".join(crossing[:NAMED]) + (f"; + {len(crossing) - NAMED}" if len(crossing) > NAMED else "")
    # In the way, key, values.
    said = [
        (False, used and "train.classes", {"found": labels.listed(used)}),
        (True, not all_labels and "error.classes.none", {}),
        (True, all_labels and len(used) < 2 and "train.classes_one", {}),
        (True, few and "train.classes_few", {"least": labels.LEAST_OF_A_CLASS, "found": labels.listed(few)}),
        (False, gone and "train.classes_gone", {"least": labels.LEAST_OF_A_CLASS, "found": labels.listed(gone)}),
        (False, apart and not few and "train.classes_unequal", dict(zip(("most", "least"), apart or (), strict=False))),
        (False, crossing and "train.classes_cross", {"count": len(crossing), "found": named}),
    ]
    return [
        f'<p class="{"few" if stops else ""}">{html.escape(say(key, language, **values))}</p>'
        for stops, key, values in said
        if key
    ]


def sheet(pictures: list[Path]) -> str:
    """A style that lays each picture on its tick box: all of them small, side by side in one JPEG."""
    if not pictures:
        return ""
    rows = -(-len(pictures) // COLUMNS)
    whole = Image.new("RGB", (COLUMNS * CELL[0], rows * CELL[1]))
    rules = []
    for index, path in enumerate(pictures):
        row, column = divmod(index, COLUMNS)
        # One that cannot be read any more leaves its place dark: the others must stay in reach.
        with contextlib.suppress(PictureError):
            whole.paste(ImageOps.fit(open_picture(path, side=CELL[1]), CELL), (column * CELL[0], row * CELL[1]))
        x, y = 100 * column / (COLUMNS - 1), 100 * row / max(1, rows - 1)
        rules.append(f"#train-leave label:nth-of-type({index + 1})::before{{background-position:{x:.3f}% {y:.3f}%}}")
    buffer = io.BytesIO()
    whole.save(buffer, "JPEG", quality=75)
    data = base64.b64encode(buffer.getvalue()).decode()
    size = f"#train-leave label::before{{background-size:{100 * COLUMNS}% {100 * rows}%}}"
    return f'<style>#train-leave{{--sheet:url("data:image/jpeg;base64,{data}")}} {size} {" ".join(rules)}</style>'


# Layout and wiring ----------------------------------------------------------------------------------------------


def section(
    owner: gr.BrowserState, kind: gr.Radio
) -> tuple[gr.File, gr.CheckboxGroup, list[gr.components.Component], gr.Button]:
    """Lay the section out and wire all but the preview, which needs the base. ``kind`` is what is to be trained.

    Returns the place to drop pictures, closed until the page knows whose they will be; the boxes; the parts that
    :func:`show` updates; and the preview's button.
    """
    gr.HTML(f"<style>{CSS}</style>", padding=False, elem_classes="no-show")
    pictures = uploaded(
        gr.File(
            label=t("train.pictures"), file_count="multiple", file_types=[*sorted(SUFFIXES), ".zip"],
            height=140, interactive=False, elem_id="train-pictures",
        )
    )  # fmt: skip
    style = gr.HTML("", padding=False, elem_classes="no-show")
    said = gr.HTML("", padding=False, elem_id="train-count")
    leave = unchecked(gr.CheckboxGroup([], label=t("train.audit"), visible=False, elem_id="train-leave"))
    with gr.Row(visible=False) as buttons:
        look = gr.Button(t("train.preview"), size="sm", min_width=120, elem_id="train-preview")
        away = gr.Button(t("train.empty_basket"), size="sm", min_width=90, elem_id="train-empty")
    previews = gr.Gallery(
        label=t("train.preview"), show_label=False, container=False, visible=False, interactive=False, columns=4,
        height="auto", object_fit="contain", buttons=["fullscreen"], elem_classes="pictures",
        elem_id="train-previews",
    )  # fmt: skip
    told = gr.Markdown(t("train.preview_text"), visible=False, elem_classes="quiet", elem_id="train-preview-text")
    parts = [style, said, leave, buttons, look, previews, told]
    pictures.upload(
        guard(drop), [pictures, leave, owner, kind], [pictures, *parts], show_progress_on=[pictures], **PRIVATE
    )  # fmt: skip
    leave.input(guard(recount), [owner, leave, kind], said, trigger_mode="always_last", **HELPER)
    away.click(guard(clear), [owner, kind], parts, **HELPER)
    return pictures, leave, parts, look


def uploaded(file: gr.File) -> gr.File:
    """Hand the handler the paths of uploads, which Gradio has checked to be uploads, and refuse too many of them."""

    def paths(payload: Any) -> list[str]:
        return [one.path for one in payload.root[: MOST + 1]] if payload else []

    file.preprocess = paths
    return file
