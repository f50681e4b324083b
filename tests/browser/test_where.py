"""Training elsewhere, in a real browser: chosen, watched and stopped on the page; the job runs at a Hub on loopback."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import PATIENCE_SECONDS, PHONE, serve
from tests.gan.test_hub import environment
from tests.hub_server import Account, serving
from tests.training.conftest import make_base, make_cloths, wait_for

TOKEN = "hf_homeSecretOfTheTests"
PATIENCE = 240_000


@pytest.mark.timeout(600)
def test_a_run_is_sent_elsewhere_watched_and_stopped(tmp_path: Path, chromium: Browser) -> None:
    make_base(tmp_path / "checkpoints" / "tiny")
    with serving() as hub:
        hub.accounts = {TOKEN: Account("ratna")}
        hub.instead = "echo '<i>begun</i>'; sleep 600"
        settings = environment(hub, tmp_path / "hf") | {"CANTING_HUB_PATIENCE": "20", "HF_TOKEN": TOKEN}
        settings |= {"CANTING_CHECKPOINTS": str(tmp_path / "checkpoints"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
        with serve(tmp_path, **settings) as app:
            page = chromium.new_context(viewport=PHONE, locale="id-ID").new_page()
            page.set_default_timeout(1000 * PATIENCE_SECONDS)
            page.goto(app.url)
            page.get_by_role("tab", name="Latih", exact=True).click()
            page.locator("#train-pictures input[type=file]").set_input_files(make_cloths(tmp_path / "cloths"))
            expect(page.locator("#train-count")).to_contain_text("12")
            page.get_by_role("button", name="Lainnya").click()
            where = page.locator("#train-where input")
            expect(where).to_have_value("mesin ini")
            # Nobody needs these at home, on this machine.
            expect(page.locator("#train-timeout")).to_be_hidden()
            expect(page.locator("#train-push")).to_be_hidden()
            where.click()
            page.get_by_role("option", name="Hugging Face Jobs: t4-small").click()
            limit = page.locator("#train-timeout").locator("input, textarea")
            limit.fill("soon")
            page.locator("#train-start").click()
            expect(page.get_by_text("soon bukan batas waktu")).to_be_visible()
            limit.fill("90m")
            page.locator("#train-start").click()

            state = page.locator("#train-state")
            expect(state).to_contain_text("Hugging Face Jobs: t4-small")
            expect(state).to_contain_text("| <i>begun</i>", timeout=PATIENCE)
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
            (job,) = hub.jobs.values()
            assert (job.asked["flavor"], job.asked["timeoutSeconds"]) == ("t4-small", 5400)
            page.locator("#train-stop").click()
            record = next(app.runs.glob("*/job.json"))
            wait_for(lambda: json.loads(record.read_text()).get("ended") == {"how": "stopped"}, 240)
            assert job.stage == "CANCELED"
            expect(page.locator("#train-resume")).to_be_enabled()
            assert TOKEN not in page.content()
            page.context.close()
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert not any(TOKEN.encode() in path.read_bytes() for path in files)
