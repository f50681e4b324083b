"""The Train tab in a real browser: hand in pictures, watch a training, stop it, use what it made."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import DESKTOP, App, serve
from tests.training.conftest import make_base, make_pictures

# Trainings give way to everything else on the machine.
PATIENCE = 240_000


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """The app with one tiny model, so that a training is a matter of seconds; none outlives the tests."""
    from training.export import write_samples

    folder = tmp_path_factory.mktemp("workshop")
    write_samples(make_base(folder / "checkpoints" / "tiny"))
    with serve(folder, CANTING_CHECKPOINTS=str(folder / "checkpoints")) as running:
        yield running
    for process in psutil.process_iter(["cmdline"]):
        if any(str(running.runs) in word for word in process.info["cmdline"] or []):
            process.kill()


@pytest.fixture
def visitor(workshop: App, chromium: Browser) -> Iterator[Callable[..., Page]]:
    """``visitor(tab, language)``: somebody new, with a browser of their own, on that tab."""
    contexts = []

    def arrive(tab: str, language: str = "en-GB") -> Page:
        contexts.append(chromium.new_context(locale=language, viewport=DESKTOP))
        page = contexts[-1].new_page()
        page.set_default_timeout(60_000)
        page.goto(workshop.url)
        page.get_by_role("tab", name=tab, exact=True).click()
        return page

    yield arrive
    for context in contexts:
        context.close()


def hand_in(page: Page, paths: list[Path]) -> None:
    """Put files into the upload field and wait until they are there."""
    page.locator("#train-pictures input[type=file]").set_input_files(paths)
    expect(page.locator("#train-pictures")).to_contain_text(paths[-1].stem[:4])


@pytest.mark.timeout(900)
def test_from_upload_to_pictures(workshop: App, visitor: Callable[..., Page], tmp_path: Path):
    page = visitor("Train")
    # There are pictures before anything trains: what the base makes.
    expect(page.locator("#train-samples img")).to_be_visible()
    expect(page.locator("#train-stop")).to_be_hidden()
    hand_in(page, make_pictures(tmp_path, 4))
    page.locator("#train-start").click()

    state = page.locator("#train-state")
    expect(state).to_contain_text("4 pictures to learn from")
    expect(page.locator("#train-runs")).to_contain_text("Tiny")
    expect(page.locator("#train-samples")).to_contain_text("Samples at step 0", timeout=PATIENCE)
    expect(state).to_contain_text(re.compile(r"step [1-9]\d* of 1000"), timeout=PATIENCE)
    expect(state.locator("progress")).to_have_attribute("value", re.compile("[1-9]"))
    assert len(list(workshop.runs.glob("*/pictures/*.jpg"))) == 4

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

    # Nothing runs, so nothing is asked for either.
    page.wait_for_timeout(3000)
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(4500)
    assert [url for url in asked if "queue" in url] == []


def test_a_file_that_is_no_picture_is_named(workshop: App, visitor: Callable[..., Page], tmp_path: Path):
    (tmp_path / "page.jpg").write_text("<html>not a picture</html>")
    page = visitor("Train")
    hand_in(page, [*make_pictures(tmp_path, 2), tmp_path / "page.jpg"])
    page.locator("#train-start").click()
    expect(page.get_by_test_id("toast-body")).to_contain_text("page.jpg cannot be used. This file is not a JPEG")
    expect(page.locator("#train-state")).to_contain_text("Nothing is training yet")


@pytest.mark.timeout(300)
def test_the_endpoints_keep_callers_apart(workshop: App, tmp_path: Path):
    client, other = (Client(workshop.url, verbose=False) for _ in range(2))
    uploads = [handle_file(path) for path in make_pictures(tmp_path, 2)]
    for arguments, sentence in (
        (("nonsense", uploads, {}), "cannot be trained further"),
        (("tiny", uploads[:1], {"steps": 5}), "there are 1"),
        (("tiny", uploads, {"steps": -1}), "from 1 to"),
    ):
        with pytest.raises(AppError, match=sentence):
            client.predict(*arguments, api_name="/start_run")
    assert client.predict(api_name="/list_runs") == []

    run = client.predict("tiny", uploads, {"steps": 500, "name": "mine"}, api_name="/start_run")
    (listed,) = client.predict(api_name="/list_runs")
    assert (listed["id"], listed["title"], listed["steps"], listed["pictures"]) == (run, "mine", 500, 2)
    assert str(workshop.runs) not in str(listed)
    assert other.predict(api_name="/list_runs") == []
    assert client.predict(run, api_name="/stop_run")["state"] in ("stopping", "stopped")
    with pytest.raises(AppError, match="no such run"):
        client.predict("../../etc", api_name="/stop_run")
