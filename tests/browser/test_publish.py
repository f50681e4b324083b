"""The Publish section in a real browser: a visitor's own model, on a Hub on loopback."""

from __future__ import annotations

import json
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Browser, expect

from gan.files import atomic
from tests.browser.conftest import DESKTOP, PATIENCE_SECONDS, PHONE, serve
from tests.gan.test_hub import environment
from tests.hub_server import Account, serving
from tests.training.conftest import make_base, make_cloths, wait_for

TOKEN = "hf_homeSecretOfTheTests"


@pytest.mark.timeout(600)
def test_a_model_goes_from_the_page_to_the_hub(tmp_path: Path, chromium: Browser) -> None:
    make_base(tmp_path / "checkpoints" / "tiny")
    with serving() as hub:
        hub.accounts = {TOKEN: Account("ratna")}
        settings = environment(hub, tmp_path / "hf") | {"CANTING_HUB_PATIENCE": "20", "HF_TOKEN": TOKEN}
        settings |= {"CANTING_CHECKPOINTS": str(tmp_path / "checkpoints"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
        with serve(tmp_path, **settings) as app:
            page = chromium.new_context(viewport=DESKTOP, locale="en-GB").new_page()
            page.set_default_timeout(1000 * PATIENCE_SECONDS)
            page.goto(app.url)
            page.get_by_role("tab", name="Train", exact=True).click()
            expect(page.locator("#train-start")).to_be_visible()
            expect(page.locator("#publish")).to_be_hidden()
            page.locator("#train-pictures input[type=file]").set_input_files(make_cloths(tmp_path / "cloths"))
            expect(page.locator("#train-count")).to_contain_text("12 of 12")
            page.locator("#train-start").click()
            record = Path(wait_for(lambda: next(app.runs.glob("*/job.json"), None)))
            finish(record)

            section = page.locator("#publish")
            expect(page.locator("#train-state")).to_contain_text("finished")
            section.get_by_role("button", name="Publish on the Hugging Face Hub").click()
            start, where = (
                page.locator("#publish-start"),
                page.locator("#publish-repository textarea, #publish-repository input"),
            )
            where.fill("a cloth")
            start.click()
            expect(page.get_by_text("a cloth is no repository name")).to_be_visible()
            where.fill("ratna/kain")
            page.locator("#publish-data textarea").fill("Four cloths drawn by numbers.")
            start.click()
            expect(page.locator("#publish-said")).to_contain_text(f"{hub.url}/ratna/kain")
            page.set_viewport_size(PHONE)
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
            made = hub.repository("model", "ratna/kain")
            assert made.visibility == "private" and "model.safetensors" in made.files
            assert b"Four cloths drawn by numbers." in made.files["README.md"]
            assert not any(path.endswith((".jpg", ".jsonl", ".log")) for path in made.files)
            assert TOKEN not in page.content()
            page.context.close()
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert not any(TOKEN.encode() in path.read_bytes() for path in files)


def finish(record: Path) -> None:
    """End a run as if it had trained: what it would have made is not what is tested here."""
    job = wait_for(lambda: "process" in (now := json.loads(record.read_text())) and now)
    worker = psutil.Process(job["process"]["pid"])
    # Held, not yet killed: the page must not find it dead before the record says that it has finished.
    worker.suspend()
    make_base(record.parent / "checkpoint")
    with atomic(record) as path:
        path.write_text(json.dumps(job | {"ended": {"how": "finished"}}))
    worker.kill()
    wait_for(lambda: not psutil.pid_exists(worker.pid) or worker.status() == psutil.STATUS_ZOMBIE)
