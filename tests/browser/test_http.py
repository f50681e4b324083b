"""The endpoints as programs without Gradio's client reach them: two plain HTTP requests a call."""

from __future__ import annotations

import base64
import json
import urllib.request
from typing import Any

import pytest
from PIL import Image

from gan.pictures import png_bytes
from gan.settings import ROOT
from tests.browser.conftest import App

OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def call(app: App, name: str, *values: Any) -> tuple[str, Any]:
    """How a call ended, "complete" or "error", and what it answered."""
    address = f"{app.url}/gradio_api/call/{name}"
    body = json.dumps({"data": values}).encode()
    asked = urllib.request.Request(address, body, {"content-type": "application/json"})
    with OPENER.open(asked, timeout=60) as answer:
        event = json.load(answer)["event_id"]
    with OPENER.open(f"{address}/{event}", timeout=120) as answer:
        ended, told = answer.read().decode().strip().rsplit("\n\n", 1)[-1].splitlines()
    return ended.removeprefix("event: "), json.loads(told.removeprefix("data: "))


def data_url(content: bytes) -> dict[str, str]:
    return {"url": "data:image/png;base64," + base64.b64encode(content).decode()}


def test_what_the_contract_does_not_name_may_be_left_out(app: App) -> None:
    ended, (pictures,) = call(app, "generate", "batik-kawung", 2, 7, 0.9)
    assert ended == "complete" and [one["caption"] for one in pictures] == ["seed 7", "seed 8"]
    ended, (drawn,) = call(app, "digits", "20", 1)
    assert ended == "complete" and len(drawn) == 2
    assert call(app, "list_runs") == ("complete", [[]])


def test_a_photo_may_come_in_the_request_itself(app: App) -> None:
    photo = data_url(png_bytes(Image.effect_noise((300, 200), 60).convert("RGB")))
    ended, (answer,) = call(app, "classify", photo, "batik-mobilenet-3")
    assert ended == "complete" and answer["label"].startswith("batik-") and len(answer["confidences"]) == 3


def test_only_what_was_uploaded_is_read(app: App) -> None:
    """A path that a caller makes up leads to no file of the server's, whatever the caller calls it."""
    picture = str(ROOT / ".github" / "pictures" / "generate-desktop.png")
    for path in (picture, "/etc/passwd", str(ROOT / "no-such.png")):
        for mark in (
            {},
            {"meta": None},
            {"meta": []},
            {"meta": {"_type": "x"}},
            {"meta": {"_type": "gradio.FileData"}},
        ):
            ended, told = call(app, "classify", {"path": path} | mark, "batik-mobilenet-3")
            assert ended == "error" and "no uploaded file" in json.dumps(told)
            ended, told = call(app, "start_run", "batik-kawung", [{"path": path} | mark], {})
            assert ended == "error" and "no uploaded file" in json.dumps(told)


@pytest.mark.parametrize(
    "value",
    ["data:image/png;base64,AAAA", 5, [""], True, [[1]], {"url": 5}, {"path": 5}, {"url": "ftp://example.org/x.png"}],
    ids=str,
)
def test_what_is_no_file_gets_a_sentence(app: App, value: Any) -> None:
    ended, told = call(app, "classify", value, "batik-mobilenet-3")
    assert ended == "error" and "no uploaded file" in json.dumps(told)


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n"])
def test_a_photo_that_is_none_gets_a_sentence(app: App, content: bytes) -> None:
    ended, told = call(app, "classify", data_url(content), "batik-mobilenet-3")
    assert ended == "error" and "picture" in json.dumps(told)
    for torn in ("data:image/png;base64,torn!", "DATA:image/png;base64,x", "data:image/png;base64,\udcff", "data:"):
        ended, told = call(app, "classify", {"url": torn}, "batik-mobilenet-3")
        assert ended == "error" and "picture" in json.dumps(told)
