"""The Results tab: what the five reports claimed, what their recipes and Canting's make of it, side by side.

The layout holds five sections; what is in them is read from the checkpoints when a visitor opens the tab.
"""

from __future__ import annotations

import base64
import csv
import functools
import html
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from PIL import Image

from gan import results
from gan.card import mistakes
from gan.errors import PictureError
from gan.pictures import read_metadata
from gan.results import AXES, REPORTS, SHARES, Result, label
from gan.tabs.common import HELPER, guard, motif, t, tiles
from gan.texts import say

if TYPE_CHECKING:
    import pandas

# Columns and rows of a model's picture by the side of its samples; ten classes stand in a row of ten.
FEW, MANY, CLASSES = (4, 2), (8, 3), (10, 5)
TILE = 192
MOMENTS = 8
READABLE_CLASSES, WORST = 5, 5
# One colour a model, apart from each other on cream and on indigo.
COLOURS = ("#5d73a9", "#bf843f", "#3f8f7d", "#b5556b", "#8a6bb0", "#d9a441", "#6f7f3a", "#857a69")


# What a visitor sees ----------------------------------------------------------------------------------------------


def show(filled: bool, language: str = "en") -> list[Any]:
    """Everything in the tab, in the order of :func:`build`; nothing anew for whoever comes back to it."""
    if filled:
        return [gr.skip()] * (5 * len(REPORTS) + 3)
    found = results.results()
    parts: list[Any] = []
    for report in REPORTS:
        those = [one for one in found if one.report == report]
        metrics = results.curves(those)
        axes = [axis for axis in AXES if any(axis in row for one in those for row in one.history)]
        parts += [
            cards(those, language),
            choice(metrics, language),
            choice(axes, language),
            *draw(report, metrics[0] if metrics else "", axes[0] if axes else "", language),
        ]
    headers, rows = results.table(found, language)
    return [*parts, jumps(language), {"headers": headers, "data": rows}, True]


def jumps(language: str = "en") -> str:
    """Links to the sections, as HTML."""
    ways = {**{report: report for report in REPORTS}, "table": say("results.table", language)}
    links = "".join(f"<a href='#results-{place}'>{escape(word)}</a>" for place, word in ways.items())
    return f"<nav class='jump'>{links}</nav>"


def choice(keys: list[str], language: str) -> dict[str, Any]:
    """A radio group of figures; hidden where there is nothing to choose from."""
    choices = [(label(key, language), key) for key in keys]
    return gr.update(choices=choices, value=keys[0] if keys else None, visible=bool(keys))


def draw(report: str, metric: str, axis: str, language: str = "en") -> tuple[gr.LinePlot, str]:
    """The curves of a report's models, and whose they are."""
    those = [one for one in results.results() if one.report == report]
    points = results.curve(those, metric, axis)
    colours = {one.name: COLOURS[i % len(COLOURS)] for i, one in enumerate(those)}
    plot = gr.LinePlot(
        frame(points),
        x_title=label(axis, language) if points else None,
        y_title=label(metric, language) if points else None,
        color_map=colours,
        # The plot's own would be one row, which shows two of six models on a phone.
        colors_in_legend=[],
        y_axis_format=".0%" if metric in SHARES else None,
        visible=bool(points),
    )
    drawn = {name for *_, name in points}
    items = "".join(
        f"<li><i style='background: {colours[one.name]}'></i>{escape(one.entry.titled(language))}</li>"
        for one in those
        if one.name in drawn
    )
    return plot, f"<ul class='legend'>{items}</ul>"


def frame(points: list[tuple[float, float, str]]) -> pandas.DataFrame:
    """Points as the plot takes them."""
    import pandas

    return pandas.DataFrame(points, columns=["x", "y", "model"]).astype({"x": float, "y": float, "model": str})


# One section's cards ----------------------------------------------------------------------------------------------


def cards(those: list[Result], language: str = "en") -> str:
    """A report's models as HTML, and what is still missing."""
    missing = "".join(f"<p class='missing'>{escape(sentence)}</p>" for sentence in results.gaps(those, language))
    return f"<div class='results'>{''.join(article(one, language) for one in those)}</div>{missing}"


def article(one: Result, language: str) -> str:
    """One model: its picture, name and leading figure; folded away the rest."""
    best = results.headline(one)
    figure = results.figure(best, one.metrics[best], language) if best else say("results.unmeasured", language)
    said = results.reported(one.name, language)
    claim = say("results.says", language, claim=said) if said != results.NOTHING else ""
    return (
        f"<article class='result' data-model='{escape(one.name)}'>{picture(one, language)}{timeline(one, language)}"
        f"<header><h3>{escape(one.entry.titled(language))}</h3>"
        f"<span class='role {one.role}'>{escape(say(f'results.role.{one.role}', language))}</span></header>"
        f"<p class='headline'><b>{escape(figure)}</b> <span>{escape(claim)}</span></p>"
        f"{facts(one, language)}{card(one, language)}</article>"
    )


def facts(one: Result, language: str) -> str:
    """Figures and settings, folded away."""
    pairs = [*results.figures(one, language), *results.settings(one, language)]
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in pairs)
    # What is said of the data and the recipe is the checkpoint's own, in English.
    notes = [(results.measured_with(one, language), language), (one.reference, "en")]
    notes.append((str(one.config.get("about", "")), "en"))
    text = "".join(f"<p lang='{tongue}'>{escape(note)}</p>" for note, tongue in notes if note)
    return f"<details><summary>{escape(say('results.more', language))}</summary><dl>{rows}</dl>{text}</details>"


def card(one: Result, language: str) -> str:
    """The model card, folded away; nothing where there is none."""
    try:
        text = (one.entry.folder / "README.md").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""
    summary = f"<summary>{escape(say('results.card', language))}</summary>"
    return f"<details class='card'>{summary}<div lang='en'>{rendered(text)}</div></details>"


def rendered(text: str) -> str:
    """A card's Markdown as HTML, without its front matter and pictures; HTML in it is shown, not obeyed."""
    from markdown_it import MarkdownIt

    if text.startswith("---\n"):
        text = text.split("\n---\n", 1)[-1]
    lines = [line for line in text.splitlines() if not line.startswith(("![", "# "))]
    return MarkdownIt("commonmark", {"html": False}).enable("table").disable("image").render("\n".join(lines))


def picture(one: Result, language: str) -> str:
    """The first samples of a generator, or what a classifier takes for what."""
    if path := one.file("samples.png"):
        source = sheet(one.name, path, path.stat().st_mtime_ns)
        if source:
            kind = "pixels" if one.entry.resolution <= 32 else ""
            text = say("results.samples", language, name=one.name)
            return f"<img class='{kind}' src='{source}' alt='{escape(text)}' title='{escape(text)}'>"
    if path := one.file("confusion.csv"):
        return confusion(one.name, path, language)
    return ""


@functools.lru_cache(maxsize=64)
def sheet(name: str, path: Path, changed: int) -> str:
    """A model's first samples as one picture in a data URI; nothing where they cannot be read."""
    try:
        model = results.entry(path.parent)
        columns, rows = CLASSES if len(model.classes) == 10 else FEW if model.resolution >= 128 else MANY
        made = tiles(model, columns * rows)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return ""
    # A model may ship fewer: then whole rows of them.
    rows = len(made) // columns
    if not rows:
        return ""
    side = min(TILE, model.resolution)
    whole = Image.new("RGB", (columns * side, rows * side))
    for i, tile in enumerate(made[: columns * rows]):
        small = tile.convert("RGB").resize((side, side), Image.Resampling.LANCZOS)
        whole.paste(small, (i % columns * side, i // columns * side))
    buffer = io.BytesIO()
    whole.save(buffer, "WEBP", quality=85, lossless=side <= 32)
    return data_uri("image/webp", buffer.getvalue())


def data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def timeline(one: Result, language: str) -> str:
    """The same samples while the model learned; nothing where no such picture ships."""
    path = one.file("timeline.png")
    if not path:
        return ""
    try:
        steps = [int(step) for step in read_metadata(path).get("steps", "").split(",")]
        source = data_uri("image/png", path.read_bytes())
    except (PictureError, OSError, ValueError):
        return ""
    first, last = (results.shown("steps", step, language) for step in (steps[0], steps[-1]))
    text = say("results.timeline", language, name=one.name)
    moments = say("results.moments", language, first=first, last=last)
    # A short training has few moments: they are as large as those of a long one.
    share = min(1, len(steps) / MOMENTS)
    kind = "pixels" if one.entry.resolution <= 32 else ""
    return (
        f"<figure class='timeline'><img class='{kind}' src='{source}' alt='{escape(text)}' style='width: {share:.0%}'>"
        f"<figcaption>{escape(moments)}</figcaption></figure>"
    )


def confusion(name: str, path: Path, language: str) -> str:
    """A confusion matrix as a table whose cells are the darker the more; nothing where the file cannot be read."""
    try:
        (_, *labels), *rows = csv.reader(io.StringIO(path.read_text(encoding="utf-8")))
        counts = [[int(cell) for cell in row[1:]] for row in rows]
    except (OSError, ValueError, csv.Error):
        return ""
    odd = any(len(row) != len(labels) or min(row, default=0) < 0 for row in counts)
    if not labels or odd or len(counts) != len(labels):
        return ""
    names, readable = [motif(one) for one in labels], len(labels) <= READABLE_CLASSES
    lines = []
    for true, row in zip(names, counts, strict=True):
        shares = [count / max(1, sum(row)) for count in row]
        cells = "".join(
            f"<td style='--share:{share:.0%}' title='{escape(f'{true} → {said}: {count}')}'>"
            f"{count if readable else ''}</td>"
            for said, count, share in zip(names, row, shares, strict=True)
        )
        lines.append(f"<tr><th scope='row'>{escape(true)}</th>{cells}</tr>")
    head = "".join(f"<th scope='col'>{escape(said)}</th>" for said in names)
    text = escape(say("results.confusion", language, name=name))
    # Four hundred cells without a word are a picture, and the worst of it is said in words.
    kind = "class='confusion'" if readable else "class='confusion dense' role='img'"
    head = f"<thead><tr><td></td>{head}</tr></thead>" if readable else ""
    worst = ""
    for true, taken, count, total in mistakes(path)[:WORST] if not readable else ():
        sentence = say("train.confusion", language, true=motif(true), taken=motif(taken), count=count, all=total)
        worst += f"<li>{escape(sentence)}</li>"
    told = f"<ul class='worst'>{worst}</ul>" if worst else ""
    return f"<table {kind} aria-label='{text}' title='{text}'>{head}<tbody>{''.join(lines)}</tbody></table>{told}"


def escape(text: Any) -> str:
    return html.escape(str(text))


# Layout -----------------------------------------------------------------------------------------------------------


def build(tab: gr.Tab) -> None:
    """Lay the tab out and wire it, inside the page's Blocks; ``tab`` is what the visitor opens."""
    gr.Markdown(t("results.intro"), elem_classes="quiet")
    # The page is long, on a phone above all.
    ways = gr.HTML(jumps(), padding=False, elem_id="results-jump")
    parts: list[gr.components.Component] = []
    for report in REPORTS:
        with gr.Column(elem_classes="report-head", elem_id=f"results-{report}"):
            gr.Markdown(t(f"results.{report}.title"), elem_classes="quiet")
            gr.Markdown(t(f"results.{report}.claim"), elem_classes="quiet")
        with gr.Row(elem_classes="report-row"):
            with gr.Column(min_width=300):
                shelf = gr.HTML(elem_id=f"results-{report}-cards")
            with gr.Column(min_width=300):
                with gr.Row(elem_classes="curve-choice"):
                    # What to draw and against what: filled with what the histories hold.
                    metric, axis = (
                        gr.Radio([], label=t(f"results.{name}"), visible=False, min_width=140, scale=scale)
                        for name, scale in (("curve", 3), ("axis", 2))
                    )
                curve = gr.LinePlot(
                    frame([]), x="x", y="y", color="model", label=t("results.plot"), show_label=False, height=300,
                    visible=False,
                    elem_id=f"results-{report}-curve",
                )  # fmt: skip
                whose = gr.HTML(padding=False, elem_id=f"results-{report}-legend")
        which = gr.State(report)
        choice = [which, metric, axis]
        gr.on([metric.input, axis.input], guard(draw), choice, [curve, whose], trigger_mode="always_last", **HELPER)
        parts += [shelf, metric, axis, curve, whose]
    table = gr.Dataframe(
        interactive=False, label=t("results.table"), datatype=["str"] * 4 + ["number"] * len(results.TABLE),
        buttons=[], pinned_columns=0, max_height=1200, elem_id="results-table",
    )  # fmt: skip
    filled = gr.State(False)
    tab.select(guard(show), filled, [*parts, ways, table, filled], **HELPER)


# Gradio puts a prefix before every selector and takes a comma within :is() for the end of one: none of those here.
CSS = """
.report-head { margin-top: 28px; padding-top: 18px !important; border-top: 1px solid var(--border-color-primary); }
.report-head { gap: 4px; }
.report-head h2 { font-size: 22px; margin: 0; }
.report-head p { max-width: 90ch; color: var(--body-text-color-subdued); margin: 0; }
.report-row { gap: 18px; }
.report-row .html-container { padding: 0 !important; }
#results-table [role=grid] * { font-family: var(--font); }
.report-row:not(:has(.result:only-child)) > .column { flex: 1 1 100% !important; }
.results { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 340px), 1fr)); gap: 22px 18px; }
.results:has(.result:only-child) { grid-template-columns: 1fr; }
.result { min-width: 0; }
.result img { display: block; width: 100%; height: auto; border-radius: 3px; }
.result img.pixels { image-rendering: pixelated; }
.result .timeline { margin: 6px 0 0; }
.result figcaption, .missing { font-size: 13px; color: var(--body-text-color-subdued); margin: 4px 0 0; }
.result header { display: flex; flex-wrap: wrap; align-items: baseline; justify-content: space-between; gap: 4px 12px;
  margin-top: 10px; }
.result h3 { margin: 0; font-size: 17px; }
.result .role { font-size: 13px; color: var(--body-text-color-subdued); }
.result .role.best { color: var(--link-text-color); font-weight: 700; }
.result .headline { margin: 2px 0 6px; }
.result .headline b { font-size: 20px; margin-right: 8px; font-variant-numeric: tabular-nums; }
.result .headline span { color: var(--body-text-color-subdued); }
.result details { border-top: 1px solid var(--border-color-primary); padding: 7px 0; font-size: 14px;
  overflow-wrap: anywhere; }
.result summary { cursor: pointer; }
.result dl { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); gap: 3px 12px; margin: 8px 0; }
.result dt { color: var(--body-text-color-subdued); }
.result dd { margin: 0; font-variant-numeric: tabular-nums; }
.result .card pre { white-space: pre-wrap; padding: 8px; background: var(--background-fill-secondary); }
.result .card h2 { font-size: 15px; margin: 12px 0 4px; }
.result .card table { width: 100%; border-collapse: collapse; }
.result .card td, .result .card th { text-align: left; padding: 3px 8px 3px 0; border: 0; vertical-align: top; }
.result .confusion { width: 100%; table-layout: fixed; border-collapse: separate; border-spacing: 2px; border: 0;
  aspect-ratio: 2; margin: 0; font-size: 13px; }
.result .confusion td, .result .confusion th { border: 0; padding: 2px; font-weight: 400; text-align: center;
  overflow: hidden; text-overflow: ellipsis; background: transparent; }
.result .confusion tbody td { border-radius: 2px; font-variant-numeric: tabular-nums;
  background: color-mix(in srgb, #6d86c4 calc(.8 * var(--share)), var(--background-fill-secondary)); }
.result .worst { margin: 8px 0 0; padding-left: 18px; font-size: 13px; color: var(--body-text-color-subdued); }
.jump { display: flex; flex-wrap: wrap; gap: 6px 18px; margin: 4px 0 0; }
.jump a { padding: 6px 2px; font-weight: 700; color: var(--link-text-color); text-decoration: none; }
.result .confusion.dense { border-spacing: 1px; }
.result .confusion.dense td { padding: 0; line-height: 1; }
.result .confusion.dense th { display: none; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 14px; list-style: none; margin: 4px 0 0; padding: 0;
  font-size: 13px; }
.legend li { display: flex; align-items: center; gap: 6px; }
.legend i { width: 18px; height: 4px; border-radius: 2px; }
.curve-choice { gap: 8px 18px; }
"""
