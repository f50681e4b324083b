"""Canting in the browser: ``python app.py``, on a Space and at home (GRADIO_SERVER_NAME, GRADIO_SERVER_PORT)."""

from __future__ import annotations

import importlib.util
import os
import threading

from gan.settings import answers_folder

# Nothing about visitors leaves the machine, and what they send lies where it can be cleared away; read at import.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
if "GRADIO_TEMP_DIR" not in os.environ:
    os.environ["GRADIO_TEMP_DIR"] = answers_folder()

import gradio as gr

from gan.style import CSS, theme
from gan.tabs import classify, digits, generate, results
from gan.tabs.common import CACHE_SECONDS, Page, keep_clearing, t

TRAINING = importlib.util.find_spec("training") and importlib.util.find_spec("training.tab")


def build() -> gr.Blocks:
    """The whole page, not yet launched."""
    with Page(title="Canting", analytics_enabled=False, fill_width=True, delete_cache=(600, CACHE_SECONDS)) as page:
        with gr.Row(elem_id="masthead"):
            gr.Markdown("# Canting")
            gr.Markdown(t("app.tagline"))
        # What the browser keeps is read when it is on the page, and what lies in a tab comes onto it with the tab.
        visitor = gr.BrowserState("", storage_key="canting-visitor", secret="canting")
        with gr.Tabs():
            with gr.Tab(t("app.tab.generate"), id="generate") as opened:
                generate.build(visitor, opened)
            with gr.Tab(t("app.tab.digits"), id="digits"):
                digits.build()
            with gr.Tab(t("app.tab.classify"), id="classify") as opened:
                classify.build(visitor, opened)
            with gr.Tab(t("app.tab.results"), id="results") as opened:
                results.build(opened)
            # Training is a package of its own: the app works without it.
            if TRAINING:
                from training import tab

                with gr.Tab(t("app.tab.train"), id="train"):
                    tab.build(visitor)
        gr.Markdown(t("app.about"), elem_id="footer")
    page.queue(default_concurrency_limit=8, max_size=200)
    # Gradio looks for new events a thousand times a second, some three per cent of a core with nobody there.
    page._queue.sleep_when_free = 0.05
    return page


def main() -> None:
    """Serve until stopped."""
    page = build()
    page.launch(
        theme=theme(),
        css=CSS + results.CSS,
        i18n=t,
        footer_links=["api"],
        run_history=False,
        max_file_size="500mb",
        prevent_thread_lock=True,
    )
    watch = [importlib.import_module("training.jobs").watch] if TRAINING else []
    # Models one after the other: the first picture need not wait for the first classifier.
    for task in (lambda: (generate.warm_up(), classify.warm_up()), lambda: keep_clearing(page), *watch):
        threading.Thread(target=task, daemon=True).start()
    page.block_thread()


if __name__ == "__main__":
    main()
