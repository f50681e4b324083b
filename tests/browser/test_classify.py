"""The Classify tab in a browser."""

from __future__ import annotations

import base64
import re
from pathlib import Path

from playwright.sync_api import expect

from gan import catalog
from gan.settings import ROOT
from gan.tabs.answer import BARS, percent
from gan.tabs.common import motif, tiles


def cloth(kind: str = "JPEG") -> bytes:
    """A generated cloth as a stranger might have saved it."""
    import io

    model = next(one for one in catalog.entries("generator") if one.name.startswith("batik"))
    buffer = io.BytesIO()
    tiles(model, 1)[0].resize((900, 700)).convert("RGB").save(buffer, kind)
    return buffer.getvalue()


def test_no_photo_gets_one_sentence(page):
    page.get_by_role("tab", name="Classify", exact=True).click()
    page.locator("#classify-start").click()
    expect(page.get_by_test_id("toast-body")).to_contain_text("Choose a picture first")


def test_a_photo_is_recognised_by_every_classifier(page, tmp_path: Path):
    (tmp_path / "cloth.jpg").write_bytes(cloth())
    page.get_by_role("tab", name="Classify", exact=True).click()
    page.locator("#classify-photo input[type=file]").set_input_files(tmp_path / "cloth.jpg")
    answer = page.locator("#classify-answer")
    expect(answer).to_contain_text("%")
    picker = page.get_by_label("Classifier")
    for one in [one for one in catalog.entries("classifier") if not one.name.startswith("judge-")]:
        picker.click()
        page.get_by_role("option", name=one.title, exact=True).click()
        ranked = catalog.load(one.name).classify(tmp_path / "cloth.jpg").ranked[:BARS]
        expect(answer.locator("li span:first-child")).to_have_text([motif(label) for label, _ in ranked])
        expect(answer.locator("li .share")).to_have_text([percent(share) for _, share in ranked])
    expect(answer).not_to_contain_text("batik-")


def test_a_click_that_names_a_file_of_the_server_does_not_get_it(page, app):
    """The page's own requests can be made by hand, and what a browser says was clicked may be anything."""
    config = page.request.get(f"{app.url}/config").json()
    (shelf,) = (one["id"] for one in config["components"] if one["props"].get("elem_id") == "classify-examples")
    clicks = [one for one in config["dependencies"] if one["targets"] == [[shelf, "select"]]]
    # The other one only scrolls.
    (click,) = (one["id"] for one in clicks if one["outputs"])
    wanted = {"image": {"path": str(ROOT / "pyproject.toml")}}
    for index in (0, -1, "0", 10**6):
        asked = {
            "data": [],
            "fn_index": click,
            "session_hash": f"stranger{index}",
            "event_data": {"path": "http://x", "index": index, "value": wanted},
        }
        assert page.request.post(f"{app.url}/gradio_api/queue/join", data=asked).ok
        answered = page.request.get(f"{app.url}/gradio_api/queue/data?session_hash=stranger{index}").text()
        assert "process_completed" in answered and "pyproject" not in answered
        assert ("canting-batik" in answered) == (index in (0, -1))


def clear(page) -> None:
    removing = page.locator("#classify-photo").get_by_role("button", name="Remove Image")
    if removing.count():
        removing.click()
    # Whoever has pasted or photographed is back at files only when asked to.
    page.locator("#classify-photo").get_by_label("Upload file", exact=True).click()
    expect(page.locator("#classify-answer")).not_to_contain_text("%")


def test_the_camera_takes_a_photo(page):
    page.context.grant_permissions(["camera"])
    page.get_by_role("tab", name="Classify", exact=True).click()
    clear(page)
    photo = page.locator("#classify-photo")
    photo.get_by_label("Capture from camera").click()
    photo.get_by_text("Click to Access Webcam").click()
    page.wait_for_function("document.querySelector('#classify-photo video')?.readyState >= 2")
    photo.get_by_label("capture photo").click()
    # The pattern is not one of batik.
    expect(page.locator("#classify-answer")).to_contain_text(re.compile("%|Not batik"))


def test_a_copied_picture_is_pasted(page):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("tab", name="Classify", exact=True).click()
    clear(page)
    page.evaluate(
        """async (encoded) => {
            const blob = await (await fetch(`data:image/png;base64,${encoded}`)).blob();
            await navigator.clipboard.write([new ClipboardItem({"image/png": blob})]);
        }""",
        base64.b64encode(cloth("PNG")).decode(),
    )
    page.locator("#classify-photo").get_by_label("Paste from clipboard").click()
    expect(page.locator("#classify-answer")).to_contain_text("%")


def test_an_example_is_recognised(page):
    page.get_by_role("tab", name="Classify", exact=True).click()
    clear(page)
    page.locator("#classify-examples button.thumbnail-lg").first.click()
    expect(page.locator("#classify-answer")).to_contain_text("%")


def test_a_broken_picture_gets_one_sentence_and_the_app_goes_on(page, tmp_path: Path):
    whole = cloth()
    broken = {
        "cut.jpg": (whole[: len(whole) // 3], "damaged or incomplete"),
        "page.jpg": (b"<html><body>not a picture</body></html>", "not a JPEG"),
        "empty.png": (b"", "empty"),
    }
    page.get_by_role("tab", name="Classify", exact=True).click()
    clear(page)
    for name, (content, sentence) in broken.items():
        (tmp_path / name).write_bytes(content)
        page.locator("#classify-photo input[type=file]").set_input_files(tmp_path / name)
        toast = page.get_by_test_id("toast-body").filter(has_text=sentence)
        expect(toast).to_be_visible()
        expect(page.locator("#classify-answer")).not_to_contain_text("%")
        clear(page)
    (tmp_path / "good.jpg").write_bytes(whole)
    page.locator("#classify-photo input[type=file]").set_input_files(tmp_path / "good.jpg")
    expect(page.locator("#classify-answer")).to_contain_text("%")
