"""The Train tab's choice of where a run trains: on this machine, or on Hugging Face Jobs in the visitor's own name.

It is offered to whoever may publish, and has a token or has signed in. Where a Space's disk does not last, they may
also have the snapshots of a run on this machine pushed to a private repository of theirs.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

import gradio as gr

from gan.errors import HubError
from gan.settings import on_space, publishing, runs_last
from gan.tabs.common import HELPER, guard, t, unchecked
from gan.texts import say
from training.place import DEFAULT_TIMEOUT, Place, usable
from training.publish import allowed

if TYPE_CHECKING:
    from training.progress import Status

# With one GPU at most: a job trains in one process.
FLAVORS = ("cpu-upgrade", "t4-small", "l4x1", "a10g-small", "a100-large")


def chosen(
    flavor: str, timeout: str, push: bool, token: gr.OAuthToken | None, request: gr.Request | None = None
) -> Place:
    """What was chosen, as a place to train at.

    Raises:
        HubError: where whoever asks may not use this machine's token, or jobs are turned off.
        RunError: for hardware or a time limit that cannot be.
    """
    if (flavor or push) and not allowed(request):
        raise HubError("error.remote.off")
    return Place(str(flavor or ""), str(timeout or "").strip() or DEFAULT_TIMEOUT, bool(push), given(token))


def check(record: dict[str, Any], request: gr.Request | None = None) -> None:
    """Raises HubError for a run that needs a token, where whoever asks may not use this machine's."""
    if ("remote" in record or "push" in record) and not allowed(request):
        raise HubError("error.remote.off")


def given(token: gr.OAuthToken | None) -> str | None:
    """The visitor's own token on a Space; None at home, where this machine's own counts."""
    return token.token if token and on_space() else None


def present(token: gr.OAuthToken | None, language: str = "en", request: gr.Request | None = None) -> tuple:
    """What of the section is offered to whoever opens the page."""
    offered = allowed(request) and bool(usable(given(token)))
    places = [(say("where.here", language), "")]
    places += [(say("where.on", language, flavor=flavor), flavor) for flavor in FLAVORS]
    return gr.update(choices=places, value="", visible=offered), gr.update(visible=offered and not runs_last())


def noted(status: Status, language: str = "en") -> str:
    """Where a run trains and what the Hub had to do with it lately, as HTML."""
    words = [say("where.on", language, flavor=status.place)] if status.place else []
    said = " · ".join(html.escape(word) for word in [*words, status.note] if word)
    return f'<p class="quiet" data-place="{html.escape(status.place)}">{said}</p>' if said else ""


def section() -> list[gr.components.Component]:
    """Lay the section out and wire it; nothing of it is seen where publishing is off.

    Returns what :func:`chosen` is given: hardware, time limit, and whether to push.
    """
    off = publishing() is False or (on_space() and not publishing())
    if on_space() and not off:
        gr.LoginButton(t("publish.sign_in"))
    flavor = unchecked(
        gr.Dropdown(
            [("", "")], value="", label=t("where.label"), info=t("where.info"), visible=False, elem_id="train-where"
        )
    )
    timeout = gr.Textbox(
        DEFAULT_TIMEOUT, label=t("where.timeout"), info=t("where.timeout_info"), max_lines=1, visible=False,
        elem_id="train-timeout",
    )  # fmt: skip
    push = gr.Checkbox(False, label=t("where.push"), visible=False, elem_id="train-push")
    if not off:
        gr.context.Context.root_block.load(guard(present), None, [flavor, push], **HELPER)
        flavor.input(shown_for, flavor, timeout, **HELPER)
    return [flavor, timeout, push]


def shown_for(flavor: str) -> dict[str, Any]:
    """A time limit is asked for where there is a job."""
    return gr.update(visible=bool(flavor))
