"""What every test may use: real data where there is some, and a closing list of the tests that went without."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gan import settings

NO_DATA = "CANTING_DATA has no"
# What ``fetch`` brings under this name is one of the four collections that these pictures are from.
MERGED = {"batik-gan": 1299}
# A training that a test waits for need not give way to the other tests.
os.environ["CANTING_NICE"] = "0"
# Processes that test side by side share the cores; before torch is imported, and for what the tests start.
if "PYTEST_XDIST_WORKER_COUNT" in os.environ:
    share = (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, share)))


@pytest.fixture(scope="session")
def data() -> Callable[[str], Path]:
    """``data("batik-gan")`` is that part of the data folder; without it the test is skipped and named at the end."""

    def part(name: str) -> Path:
        path = settings.data_folder() / name
        if not path.exists():
            pytest.skip(f"{NO_DATA} {name}")
        if sum(1 for _ in path.glob("*/*")) < MERGED.get(name, 0):
            pytest.skip(f"{NO_DATA} {name} of {MERGED[name]} pictures")
        return path

    return part


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Names the tests that were not run for lack of data: a green report must not hide them."""
    without = [
        (report.nodeid, report.longrepr[2].removeprefix("Skipped: "))
        for report in terminalreporter.stats.get("skipped", [])
        if isinstance(report.longrepr, tuple) and NO_DATA in report.longrepr[2]
    ]
    if without:
        terminalreporter.section("not run for lack of data")
        for name, reason in sorted(without):
            terminalreporter.line(f"{name}: {reason}")
