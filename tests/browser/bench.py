"""What whoever trains has to wait for: ``python -m tests.browser.bench`` prints it, from the real app in Chromium.

On an idle machine: the app, the page and the training share its cores as they do at home.
"""

from __future__ import annotations

import os
import re
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil
from gradio_client import Client
from playwright.sync_api import Page, expect, sync_playwright

from gan.bench import cpu_name
from tests.browser.conftest import DESKTOP, App, launch, serve
from training import jobs, records
from training.bench import PHOTOS, photo
from training.runs import Run

WAIT = 240_000
# An hour on two cores: lines of metrics, and grids of samples as many as are kept.
LINES, GRIDS, WATCHED_SECONDS = 300, 20, 60
LIMITS = {
    "twenty 12-megapixel photos, from the drop to the audit on the page": (10, "s"),
    "from Start to the first line of progress on the page": (10, "s"),
    "16 batik while a run trains, against without one": (2, "times"),
    "the app's load while a page watches an hour-old run": (3, "% of a core"),
}


def seconds(work: Callable[[], object]) -> float:
    """How long ``work`` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def sixteen(app: App) -> float:
    """Median seconds of an answer with sixteen pictures, over HTTP."""
    client = Client(app.url, verbose=False)
    return statistics.median(
        seconds(partial(client.predict, "batik-kawung", 16, seed, 1.0, api_name="/generate")) for seed in range(8)
    )


def age(folder: Path) -> None:
    """Make a run that has just begun look as if it had gone on for an hour."""
    run = Run(folder)
    line = run.metrics()[-1]
    for number in range(LINES):
        run.add_metrics(**{**line, "step": line["step"] + number})
    grid = folder / "samples" / "step-000000.png"
    for number in range(1, GRIDS):
        shutil.copy(grid, grid.with_name(f"step-{number:06d}.png"))


def load(app: App) -> float:
    """Share of a core, in per cent, that the app needs over a minute."""
    process = psutil.Process(app.process.pid)
    before = process.cpu_times()
    time.sleep(WATCHED_SECONDS)
    after = process.cpu_times()
    return 100 * (after.user + after.system - before.user - before.system) / WATCHED_SECONDS


def measure(app: App, page: Page, photos: list[Path]) -> list[float]:
    """The figures, in the order of :data:`LIMITS`."""
    page.set_default_timeout(WAIT)
    page.goto(app.url)
    page.get_by_role("tab", name="Train", exact=True).click()
    field = page.locator("#train-pictures input[type=file]")

    def drop() -> None:
        field.set_input_files(photos)
        expect(page.locator("#train-count")).to_contain_text("pictures will be used", timeout=WAIT)

    def start() -> None:
        page.locator("#train-start").click()
        expect(page.locator("#train-state")).to_contain_text(re.compile(r"step [1-9]"), timeout=WAIT)

    audited = seconds(drop)
    quiet = sixteen(app)
    begun = seconds(start)
    busy = sixteen(app)
    age(records.folder_of(jobs.list_jobs()[0].id))
    page.wait_for_timeout(5000)
    return [audited, begun, busy / quiet, load(app)]


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        folder = Path(place)
        os.environ["CANTING_RUNS"] = str(folder / "runs")
        photos = [photo(folder / f"photo-{i}.jpg", i) for i in range(PHOTOS)]
        browser = launch(playwright)
        with serve(folder) as app:
            try:
                figures = measure(app, browser.new_page(viewport=DESKTOP, locale="en-GB"), photos)
            finally:
                jobs.stop_all()
        browser.close()
    print("| | measured | at most |\n|---|---|---|")
    for (name, (most, unit)), figure in zip(LIMITS.items(), figures, strict=True):
        print(f"| {name} | {figure:.1f} {unit} | {most} {unit} |")
    print(f"\nMeasured on {cpu_name()} ({os.cpu_count()} cores).")


if __name__ == "__main__":
    main()
