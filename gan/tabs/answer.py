"""How the Classify tab shows an answer: HTML of its own, in the visitor's language, usable at 375 px."""

from __future__ import annotations

import base64
import csv
import html
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image

from gan.errors import CantingError
from gan.motifs import motifs
from gan.tabs.common import motif
from gan.texts import say

if TYPE_CHECKING:
    from gan.classify import Answer, Explanation

BARS = 5
CANDIDATES = 3
# Long side of the photo beside its map: what a phone shows, and quick to send.
SHOWN_SIDE = 720
COLUMNS = ("file", "motif", "probability", "second", "third", "sure", "remark")


@dataclass(frozen=True)
class Row:
    """One line of a table: what was asked or shown, and the answer or why there is none.

    ``doubts`` says whether the model names a probability below which it is unsure, ``knows`` what a model of a few
    labels is asked about alone; ``thumbnail`` is the photo, small, as an address that holds it.
    """

    name: str
    found: Answer | CantingError
    doubts: bool
    knows: tuple[str, ...] = ()
    thumbnail: str = ""


def percent(share: float) -> str:
    """0.4312 as 43 %; what is not quite certain is never shown as 100 %."""
    # With a space that does not break.
    return "<\u00a01\u00a0%" if share < 0.01 else f"{min(99, round(100 * share))}\u00a0%"


def headline(answer: Answer, language: str) -> tuple[str, str]:
    """What an answer comes to: a few words, and one sentence."""
    if answer.batik is False:
        return say("classify.not_batik", language), say("classify.not_batik_text", language)
    if not answer.sure:
        return say("classify.unsure", language), say("classify.perhaps", language)
    return motif(answer.label), say("classify.best", language, count=len(answer))


def card(answer: Answer, language: str) -> str:
    """The answer in words, and a bar for each of the likeliest motifs."""
    title, sentence = headline(answer, language)
    bars = "".join(
        f'<li><span>{html.escape(motif(label))}</span><span class="share">{percent(share)}</span>'
        f'<i aria-hidden="true"><b style="width:{100 * share:.1f}%"></b></i></li>'
        for label, share in answer.ranked[:BARS]
    )
    kind = "doubtful" if not answer.sure else ""
    return (
        f'<div class="answer {kind}" role="status"><h3>{html.escape(title)}</h3><p>{html.escape(sentence)}</p>'
        f"<ol>{bars}</ol></div>"
    )


def why(found: Explanation, language: str) -> str:
    """The photo with its map laid over it; a switch takes the map away.

    Nothing for what is no batik, or where nothing spoke for the label.
    """
    from gan.heatmap import overlay

    if found.answer.batik is False or not found.heat.any():
        return ""
    photo = found.picture.copy()
    photo.thumbnail((SHOWN_SIDE, SHOWN_SIDE))
    name = html.escape(motif(found.answer.label))
    shown = (
        ("photo", photo, say("classify.why_photo", language)),
        ("heat", overlay(photo, found.heat), say("classify.why_map", language, motif=name)),
    )
    pictures = "".join(f'<img class="{kind}" src="{inline(one)}" alt="{text}">' for kind, one, text in shown)
    return (
        f'<figure class="why found"><label><input type="checkbox" checked> {say("classify.why", language)}</label>'
        f"<div>{pictures}</div><figcaption>{say('classify.why_text', language, motif=name)}</figcaption></figure>"
    )


def inline(picture: Image.Image) -> str:
    """A picture as an address that holds it: nothing of a visitor's photo stays on the server."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def about(answer: Answer, language: str) -> str:
    """What is known of the motif, or of those that it may be; nothing of what is not batik."""
    if answer.batik is False:
        return ""
    known = motifs(language)
    labels = [label for label, _ in answer.ranked[: 1 if answer.sure else CANDIDATES] if label in known]
    parts = []
    for place, label in enumerate(labels):
        one = known[label]
        facts = "".join(
            f"<dt>{say(f'classify.{part}', language)}</dt><dd>{html.escape(getattr(one, part))}</dd>"
            for part in ("origin", "meaning", "signs")
        )
        source = say("classify.source", language, source=one.source) if one.source else ""
        parts.append(
            f"<details {'open' if place == 0 else ''}><summary>{html.escape(motif(label))}</summary><dl>{facts}</dl>"
            f'<p class="source">{html.escape(source or say("classify.no_source", language))}</p></details>'
        )
    return f'<div class="motifs found">{"".join(parts)}</div>' if parts else ""


def table(rows: Iterable[Row], first: str, language: str) -> str:
    """Answers one below the other; ``first`` heads the column of their names. A failure is said in its row."""
    heads = ("motif", "share", "second", "third", "sure")
    titles = [first, *(say(f"classify.column.{one}", language) for one in heads)]
    lines = []
    for row in rows:
        known = say("classify.knows", language, classes=", ".join(map(motif, row.knows))) if row.knows else ""
        note = f"<small>{html.escape(known)}</small>" if known else ""
        small = f'<img src="{row.thumbnail}" alt="">' if row.thumbnail else ""
        name = f'<th scope="row">{small}{html.escape(row.name)}{note}</th>'
        if isinstance(row.found, CantingError):
            lines.append(f'<tr class="failed">{name}<td colspan="5">{html.escape(row.found.say(language))}</td></tr>')
            continue
        cells = [motif(row.found.label), percent(row.found.probability), *others(row.found), verdict(row, language)]
        titled = zip(cells, titles[1:], strict=True)
        lines.append(
            f"<tr>{name}"
            + "".join(f'<td data-title="{html.escape(title)}">{html.escape(cell)}</td>' for cell, title in titled)
            + "</tr>"
        )
    head = "".join(f'<th scope="col">{html.escape(title)}</th>' for title in titles)
    return f'<table class="answers found"><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table>'


def others(answer: Answer) -> list[str]:
    """The second and third label with their shares; nothing where a model knows fewer."""
    shown = [f"{motif(label)} {percent(share)}" for label, share in answer.ranked[1:3]]
    return shown + [""] * (2 - len(shown))


def verdict(row: Row, language: str) -> str:
    """Whether an answer is sure; a dash from a model that never says so."""
    if row.found.batik is False:
        return say("classify.not_batik", language)
    if not row.doubts:
        return "–"
    yes = "classify.yes_among" if row.knows else "classify.yes"
    return say(yes if row.found.sure else "classify.no", language)


def as_csv(rows: Sequence[Row], language: str) -> str:
    """The table as a file: labels and column names as programs know them, remarks in the visitor's language."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(COLUMNS)
    for row in rows:
        name = f"'{row.name}" if row.name[:1] in tuple("=+-@\t\r") else row.name  # a spreadsheet would run it
        if isinstance(row.found, CantingError):
            writer.writerow([name, "", "", "", "", "", row.found.say(language)])
            continue
        labels = [label for label, _ in row.found.ranked[:3]] + [""] * 3
        sure = "" if not row.doubts and row.found.batik is not False else ("yes" if row.found.sure else "no")
        remark = say("classify.not_batik", language) if row.found.batik is False else ""
        writer.writerow([name, labels[0], f"{row.found.probability:.4f}", *labels[1:3], sure, remark])
    return buffer.getvalue()
