"""The Train tab in a real browser: hand in pictures, watch a training, stop it, use what it made."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from playwright.sync_api import Page, expect

from tests.browser.conftest import PHONE, App
from tests.training.conftest import make_pictures

# Trainings give way to everything else, other tests among it.
PATIENCE = 240_000


@pytest.fixture
def no_run_left(app: App) -> None:
    """Whatever a test leaves training in the app is stopped."""
    yield
    for process in psutil.process_iter(["cmdline"]):
        if any(str(app.runs) in word for word in process.info["cmdline"] or []):
            process.kill()


def hand_in(page: Page, paths: list[Path]) -> None:
    """Put files into the upload field and wait until they are there."""
    page.locator("#train-pictures input[type=file]").set_input_files(paths)
    expect(page.locator("#train-pictures")).to_contain_text(paths[-1].stem[:6])


@pytest.mark.timeout(900)
def test_a_fine_tuning_from_upload_to_pictures(app: App, visit: Callable[..., Page], tmp_path: Path, no_run_left):
    page = visit(tab="Train")
    # There are pictures before anything trains: what the base makes.
    expect(page.locator("#train-samples img")).to_be_visible()
    expect(page.locator("#train-stop")).to_be_disabled()
    hand_in(page, make_pictures(tmp_path, 4))
    page.locator("#train-start").click()

    state = page.locator("#train-state")
    expect(state).to_contain_text("4 pictures to learn from")
    expect(page.locator("#train-runs")).to_be_visible()
    expect(page.locator("#train-samples")).to_contain_text("Samples at step 0", timeout=PATIENCE)
    expect(state).to_contain_text(re.compile(r"step [1-9]\d* of 1000"), timeout=PATIENCE)
    expect(state.locator("progress")).to_have_attribute("value", re.compile("[1-9]"))
    assert len(list(app.runs.glob("*/pictures/*.jpg"))) == 4

    # A closed and opened page finds it again; another visitor does not see it.
    page.reload()
    page.get_by_role("tab", name="Train", exact=True).click()
    expect(state).to_contain_text("training")
    stranger = visit(tab="Train", language="id-ID", screen=PHONE)
    expect(stranger.locator("#train-state")).to_contain_text("Belum ada yang dilatih")
    expect(stranger.locator("#train-runs")).to_be_hidden()

    page.locator("#train-stop").click()
    expect(state).to_contain_text("stopped", timeout=60_000)
    expect(page.locator("#train-stop")).to_be_disabled()
    expect(page.locator("#train-resume")).to_be_enabled()
    page.locator("#train-try").click()
    expect(page.locator("#train-gallery img").first).to_be_visible()
    # Nothing runs, so nothing is asked for either.
    page.wait_for_timeout(3000)
    page.asked.clear()
    page.wait_for_timeout(4000)
    assert page.asked == []


def test_a_file_that_is_no_picture_is_named(app: App, visit: Callable[..., Page], tmp_path: Path):
    (tmp_path / "page.jpg").write_text("<html>not a picture</html>")
    page = visit(tab="Train")
    hand_in(page, [*make_pictures(tmp_path, 2), tmp_path / "page.jpg"])
    page.locator("#train-start").click()
    expect(page.get_by_test_id("toast-body")).to_contain_text("page.jpg cannot be used. This file is not a JPEG")
    expect(page.locator("#train-state")).to_contain_text("Nothing is training yet")


def test_the_endpoints_keep_callers_apart(app: App, tmp_path: Path):
    client = Client(app.url, verbose=False)
    uploads = [handle_file(path) for path in make_pictures(tmp_path, 2)]
    assert client.predict(api_name="/list_runs") == []
    for arguments, sentence in (
        (("nonsense", uploads, {}), "cannot be trained further"),
        (("batik-kawung", uploads[:1], {"steps": 5}), "there are 1"),
        (("batik-kawung", uploads, {"steps": -1}), "from 1 to"),
    ):
        with pytest.raises(AppError, match=sentence):
            client.predict(*arguments, api_name="/start_run")
    with pytest.raises(AppError, match="no such run"):
        client.predict("../../etc", api_name="/stop_run")
