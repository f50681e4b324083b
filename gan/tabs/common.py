"""What the tabs share: texts, errors in the visitor's language, model lookup, pictures on disk."""

from __future__ import annotations

import base64
import contextlib
import functools
import html
import inspect
import logging
import os
import secrets
import shutil
import time
import typing
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder
from PIL import Image

from gan import catalog, own
from gan.errors import CantingError, CheckpointError, RequestError, explained
from gan.pictures import metadata, png_bytes
from gan.settings import checkpoints_folder
from gan.texts import LANGUAGES, catalogue, say

log = logging.getLogger("canting")
# Layout texts, translated in the browser. Handlers use ``say`` with the language that ``guard`` hands them.
t = gr.I18n(**catalogue())
# Handlers that draw share one limit: more of them at once would only slow each other down.
DRAWING = {"concurrency_id": "pictures", "concurrency_limit": 2}
PRIVATE = {"api_visibility": "private"}
# Quick events behind the scenes.
HELPER = {**PRIVATE, "show_progress": "hidden"}
SEEDS = 2**31
# How long answers and uploads are kept, how many bytes of them, and how often that is looked at.
CACHE_SECONDS, CACHE_BYTES, CLEAR_SECONDS = 6 * 3600, 10 * 1000**3, 60
DICE = f"() => Math.floor(Math.random() * {SEEDS})"


def language_of(request: gr.Request | None) -> str:
    """The language the page is shown in: Gradio takes the browser's first choice, or English where it has no texts."""
    first = (request.headers.get("accept-language", "") if request else "").split(",")[0].split(";")[0]
    code = first.strip().lower().split("-")[0]
    return code if code in LANGUAGES else LANGUAGES[0]


def guard(handler: Callable) -> Callable:
    """Make a plain function into an event handler whose failures a visitor can read.

    What a person can mend becomes its one sentence; anything else a general one, with the traceback in the log. A
    handler with a parameter ``language`` is given the visitor's, one with ``request`` the request.
    """
    hints = typing.get_type_hints(handler)
    own = [name for name in ("language", "request") if name in hints]
    parameters = [one for one in inspect.signature(handler).parameters.values() if one.name not in own]

    @functools.wraps(handler)
    def event(request: gr.Request, *values: object) -> object:
        language = language_of(request)
        known = {"language": language, "request": request}
        try:
            return handler(*values, **{name: known[name] for name in own})
        except gr.Error:
            raise
        except Exception as error:
            known = explained(error)
            if known is not error:
                log.exception("%s failed", handler.__name__)
        raise failure(known, language) from None

    first = inspect.Parameter("request", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=gr.Request)
    event.__signature__ = inspect.Signature([first, *parameters])
    event.__annotations__ = {name: hint for name, hint in hints.items() if name not in own} | {"request": gr.Request}
    del event.__wrapped__
    return event


def failure(known: CantingError | None, language: str = LANGUAGES[0]) -> gr.Error:
    """What the page shows of an error: its sentence, or a general one where nobody can mend it."""
    # Gradio shows messages as HTML, and some quote what a visitor typed.
    sentence = html.escape(known.say(language)) if known else say("error.unexpected", language)
    return gr.Error(sentence, title=say("error.title", language), duration=10, print_exception=False)


def unchecked(component: gr.components.Component) -> gr.components.Component:
    """Hand the handler what the visitor sent: the component's own checks answer in English and without a reason."""
    component.preprocess = lambda payload: payload
    return component


def unopened(image: gr.Image) -> gr.Image:
    """Hand the handler the file's path, or the contents of a ``data:`` URL, as programs may send: Gradio would decode
    it first, and a broken one ends in a raw exception."""

    def given(payload: Any) -> str | bytes | None:
        if payload and payload.url and not payload.path:
            if payload.url[:5].lower() == "data:":
                return data_of(payload.url)
            raise RequestError("error.request.file")
        return payload.path if payload else None

    image.preprocess = given
    return image


def data_of(url: str) -> bytes:
    """The contents of a ``data:`` URL in base64; of a torn one its text, which is then refused as no picture."""
    text = url.partition(",")[2]
    try:
        return base64.b64decode(text)
    except ValueError:
        return text.encode("utf-8", "replace")


def as_files(value: Any) -> Any:
    """``value`` with Gradio's mark of a file on all that names a path: it checks only what carries the mark, so that
    without it a caller might have any file of this machine read."""
    if isinstance(value, dict):
        mark = {"meta": {"_type": "gradio.FileData"}} if isinstance(value.get("path"), str) else {}
        return {key: as_files(one) for key, one in value.items()} | mark
    return [as_files(one) for one in value] if isinstance(value, list) else value


class Page(gr.Blocks):
    """Gradio's page, which takes what programs send: what they leave out at the end is filled in, as Gradio's own
    client does, a file must be one that was uploaded, and what is no file gets a sentence."""

    async def preprocess_data(self, block_fn: Any, inputs: list[Any], *rest: Any, **more: Any) -> list[Any]:
        missing = block_fn.inputs[len(inputs) :]
        given = [*as_files(inputs), *(one.value for one in missing)]
        try:
            return await super().preprocess_data(block_fn, given, *rest, **more)
        except gr.Error:
            raise
        except Exception as error:
            log.info("%s was not given what it takes", block_fn.name, exc_info=True)
            raise failure(explained(error) or RequestError("error.request.file")) from None


def whole(value: object) -> object:
    """A JSON number such as 4.0 as the whole number it is; anything else as it came, for the model to refuse."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def seeds_from(seed: int, count: int) -> list[int]:
    """The seeds of ``count`` pictures that are drawn from ``seed`` on; after the last comes the first."""
    return [(seed + i) % SEEDS for i in range(count)]


def entry(name: str, kind: str, owner: str = "") -> catalog.Entry:
    """A model that a visitor may ask for: one of the catalogue's or of ``owner``'s, never a path or a Hub id.

    Raises:
        CheckpointError: when there is none of that name and kind.
    """
    found = catalog.entries(kind)
    for one in [*found, *own.entries(owner, kind)]:
        if one.name == name:
            return one
    raise CheckpointError("error.checkpoint.unknown", name=name, known=", ".join(one.name for one in found) or "-")


def loaded(model: catalog.Entry) -> Any:
    """The model itself. Raises CheckpointError when it cannot be used."""
    shared = model.folder.parent == checkpoints_folder()
    return catalog.load(model.name) if shared else own.load(model.folder)


def whose(owner: str, request: gr.Request | None) -> str:
    """Whom a call speaks for: the word that it gives, else the client's session; one that has neither for nobody
    else."""
    if owner or request is None:
        return owner or "local"
    return f"session {request.session_hash or secrets.token_urlsafe(16)}"


def motif(label: str) -> str:
    """A class folder's name as people say it: ``batik-bali`` is Bali."""
    return label.removeprefix("batik-").replace("-", " ").replace("_", " ").title()


def request_folder() -> Path:
    """A new folder for the files of one answer, where Gradio serves them from and clears them away."""
    folder = Path(get_upload_folder()) / secrets.token_urlsafe(16)
    folder.mkdir(parents=True)
    return folder


def keep_clearing(page: gr.Blocks) -> None:
    """Look after the folder of uploads and answers, every minute; never returns."""
    while True:
        clear_away(page)
        time.sleep(CLEAR_SECONDS)


def clear_away(page: gr.Blocks) -> None:
    """Delete uploads and answers older than six hours, and the oldest where they take more than ten gigabytes; never
    what the page opens with.

    Those of an app that has ended since go too, and uploads that broke off: Gradio's own ``delete_cache`` knows only
    what the present process has received whole, and remembers for ever what somebody else deletes.
    """
    root = Path(get_upload_folder())
    opening = [Path(file).resolve() for block in page.blocks.values() for file in getattr(block, "keep_in_cache", ())]
    needed = {file.relative_to(root.resolve()).parts[0] for file in opening if file.is_relative_to(root.resolve())}
    for name in needed:
        # Another app of the same account keeps what it finds in use.
        with contextlib.suppress(OSError):
            os.utime(root / name)
    found = []
    for one in root.glob("*"):
        with contextlib.suppress(OSError):
            facts = [path.stat() for path in (one, *one.rglob("*"))]
            if one.name not in needed:
                found.append((max(fact.st_mtime for fact in facts), sum(fact.st_size for fact in facts), one))
    room, now = CACHE_BYTES, time.time()
    for newest, size, one in sorted(found, reverse=True):
        room -= size
        if now - newest > CACHE_SECONDS or room < 0:
            if one.is_dir():
                shutil.rmtree(one, ignore_errors=True)
            else:
                one.unlink(missing_ok=True)
    for known in page.temp_file_sets:
        known.difference_update([path for path in list(known) if not Path(path).exists()])


def write_pngs(pictures: Iterable[Image.Image], names: Sequence[str], notes: Sequence[dict]) -> list[str]:
    """Write each picture as ``canting-<name>.png`` with its notes and Canting's version in it; returns the paths."""
    folder = request_folder()
    paths = []
    for picture, name, facts in zip(pictures, names, notes, strict=True):
        path = folder / f"canting-{name}.png"
        path.write_bytes(png_bytes(picture, metadata(**facts)))
        paths.append(str(path))
    return paths


def tiles(model: catalog.Entry, most: int) -> list[Image.Image]:
    """The first pictures of a model's ``samples.png``, its seeds 0, 1, 2, …; none when it ships no such grid."""
    if not model.samples or not model.resolution:
        return []
    try:
        with Image.open(model.samples) as grid:
            grid.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return []
    side = model.resolution
    for gap in (0, 2):
        columns, rest = divmod(grid.width - gap, side + gap)
        rows, rest_below = divmod(grid.height - gap, side + gap)
        if not rest and not rest_below:
            corners = [(gap + x * (side + gap), gap + y * (side + gap)) for y in range(rows) for x in range(columns)]
            return [grid.crop((x, y, x + side, y + side)) for x, y in corners[:most]]
    return []
