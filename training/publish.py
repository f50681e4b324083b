"""The Train tab's Publish section: a finished run's model as a new revision on the visitor's Hub.

At home it uses this machine's own token, and so only for whoever sits at this machine. On a Space it is off unless the
owner turns it on, and then every visitor signs in and publishes in their own name; the Space's token is never used.
"""

from __future__ import annotations

import re

import gradio as gr

from gan import hub
from gan.card import write_card
from gan.errors import HubError, RunError
from gan.settings import on_space, publishing
from gan.tabs.common import HELPER, PRIVATE, guard, t, unchecked
from training import jobs

LICENCES = ("cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc0-1.0", "apache-2.0", "mit", "openrail", "other")
AT_HOME = ("127.0.0.1", "::1")
# By one of these a proxy tells that it speaks for somebody else.
PASSED_ON = ("forwarded", "via", "x-forwarded-for", "x-real-ip")


def publish(
    owner: str,
    run: str | None,
    repository: str,
    private: bool,
    licence: str,
    data: str,
    force: bool,
    token: gr.OAuthToken | None,
    language: str = "en",
    request: gr.Request | None = None,
) -> str:
    """Push the model of ``owner``'s ``run``; returns one sentence with its address.

    Raises:
        HubError: when publishing is off here, nobody has signed in, or the push fails.
        RunError: when the run is not theirs or has made no model yet.
    """
    if not allowed(request):
        raise HubError("error.hub.off")
    if on_space() and token is None:
        raise HubError("error.hub.sign_in")
    status = next((one for one in jobs.list_jobs(owner, language) if owner and one.id == run), None)
    if status is None:
        raise RunError("error.job.unknown")
    if status.checkpoint is None:
        raise RunError("error.job.no_model")
    # The card's title is the run's name, which came after the card.
    write_card(status.checkpoint)
    made = hub.push(
        status.checkpoint,
        str(repository or "").strip(),
        private=bool(private),
        licence=str(licence or "") or None,
        message=status.title,
        data=str(data or "").strip() or None,
        force=bool(force),
        token=token.token if token and on_space() else None,
    )
    jobs.mark_published(status.id)
    return hub.summary(status.title, made, language)


def allowed(request: gr.Request | None) -> bool:
    """Whether whoever asks may publish: by the owner's setting, else only at home and from this machine itself."""
    if publishing() is not None:
        return bool(publishing())
    if on_space():
        return False
    if request is None or request.client is None:
        return True
    # A page elsewhere whose name was made to lead here, or a proxy, asks for it by that name.
    host = re.sub(r":\d*$", "", request.headers.get("host", "")).strip("[]")
    named = host in (*AT_HOME, "localhost")
    return named and request.client.host in AT_HOME and not any(one in request.headers for one in PASSED_ON)


def section(owner: gr.BrowserState, runs: gr.Radio) -> None:
    """Lay the section out, folded and only where there is a run, and wire it; nothing where publishing is off."""
    if publishing() is False or (on_space() and not publishing()):
        return
    with gr.Accordion(t("publish.title"), open=False, visible=False, elem_id="publish") as whole:
        if on_space():
            gr.LoginButton(t("publish.sign_in"))
        repository = gr.Textbox(label=t("publish.repository"), max_lines=1, elem_id="publish-repository")
        private = gr.Checkbox(True, label=t("publish.private"))
        licence = unchecked(gr.Dropdown(LICENCES, value=LICENCES[0], label=t("publish.licence")))
        data = gr.Textbox(label=t("publish.data"), lines=2, elem_id="publish-data")
        force = gr.Checkbox(False, label=t("publish.force"))
        button = gr.Button(t("publish.start"), variant="primary", elem_id="publish-start")
        said = gr.Markdown(elem_id="publish-said")
    runs.change(lambda run: gr.update(visible=bool(run)), runs, whole, **HELPER)
    button.click(
        guard(publish), [owner, runs, repository, private, licence, data, force], said,
        show_progress_on=[button], **PRIVATE,
    )  # fmt: skip
