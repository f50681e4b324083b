"""The Train tab in a real browser: hand in pictures, watch a training, stop it, use what it made."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import DESKTOP, PATIENCE_SECONDS, App, serve
from tests.training.conftest import make_cloths, wait_for
from training.watch import CALM_SECONDS

# Trainings give way to everything else on the machine.
PATIENCE = 240_000


def test_nothing_is_dropped_before_the_page_knows_whose_it_is(workshop: App, chromium: Browser):
    with chromium.new_context(locale="en-GB", viewport=DESKTOP) as context:
        page, held = context.new_page(), []
        page.set_default_timeout(1000 * PATIENCE_SECONDS)
        page.route("**/queue/join**", lambda route: held.append(route))
        page.goto(workshop.url)
        page.get_by_role("tab", name="Train", exact=True).click()
        start, field = page.locator("#train-start"), page.locator("#train-pictures input[type=file]")
        expect(start).to_be_disabled()
        expect(field).to_have_count(0)
        # The requests held go on.
        page.unroute("**/queue/join**")
        expect(start).to_be_enabled()
        expect(field).to_have_count(1)


def hand_in(page: Page, paths: list[Path]) -> None:
    """Put files into the upload field and wait until the audit has looked at them."""
    page.locator("#train-pictures input[type=file]").set_input_files(paths)
    expect(page.locator("#train-count")).to_contain_text("pictures will be used")


@pytest.mark.timeout(900)
def test_from_upload_to_pictures(workshop: App, visitor: Callable[..., Page], tmp_path: Path):
    page = visitor("Train")
    # There are pictures before anything trains: what the base makes.
    expect(page.locator("#train-samples img")).to_be_visible()
    expect(page.locator("#train-stop")).to_be_hidden()
    cloths = make_cloths(tmp_path / "cloths", 12)
    shutil.copy(cloths[0], tmp_path / "cloths" / "twin.jpg")
    hand_in(page, [*cloths, tmp_path / "cloths" / "twin.jpg"])
    said, boxes = page.locator("#train-count"), page.locator("#train-leave label")
    expect(said).to_contain_text("12 of 13 pictures will be used")
    expect(boxes).to_have_count(13)
    # The finding comes first, ticked, with its reason and its picture.
    expect(boxes.first).to_contain_text("duplicate · like kain-0.jpg")
    expect(boxes.first.locator("input")).to_be_checked()
    assert "data:image/jpeg" in boxes.nth(5).evaluate("box => getComputedStyle(box, '::before').backgroundImage")
    boxes.nth(4).locator("input").press("Space")
    expect(said).to_contain_text("11 of 13 pictures will be used")
    # Not yet started, it is there again when the page is; the ticks are the audit's then.
    page.reload()
    page.get_by_role("tab", name="Train", exact=True).click()
    expect(said).to_contain_text("12 of 13 pictures will be used")
    boxes.nth(4).locator("input").press("Space")
    expect(said).to_contain_text("11 of 13 pictures will be used")
    page.locator("#train-preview").click()
    expect(page.locator("#train-previews img")).to_have_count(8)
    expect(page.locator("#train-terms")).to_contain_text("yours alone to see")
    page.locator("#train-start").click()

    state = page.locator("#train-state")
    expect(state).to_contain_text("11 pictures to learn from")
    expect(boxes).to_have_count(0)
    expect(page.locator("#train-runs")).to_contain_text("Tiny")
    expect(page.locator("#train-samples")).to_contain_text("Samples at step 0", timeout=PATIENCE)
    expect(state).to_contain_text(re.compile(r"step [1-9]\d* of 1000"), timeout=PATIENCE)
    expect(state.locator("progress")).to_have_attribute("value", re.compile("[1-9]"))
    expect(state).to_contain_text("GB of memory")
    assert len(list(workshop.runs.glob("*/pictures/*.jpg"))) == 11

    # A page that was closed finds it again; another visitor does not see it.
    page.reload()
    page.get_by_role("tab", name="Train", exact=True).click()
    expect(state).to_contain_text("training · step")
    stranger = visitor("Latih", "id-ID")
    expect(stranger.locator("#train-state")).to_contain_text("Belum ada yang dilatih")
    expect(stranger.locator("#train-runs")).to_be_hidden()

    page.locator("#train-stop").click()
    expect(state).to_contain_text("stopped")
    expect(page.locator("#train-stop")).to_be_disabled()
    expect(page.locator("#train-resume")).to_be_enabled()
    expect(page.locator("#train-curve canvas, #train-curve svg").first).to_be_visible()
    page.locator("#train-try").click()
    expect(page.locator("#train-gallery img").first).to_be_visible()
    page.locator("#train-nearest").click()
    expect(page.locator("#train-verdict")).to_contain_text("copy")
    expect(page.locator("#train-gallery")).to_contain_text("yours, the nearest")

    # Nothing runs, so nothing is asked for either.
    page.wait_for_timeout(1500 * CALM_SECONDS)
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(1500 * CALM_SECONDS)
    assert [url for url in asked if "queue" in url] == []


def test_a_file_that_is_no_picture_is_named(workshop: App, visitor: Callable[..., Page], tmp_path: Path):
    (tmp_path / "page.jpg").write_text("<html>not a picture</html>")
    page = visitor("Train")
    hand_in(page, [*make_cloths(tmp_path, 9), tmp_path / "page.jpg"])
    expect(page.locator("#train-count")).to_contain_text("page.jpg: This file is not a JPEG")
    expect(page.locator("#train-count")).to_contain_text("9 of 10 pictures will be used, and training needs 10")
    page.locator("#train-start").click()
    expect(page.get_by_test_id("toast-body")).to_contain_text("there are 9 (handed in: 10; cannot be read: 1)")
    expect(page.locator("#train-state")).to_contain_text("Nothing is training yet")
    # Nothing is lost: more can be added.
    (more,) = make_cloths(tmp_path, 10)[9:]
    hand_in(page, [more])
    expect(page.locator("#train-count")).to_contain_text("10 of 11 pictures will be used.")
    page.locator("#train-empty").click()
    expect(page.locator("#train-leave")).to_be_hidden()


@pytest.mark.timeout(300)
def test_a_run_is_renamed_promoted_repeated_and_deleted(workshop: App, visitor: Callable[..., Page], tmp_path: Path):
    page = visitor("Train")
    hand_in(page, make_cloths(tmp_path, 10))
    page.locator("#train-steps input[type=number]").fill("50")
    page.locator("#train-start").click()
    state, runs = page.locator("#train-state"), page.locator("#train-runs label")
    expect(state.locator("[data-state=finished]")).to_be_visible(timeout=PATIENCE)

    page.get_by_role("button", name="Rename, repeat, delete").click()
    page.locator("#train-title input, #train-title textarea").fill("Kain <b>nenek</b>")
    page.locator("#train-rename").click()
    expect(runs).to_contain_text("Kain <b>nenek</b> · finished")

    page.locator("#train-moment input[type=range]").focus()
    for _ in range(10):
        page.keyboard.press("ArrowLeft")
    expect(page.locator("#train-samples")).to_contain_text(re.compile(r"step (28|30|32)\b"))
    page.locator("#train-promote").click()
    expect(page.get_by_test_id("toast-body")).to_contain_text("The model is now that of step", timeout=PATIENCE)
    (config,) = (
        json.loads(path.read_text())
        for path in workshop.runs.glob("*/checkpoint/config.json")
        if "nenek" in path.read_text()
    )
    assert 26 < config["step"] < 34 and config["title"] == "Kain <b>nenek</b>"

    page.locator("#train-repeat").click()
    expect(runs).to_have_count(2)
    page.locator("#train-stop").click()
    expect(state).to_contain_text("stopped", timeout=PATIENCE)
    page.get_by_role("radio", name=re.compile("nenek")).last.check(force=True)
    page.locator("#train-try").click()
    expect(page.locator("#train-gallery img").first).to_be_visible(timeout=PATIENCE)
    for left in (1, 0):
        page.locator("#train-delete").click()
        page.locator("#train-sure").click()
        expect(runs).to_have_count(left)
    expect(state).to_contain_text("Nothing is training yet")
    expect(page.locator("#train-manage")).to_be_hidden()
    # Nothing of it stays on the page.
    expect(page.locator("#train-gallery")).to_be_hidden()
    expect(page.locator("#train-samples")).to_contain_text("What the model makes now")


@pytest.mark.timeout(300)
def test_the_endpoints_keep_callers_apart(workshop: App, tmp_path: Path):
    client, other = (Client(workshop.url, verbose=False) for _ in range(2))
    uploads = [handle_file(path) for path in make_cloths(tmp_path, 10)]
    for arguments, sentence in (
        (("nonsense", uploads, {}), "cannot be trained further"),
        (("tiny", uploads[:1], {"steps": 5}), "there are 1 "),
        (("tiny", uploads, {"steps": -1}), "from 1 to"),
    ):
        with pytest.raises(AppError, match=sentence):
            client.predict(*arguments, api_name="/start_run")
    assert client.predict(api_name="/list_runs") == []

    run = client.predict("tiny", uploads, {"steps": 500, "name": "mine"}, api_name="/start_run")
    (listed,) = client.predict(api_name="/list_runs")
    assert (listed["id"], listed["title"], listed["steps"], listed["pictures"]) == (run, "mine", 500, 10)
    assert str(workshop.runs) not in str(listed)
    assert other.predict(api_name="/list_runs") == []
    assert client.predict(run, api_name="/stop_run")["state"] in ("stopping", "stopped")
    with pytest.raises(AppError, match="no such run"):
        client.predict("../../etc", api_name="/stop_run")


@pytest.mark.timeout(600)
def test_the_queue_goes_on_after_the_app_was_killed(workshop: App, tmp_path: Path):
    """Nobody looks: no page is open, no client asks."""
    models = {"CANTING_CHECKPOINTS": str(workshop.runs.parent / "checkpoints")}
    uploads = make_cloths(tmp_path / "cloths", 10)
    with serve(tmp_path, **models) as first:
        client = Client(first.url, verbose=False)
        files = [handle_file(path) for path in uploads]
        names = [client.predict("tiny", files, {"steps": 5000}, "ayu", api_name="/start_run") for _ in range(4)]
        states = {one["id"]: one["state"] for one in client.predict("ayu", api_name="/list_runs")}
        assert [states[name] for name in names] == ["running", "waiting", "waiting", "waiting"]
        client.predict(names[1], api_name="/stop_run")
        first.process.kill()
        first.process.wait()

    def record(name: str) -> dict:
        return json.loads((first.runs / name / "job.json").read_text())

    # It outlives the app, and then ends without a word.
    worker = psutil.Process(record(names[0])["process"]["pid"])
    assert worker.is_running()
    worker.kill()
    with serve(tmp_path, **models) as second:
        wait_for(lambda: "process" in record(names[2]), 60)
        assert "process" not in record(names[3])
        # The next begins when this one is killed, too.
        psutil.Process(record(names[2])["process"]["pid"]).kill()
        wait_for(lambda: "process" in record(names[3]), 60)
        client = Client(second.url, verbose=False)
        states = {one["id"]: one["state"] for one in client.predict("ayu", api_name="/list_runs")}
        assert [states[name] for name in names] == ["failed", "stopped", "failed", "running"]
    psutil.Process(record(names[3])["process"]["pid"]).kill()
