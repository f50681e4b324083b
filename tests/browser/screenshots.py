"""Take the README's pictures of the running app: ``python -m tests.browser.screenshots URL [FOLDER]``.

Everything on them is generated: the pages open with the models' samples, the cloth that is classified is one of them,
and so are those that a model is trained on, which takes some minutes. That run stays: start the app with a
``CANTING_RUNS`` of its own.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

import gan
from gan.settings import ROOT
from tests.browser.conftest import DESKTOP, PATIENCE_SECONDS, PHONE, launch

TABS = ("Generate", "Digits", "Classify", "Results", "Train")
# The training that is shown: long enough for a curve.
STEPS, CLOTHS, MINUTES = 50, 24, 30


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


def train(page: Page, folder: Path) -> None:
    """From dropped cloths to a model, as ``train-dropped.png``, ``train-going.png`` and ``train-done.png``."""
    page.get_by_role("tab", name="Train", exact=True).click()
    with tempfile.TemporaryDirectory() as cloths:
        paths = [Path(cloths) / f"kain-{number}.jpg" for number in range(CLOTHS)]
        for picture, path in zip(gan.load("batik-megamendung").sample(CLOTHS, seed=1), paths, strict=True):
            picture.resize((512, 512)).save(path, quality=92)
        shutil.copy(paths[0], Path(cloths) / "kain-0-lagi.jpg")
        page.locator("#train-pictures input[type=file]").set_input_files([*paths, Path(cloths) / "kain-0-lagi.jpg"])
        expect(page.locator("#train-count")).to_contain_text("pictures will be used")
    shoot(page, folder / "train-dropped.png")
    page.locator("#train-steps input[type=number]").fill(str(STEPS))
    page.locator("#train-start").click()
    state = page.locator("#train-state")
    expect(state).to_contain_text(re.compile(rf"step [2-9]\d of {STEPS}"), timeout=60_000 * MINUTES)
    shoot(page, folder / "train-going.png")
    expect(state.locator("[data-state=finished]")).to_be_visible(timeout=60_000 * MINUTES)
    page.locator("#train-try").click()
    expect(page.locator("#train-gallery img").first).to_be_visible()
    page.locator("#train-nearest").click()
    expect(page.locator("#train-verdict")).to_contain_text("copy")
    shoot(page, folder / "train-done.png")


def shoot(page: Page, path: Path) -> None:
    """The whole page, once what moves has come to rest."""
    page.mouse.move(2, 2)
    page.wait_for_timeout(1500)
    # What sticks to the screen's edge would lie in the middle of a picture of the whole page.
    page.add_style_tag(content=".actions { position: static !important; }")
    page.screenshot(path=path, full_page=True)
    # A palette takes a quarter of the space, and the repository keeps every version.
    Image.open(path).convert("RGB").quantize(256).save(path, optimize=True)


def main(url: str, folder: Path = ROOT / ".github" / "pictures") -> None:
    """Each tab on a desktop (light) and a phone (dark), as ``<tab>-<screen>.png``."""
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = launch(playwright)
        for name, screen, scheme in (("desktop", DESKTOP, "light"), ("phone", PHONE, "dark")):
            page = browser.new_page(viewport=screen, color_scheme=scheme, locale="en-GB")
            page.set_default_timeout(1000 * PATIENCE_SECONDS)
            page.goto(url)
            page.get_by_role("tab").first.wait_for()
            for tab in TABS:
                prepare(page, tab)
                shoot(page, folder / f"{tab.lower()}-{name}.png")
            if name == "desktop":
                train(page, folder)
            page.close()
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1], *map(Path, sys.argv[2:]))
