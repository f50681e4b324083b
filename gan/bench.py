"""The figures that a visitor feels: start-up, first picture, sampling, classification, memory."""

from __future__ import annotations

import io
import os
import platform
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable

from gan.settings import ROOT

# Seconds, but for the memory in GB: what each may take on two idle cores.
LIMITS = {
    "process start to a page that answers": 8.0,
    "first picture after that, nothing loaded yet": 5.0,
    "16 batik at 256², model loaded": 0.4,
    "ten digits": 0.1,
    "one classification, two networks, 12-megapixel JPEG": 0.5,
    "the same with its heat map, as the page shows it": 1.0,
    "resident memory after using Generate, Digits and Classify (GB)": 2.0,
}


def median_seconds(work: Callable[[], object], times: int = 7) -> float:
    """The median duration of ``work`` after one call that is not counted."""
    work()
    durations = []
    for _ in range(times):
        begun = time.perf_counter()
        work()
        durations.append(time.perf_counter() - begun)
    return statistics.median(durations)


def photo(width: int = 4000, height: int = 3000) -> bytes:
    """A 12-megapixel JPEG of coloured noise over waves, as hard to decode as a photo of cloth."""
    import numpy as np
    from PIL import Image

    y, x = np.mgrid[0:height, 0:width]
    waves = np.stack([np.sin(x / 90 + y / 50), np.sin(x / 70 - y / 110), np.cos(y / 60)], axis=-1) * 80 + 128
    noise = np.random.default_rng(0).normal(0, 20, waves.shape)
    buffer = io.BytesIO()
    Image.fromarray((waves + noise).clip(0, 255).astype("uint8")).save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


def measure_app() -> dict[str, float]:
    """Start the real app, ask each of its tabs for an answer, and read its memory."""
    import tempfile
    from pathlib import Path

    import psutil
    from gradio_client import Client, handle_file

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": str(port)}
    address = f"http://127.0.0.1:{port}"
    begun = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "app.py")],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while True:
            try:
                with urllib.request.urlopen(address, timeout=5) as page:
                    page.read()
                break
            except OSError:
                if process.poll() is not None or time.perf_counter() - begun > 120:
                    raise
                time.sleep(0.05)
        answered = time.perf_counter() - begun
        client = Client(address, verbose=False)
        begun = time.perf_counter()
        client.predict("batik-kawung", 1, 0, 1.0, api_name="/generate")
        first = time.perf_counter() - begun
        for model in ("batik-parang", "batik-megamendung", "anime-lsgan", "cifar10-dense"):
            client.predict(model, 16, 0, 1.0, api_name="/generate")
        client.predict("2026", 0, api_name="/digits")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "photo.jpg"
            path.write_bytes(photo())
            for model in ("batik-cnn-3", "batik-mobilenet-3", "batik-mobilenet-20", "batik-best-20"):
                client.predict(handle_file(path), model, api_name="/classify")
        memory = psutil.Process(process.pid).memory_info().rss / 1e9
    finally:
        process.terminate()
        process.wait(30)
    return dict(zip(list(LIMITS)[:2] + list(LIMITS)[-1:], (answered, first, memory), strict=True))


def bench() -> str:
    """A Markdown table of every figure beside its limit, and the machine it was measured on."""
    figures = measure_app()
    import torch

    from gan.catalog import load
    from gan.tabs.answer import why

    batik, digits, classifier = load("batik-kawung"), load("mnist-cgan"), load("batik-best-20")
    picture = photo()
    names = list(LIMITS)
    figures[names[2]] = median_seconds(lambda: batik.sample(16, seed=0))
    figures[names[3]] = median_seconds(lambda: digits.sample(labels=list(range(10)), seed=0))
    figures[names[4]] = median_seconds(lambda: classifier.classify(picture))
    figures[names[5]] = median_seconds(lambda: why(classifier.explain(picture), "en"))
    lines = ["| | measured | at most |", "|---|---|---|"]
    for name, limit in LIMITS.items():
        unit = "GB" if "GB" in name else "s"
        lines.append(f"| {name.removesuffix(' (GB)')} | {figures[name]:.2f} {unit} | {limit:g} {unit} |")
    machine = (
        f"{os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}, {torch.get_num_threads()} threads"
    )
    return "\n".join([*lines, "", f"Measured on {cpu_name()} ({machine})."])


def cpu_name() -> str:
    """The processor's name where the system tells it."""
    try:
        with open("/proc/cpuinfo") as info:  # noqa: PTH123
            return next(line.split(":", 1)[1].strip() for line in info if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "an unknown processor"
