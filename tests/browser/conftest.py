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
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from gan.settings import ROOT

START_SECONDS = 90
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


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """``python app.py`` with the shipped models, runs and answers in temporary folders."""
    folder = tmp_path_factory.mktemp("app")
    port = free_port()
    environment = os.environ | {
        "GRADIO_SERVER_NAME": "127.0.0.1",
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_TEMP_DIR": str(folder / "answers"),
        "CANTING_RUNS": str(folder / "runs"),
        "PYTHONUNBUFFERED": "1",
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


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The system's Chromium, or Playwright's own where there is none."""
    with sync_playwright() as playwright:
        path = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(app: App, chromium: Browser) -> Iterator[Callable[..., Page]]:
    """``visit(path, tab="Digits", language="id-ID", screen=PHONE, dark=True)``: a new visitor's page, ready to use.

    ``page.asked`` lists the addresses that the page has asked for.
    """
    contexts = []

    def open_page(
        path: str = "/", tab: str = "", language: str = "en-GB", screen: dict | None = None, dark: bool = False
    ) -> Page:
        context = chromium.new_context(
            viewport=screen or DESKTOP,
            locale=language,
            color_scheme="dark" if dark else "light",
            permissions=["clipboard-read", "clipboard-write"],
            accept_downloads=True,
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(40_000)
        page.asked = []
        page.on("request", lambda request: page.asked.append(request.url))
        page.goto(app.url + path)
        page.get_by_role("tab").first.wait_for()
        if tab:
            page.get_by_role("tab", name=tab, exact=True).click()
        return page

    yield open_page
    for context in contexts:
        context.close()
