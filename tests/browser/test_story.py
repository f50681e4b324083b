"""The whole way in one go: real photos, a closed page, a killed app, a model in Generate and on the Hub."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.conftest import DESKTOP, PATIENCE_SECONDS, App, free_port, serve
from tests.gan.test_hub import environment
from tests.hub_server import Account, HubServer, serving
from tests.training.conftest import make_base, wait_for
from training.export import write_samples
from training.runs import Run

TOKEN = "hf_tokenOfTheWholeStory"
PHOTOS = 20
PATIENCE = 240_000


@pytest.mark.timeout(900)
def test_from_photos_to_the_hub(data: Callable[[str], Path], tmp_path: Path, chromium: Browser):
    photos = sorted((data("batik-gan") / "batik-megamendung").iterdir())[:PHOTOS]
    twin = shutil.copy(photos[0], tmp_path / "again.jpg")
    write_samples(make_base(tmp_path / "checkpoints" / "tiny"))
    with serving() as hub:
        hub.accounts = {TOKEN: Account("ratna")}
        settings = environment(hub, tmp_path / "hf") | {"CANTING_HUB_PATIENCE": "20", "HF_TOKEN": TOKEN}
        settings |= {"CANTING_CHECKPOINTS": str(tmp_path / "checkpoints"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
        # The browser knows a visitor by the page's address.
        settings["GRADIO_SERVER_PORT"] = str(free_port())
        context = chromium.new_context(viewport=DESKTOP, locale="en-GB")
        with serve(tmp_path, **settings) as app:
            run = begin(train_tab(context, app), [*photos, Path(twin)], app)
            app.process.kill()
            app.process.wait()
        # Nobody looks, and it goes on.
        reached = run.metrics()[-1]["step"]
        wait_for(lambda: run.metrics()[-1]["step"] > reached + 5, 120)
        with serve(tmp_path, **settings) as app:
            come_back(train_tab(context, app))
            generate_and_publish(context.pages[0], hub)
        context.close()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(TOKEN.encode() in path.read_bytes() for path in files)


def train_tab(context: BrowserContext, app: App) -> Page:
    """The app in a new browser tab, on Train."""
    page = context.new_page()
    page.set_default_timeout(1000 * PATIENCE_SECONDS)
    page.goto(app.url)
    page.get_by_role("tab", name="Train", exact=True).click()
    return page


def begin(page: Page, photos: list[Path], app: App) -> Run:
    """Drop photos, look at the findings, start, watch the first steps, close the page; the run on disk."""
    page.locator("#train-pictures input[type=file]").set_input_files(photos)
    said = page.locator("#train-count")
    expect(said).to_contain_text(re.compile(rf"\d+ of {PHOTOS + 1} pictures will be used"), timeout=PATIENCE)
    findings = page.locator("#train-leave label", has_text="duplicate")
    expect(findings.first.locator("input")).to_be_checked()
    used = int(said.inner_text().split()[0])
    assert 10 <= used <= PHOTOS
    page.locator("#train-steps input[type=number]").fill("5000")
    page.locator("#train-start").click()
    state = page.locator("#train-state")
    expect(state).to_contain_text(f"{used} pictures to learn from")
    expect(state).to_contain_text(re.compile(r"step [1-9]\d* of 5000"), timeout=PATIENCE)
    expect(page.locator("#train-samples")).to_contain_text("Samples at step 0", timeout=PATIENCE)
    page.close()
    (record,) = app.runs.glob("*/job.json")
    process = psutil.Process(json.loads(record.read_text())["process"]["pid"])
    assert process.is_running() and TOKEN not in process.environ().values()
    return Run(record.parent)


def come_back(page: Page) -> None:
    """It is found still training; stop it, try it, see whether it copies."""
    state = page.locator("#train-state")
    expect(state).to_contain_text("training · step", timeout=PATIENCE)
    page.locator("#train-stop").click()
    expect(state).to_contain_text("stopped", timeout=PATIENCE)
    page.locator("#train-try").click()
    expect(page.locator("#train-gallery img").first).to_be_visible()
    page.locator("#train-nearest").click()
    expect(page.locator("#train-verdict")).to_contain_text("copy")


def generate_and_publish(page: Page, hub: HubServer) -> None:
    """The model is in Generate at once, and goes to the Hub without a single photo."""
    section = page.locator("#publish")
    section.get_by_role("button", name="Publish on the Hugging Face Hub").click()
    page.locator("#publish-repository textarea, #publish-repository input").fill("ratna/awan")
    page.locator("#publish-data textarea").fill("Twenty photographs of clouds.")
    page.locator("#publish-start").click()
    expect(page.locator("#publish-said")).to_contain_text(f"{hub.url}/ratna/awan", timeout=PATIENCE)
    made = hub.repository("model", "ratna/awan")
    assert made.visibility == "private" and "model.safetensors" in made.files
    assert not any(path.endswith((".jpg", ".jsonl", ".log")) for path in made.files)
    page.get_by_role("tab", name="Generate", exact=True).click()
    page.locator("#generate-model label").last.click()
    page.locator("#generate-start").click()
    page.wait_for_function("document.querySelectorAll('#generate-gallery img').length == 8")
    assert TOKEN not in page.content()
