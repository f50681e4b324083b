"""Take the README's pictures of the running app: ``python -m tests.browser.screenshots URL [FOLDER]``.

Everything on them is generated: the pages open with the models' samples, and the cloth that is classified is one
of them.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

from gan.settings import ROOT
from tests.browser.conftest import CHROMIUM_FLAGS, DESKTOP, PATIENCE_SECONDS, PHONE

TABS = ("Generate", "Digits", "Classify", "Results", "Train")


def prepare(page: Page, tab: str) -> None:
    """Bring a tab to a state worth showing."""
    page.get_by_role("tab", name=tab, exact=True).click()
    if tab == "Classify":
        page.locator("#classify-examples button.thumbnail-lg").first.click()
        expect(page.locator("#classify-answer")).to_contain_text("%")
    if tab == "Results":
        expect(page.get_by_text("The same samples").first).to_be_visible()
    if tab == "Generate":
        page.wait_for_function("document.querySelector('#generate-gallery img')?.naturalWidth > 0")
    page.mouse.move(2, 2)
    page.wait_for_timeout(1500)


def main(url: str, folder: Path = ROOT / ".github" / "pictures") -> None:
    """Each tab on a desktop (light) and a phone (dark), as ``<tab>-<screen>.png``."""
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=CHROMIUM_FLAGS)
        for name, screen, scheme in (("desktop", DESKTOP, "light"), ("phone", PHONE, "dark")):
            page = browser.new_page(viewport=screen, color_scheme=scheme, locale="en-GB")
            page.set_default_timeout(1000 * PATIENCE_SECONDS)
            page.goto(url)
            page.get_by_role("tab").first.wait_for()
            for tab in TABS:
                prepare(page, tab)
                page.screenshot(path=folder / f"{tab.lower()}-{name}.png", full_page=True)
            page.close()
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1], *map(Path, sys.argv[2:]))
