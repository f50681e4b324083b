"""The Classify tab: which motif is on this cloth?"""

from __future__ import annotations

from pathlib import Path

import gradio as gr

from gan import catalog
from gan.device import on_gpu
from gan.errors import PictureError
from gan.tabs.common import DRAWING, HELPER, PRIVATE, entry, guard, motif, t, tiles, unchecked, unopened, write_pngs

SHOWN = 5
EXAMPLES_A_MODEL = 2
FAVOURITES = ("batik-best-20", "batik-mobilenet-20")


@on_gpu
def ask(model: str, photo: str) -> dict[str, float]:
    """What a classifier of the catalogue says of a picture file."""
    return {label: float(share) for label, share in catalog.load(model).classify(Path(photo))}


def classify(photo: str | None, model: str = "batik-mobilenet-20") -> dict[str, float]:
    """Every label of the model with its probability, best first, for the picture file at ``photo``.

    Raises:
        PictureError: for a file that is no usable picture.
        CheckpointError: for a model that is not there or cannot be used.
    """
    if not photo:
        raise PictureError("error.picture.none")
    return ask(entry(model, "classifier").name, photo)


def classifiers() -> list[catalog.Entry]:
    """The classifiers to choose from; the judges only measure."""
    found = [one for one in catalog.entries("classifier") if not one.name.startswith("judge-")]
    return sorted(found, key=lambda one: (one.name not in FAVOURITES, one.name.endswith("-report"), one.name))


def named(answer: dict[str, float] | None) -> dict[str, float] | None:
    """An answer with the motifs' names as people say them."""
    if not answer:
        return None
    return {motif(label): share for label, share in answer.items()}


def recognise(photo: str | None, model: str) -> tuple[dict[str, float] | None, dict[str, float] | None]:
    """The answer, and the same with the motifs' names; nothing for no photo, as when a visitor took theirs away."""
    answer = classify(photo, model) if photo else None
    return answer, named(answer)


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


def build() -> None:
    """Lay the tab out and wire it, inside the page's Blocks."""
    models = classifiers()
    cloths = examples()
    with gr.Row():
        with gr.Column(scale=3, min_width=300):
            photo = unopened(
                gr.Image(
                    label=t("classify.photo"),
                    type="filepath",
                    sources=["upload", "clipboard", "webcam"],
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
            answer = gr.Label(label=t("classify.answer"), num_top_classes=SHOWN, elem_id="classify-answer")
            gr.Markdown(t("classify.limits"), elem_classes="quiet")
            # The whole answer under the classes' own names: what /classify returns.
            ranked = gr.Label(visible=False)
    if cloths:
        gr.Markdown(t("classify.examples"), elem_classes="quiet")
        shelf = gr.Gallery(
            cloths, label=t("classify.examples_label"), show_label=False, container=False, interactive=False,
            allow_preview=False, columns=len(cloths), height="auto", buttons=[], elem_id="classify-examples",
            elem_classes=["pictures", "many"],
        )  # fmt: skip

    recognising = {**DRAWING, "show_progress_on": answer}
    asked = start.click(guard(classify), [photo, model], ranked, api_name="classify", **recognising)
    asked.success(guard(named), ranked, answer, **HELPER)
    # A change, not an input: taking the photo away fires the input while the photo is still there.
    changes = [photo.change, model.input]
    changed = gr.on(changes, guard(recognise), [photo, model], [ranked, answer], **PRIVATE, **recognising)
    for event in (asked, changed):
        # An older answer beside a picture that could not be read would be a wrong one.
        event.failure(lambda: None, None, answer, **HELPER)
    if cloths:
        shelf.select(guard(take), None, photo, **HELPER)
    cancel.click(None, cancels=[asked, changed], **PRIVATE)


def take(event: gr.SelectData) -> str:
    """The file of the example that was clicked."""
    return event.value["image"]["path"]
