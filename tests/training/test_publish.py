"""Publishing a run from the Train tab: who may, and what arrives on a Hub on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import gradio as gr
import pytest

from gan.errors import HubError
from gan.settings import ROOT
from tests.gan.test_hub import environment
from tests.hub_server import Account, serving
from tests.training.conftest import make_base
from training import publish, records

TOKEN, SPACE_TOKEN = "hf_visitorSecretOfTheTests", "hf_spaceSecretOfTheTests"
SPACE = {"SYSTEM": "spaces", "SPACE_ID": "owner/canting"}
RUN = "0123456789abcdef01234567"
PUBLISH = """
import traceback
import gradio as gr
from training.publish import publish
for owner, token in {presses!r}:
    token = gr.OAuthToken(token, "contribute-repos", None) if token else None
    try:
        print(publish(owner, {run!r}, "ratna/kain", False, "mit", "Twelve cloths.", False, token, {language!r}))
    except Exception:
        traceback.print_exc()
"""


@pytest.fixture
def run(studio: Path) -> Path:
    """A finished run of ayu's that has made a model."""
    folder = make_base(studio / RUN / "checkpoint").parent
    # As every run's, its title came after the card.
    (folder / "checkpoint" / "README.md").write_text("# batik-kawung\n")
    config = json.loads((folder / "checkpoint" / "config.json").read_text()) | {"title": "Kain nenek"}
    (folder / "checkpoint" / "config.json").write_text(json.dumps(config))
    record = {"id": RUN, "owner": "ayu", "title": "Kain nenek", "base": "tiny", "pictures": 6, "steps": 24}
    record |= {"created": time.time(), "ticket": 1, "ended": {"how": "finished"}}
    records.write(record)
    return folder


def publishing(hub, home: Path, presses: list[tuple[str, str]], language: str = "en", **more: str):
    """Press the button for each of these owners and tokens, in a process that knows the Hub's address."""
    settings = {key: value for key, value in os.environ.items() if key != "HF_TOKEN"}
    settings |= environment(hub, home / "hf") | {"XDG_CACHE_HOME": str(home / "cache"), **more}
    code = PUBLISH.format(presses=presses, run=RUN, language=language)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=settings, capture_output=True, text=True, timeout=120
    )
    for secret in (TOKEN, SPACE_TOKEN):
        assert secret not in done.stdout + done.stderr
        assert not any(secret.encode() in path.read_bytes() for path in home.rglob("*") if path.is_file())
    return done


def test_a_run_becomes_a_repository_of_its_owner(run: Path, tmp_path: Path) -> None:
    with serving() as hub:
        hub.accounts = {TOKEN: Account("ratna"), SPACE_TOKEN: Account("owner")}
        # Nobody but its owner publishes it, however well they know its number.
        done = publishing(hub, tmp_path, [("ayu", ""), ("budi", ""), ("", "")], HF_TOKEN=TOKEN, language="id")
        assert f"Kain nenek diterbitkan di {hub.url}/ratna/kain" in done.stdout, done.stderr
        made = hub.repository("model", "ratna/kain")
        assert made.visibility == "public" and made.commits[-1][1] == "Kain nenek"
        card = made.files["README.md"].decode()
        assert "# Kain nenek" in card and "license: mit" in card and "Twelve cloths." in card
        assert 'gan.load("ratna/kain")' in card and "checkpoint" not in card
        assert done.stderr.count("There is no such run") == 2

        # On a Space it is the visitor's token that counts, never the Space's own.
        space = SPACE | {"HF_TOKEN": SPACE_TOKEN}
        assert "Publishing is turned off here" in publishing(hub, tmp_path, [("ayu", TOKEN)], **space).stderr
        space["CANTING_PUBLISH"] = "1"
        done = publishing(hub, tmp_path, [("ayu", ""), ("ayu", TOKEN)], **space)
        assert "Sign in with Hugging Face first" in done.stderr and "nothing to publish" in done.stdout
        assert len(made.commits) == 2


class Asker:
    """What of a request is looked at, one for this machine by its own name unless ``headers`` say otherwise."""

    def __init__(self, host: str, headers: dict[str, str]) -> None:
        self.client, self.headers = type("Client", (), {"host": host}), {"host": "127.0.0.1:7860"} | headers


@pytest.mark.parametrize(
    ("settings", "host", "headers", "may"),
    [
        ({}, "127.0.0.1", {}, True),
        ({}, "127.0.0.1", {"host": "localhost:7860"}, True),
        ({}, "::1", {"host": "[::1]:7860"}, True),
        ({}, "::1", {"host": "[::1]"}, True),
        ({}, "192.168.1.20", {}, False),
        ({}, "127.0.0.1", {"x-forwarded-for": "203.0.113.9"}, False),
        ({}, "127.0.0.1", {"x-real-ip": "203.0.113.9"}, False),
        ({}, "127.0.0.1", {"forwarded": "for=203.0.113.9"}, False),
        ({}, "127.0.0.1", {"host": "canting.example.org"}, False),
        ({}, "127.0.0.1", {"host": "localhost.example.org:7860"}, False),
        ({"CANTING_PUBLISH": "1"}, "192.168.1.20", {"host": "canting.example.org"}, True),
        ({"CANTING_PUBLISH": "0"}, "127.0.0.1", {}, False),
        (SPACE, "127.0.0.1", {}, False),
        (SPACE | {"CANTING_PUBLISH": "1"}, "10.0.0.1", {}, True),
    ],
)
def test_who_may_publish(monkeypatch: pytest.MonkeyPatch, settings, host: str, headers, may: bool) -> None:
    for name in (*SPACE, "CANTING_PUBLISH"):
        monkeypatch.delenv(name, raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    request = Asker(host, headers)
    assert publish.allowed(request) is may
    if not may:
        with pytest.raises(HubError, match="turned off here"):
            publish.publish("ayu", RUN, "ratna/kain", True, "mit", "", False, None, "en", request)


@pytest.mark.parametrize(("setting", "there"), [("1", True), ("0", False), ("", True)])
def test_the_section_is_where_publishing_is(monkeypatch: pytest.MonkeyPatch, setting: str, there: bool) -> None:
    monkeypatch.delenv("SPACE_ID", raising=False)
    monkeypatch.setenv("CANTING_PUBLISH", setting)
    with gr.Blocks() as page:
        publish.section(gr.BrowserState(""), gr.Radio([]))
    assert any(getattr(block, "elem_id", "") == "publish" for block in page.blocks.values()) is there


def test_on_a_space_the_handler_is_given_the_visitors_token() -> None:
    code = """
import gradio as gr
from gradio.helpers import special_args
from training import publish
with gr.Blocks() as page:
    publish.section(gr.BrowserState(""), gr.Radio([]))
press = next(one.fn for one in page.fns.values() if one.name == "publish")
known = {"access_token": "the visitor's", "scope": "", "expires_at": 4e9, "userinfo": {}}
underlying = type("Request", (), {"scope": {"session": {"oauth_info": known}}})()
values = special_args(press, ["a value"] * 7, request=type("Request", (), {"request": underlying})())[0]
print(page.expects_oauth, len(values), values[8].token)
"""
    space = SPACE | {"SPACE_HOST": "x", "OAUTH_CLIENT_ID": "x", "OAUTH_CLIENT_SECRET": "x", "OAUTH_SCOPES": "openid"}
    space |= {"OPENID_PROVIDER_URL": "http://127.0.0.1:9", "CANTING_PUBLISH": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=os.environ | space, capture_output=True, text=True, timeout=120
    )
    assert done.stdout == "True 9 the visitor's\n", done.stderr
