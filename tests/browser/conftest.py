"""The real app in a process of its own, and Chromium to use it with."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect, sync_playwright

from gan.settings import ROOT
from tests.training.conftest import make_base

START_SECONDS = 120
# A waiting test ends as soon as it has what it waits for; this is how long a very busy machine may take.
PATIENCE_SECONDS = 60
expect.set_options(timeout=1000 * PATIENCE_SECONDS)
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 375, "height": 812}
# A browser that runs as root and has no network of its own to talk to.
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # A camera that shows a moving pattern, for whoever is allowed to look.
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]


@dataclass(frozen=True)
class App:
    """The running app: where it answers, what it logged, where it keeps its runs."""

    url: str
    log: Path
    runs: Path
    process: subprocess.Popen


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def serve(folder: Path, **settings: str) -> Iterator[App]:
    """``python app.py`` with its runs and answers in ``folder``, and ``settings`` in its environment."""
    port = int(settings.get("GRADIO_SERVER_PORT") or free_port())
    environment = os.environ | {
        "GRADIO_SERVER_NAME": "127.0.0.1",
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_TEMP_DIR": str(folder / "answers"),
        "CANTING_RUNS": str(folder / "runs"),
        "PYTHONUNBUFFERED": "1",
        **settings,
    }
    log = folder / "app.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "app.py"], cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    running = App(f"http://127.0.0.1:{port}", log, folder / "runs", process)
    try:
        wait_until_it_answers(running)
        yield running
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """The app with the shipped models."""
    with serve(tmp_path_factory.mktemp("app")) as running:
        yield running


def wait_until_it_answers(app: App) -> None:
    """Return once the page is served; fail with the log when the app ends or takes too long."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and app.process.poll() is None:
        try:
            with opener.open(app.url, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"The app did not start:\n{app.log.read_text(errors='replace')[-3000:]}")


def launch(playwright: Playwright) -> Browser:
    """The system's Chromium, or Playwright's own where there is none."""
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    return playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """A browser for all tests."""
    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def open_page(app: App, chromium: Browser) -> Callable[..., Page]:
    """``open_page(path, tab="Digits", language="id-ID", screen=PHONE, dark=True)``: the app in a new browser tab.

    Tabs of one language, screen and scheme share a browser context, and so its cache. ``page.asked`` lists the
    addresses that the page has asked for.
    """
    contexts: dict[tuple, BrowserContext] = {}

    def open_one(
        path: str = "/", tab: str = "", language: str = "en-GB", screen: dict | None = None, dark: bool = False
    ) -> Page:
        screen = screen or DESKTOP
        kind = (language, screen["width"], dark)
        if kind not in contexts:
            contexts[kind] = chromium.new_context(
                viewport=screen, locale=language, color_scheme="dark" if dark else "light", accept_downloads=True
            )
        page = contexts[kind].new_page()
        page.set_default_timeout(1000 * PATIENCE_SECONDS)
        page.asked = []
        page.on("request", lambda request: page.asked.append(request.url))
        page.goto(app.url + path)
        page.get_by_role("tab").first.wait_for()
        if tab:
            page.get_by_role("tab", name=tab, exact=True).click()
        return page

    return open_one


@pytest.fixture(scope="module")
def workshop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """The app with a tiny generator, so that a training is a matter of seconds; none outlives the file's tests.

    Shipped models that it has beside it are the file's ``MODELS``.
    """
    from training.export import write_samples

    folder = tmp_path_factory.mktemp("workshop")
    for name in getattr(request.module, "MODELS", ()):
        shutil.copytree(ROOT / "checkpoints" / name, folder / "checkpoints" / name)
    # The page is what is looked at, not what is learned: three times as quick as the recipe of batik.
    cheap = {"recipe": "anime-best", "discriminators": {"patch": {"width": 8}}}
    write_samples(make_base(folder / "checkpoints" / "tiny", **cheap))
    with serve(folder, CANTING_CHECKPOINTS=str(folder / "checkpoints")) as running:
        yield running
    for process in psutil.process_iter(["cmdline"]):
        if any(str(running.runs) in word for word in process.info["cmdline"] or []):
            process.kill()


@pytest.fixture
def visitor(workshop: App, chromium: Browser) -> Iterator[Callable[..., Page]]:
    """``visitor(tab, language)``: somebody new in the workshop, with a browser of their own, on that tab."""
    contexts = []

    def arrive(tab: str, language: str = "en-GB") -> Page:
        contexts.append(chromium.new_context(locale=language, viewport=DESKTOP))
        page = contexts[-1].new_page()
        page.set_default_timeout(1000 * PATIENCE_SECONDS)
        page.goto(workshop.url)
        page.get_by_role("tab", name=tab, exact=True).click()
        return page

    yield arrive
    for context in contexts:
        context.close()


@pytest.fixture
def visit(open_page: Callable[..., Page]) -> Iterator[Callable[..., Page]]:
    """As ``open_page``; the pages are closed when the test ends."""
    pages = []

    def visit_one(*path: str, **how: object) -> Page:
        pages.append(open_page(*path, **how))
        return pages[-1]

    yield visit_one
    for page in pages:
        page.close()


@pytest.fixture(scope="module")
def page(open_page: Callable[..., Page]) -> Iterator[Page]:
    """One page for all the tests of a file: opening it is what takes time."""
    opened = open_page()
    yield opened
    opened.close()
