"""A classifier of one's own in a real browser: drop classes, train, see what it is worth, use it in Classify."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import PATIENCE_SECONDS, App, serve
from tests.training.conftest import make_cloths
from tests.training.test_own_classes import make_classes, zipped

# Trainings give way to everything else on the machine.
PATIENCE = 400_000


# Shipped models that the app of these tests has beside the tiny one.
MODELS = ("batik-mobilenet-3",)


def offered(page: Page) -> list[str]:
    """The classifiers that the Classify tab lists."""
    page.get_by_role("tab", name="Classify", exact=True).click()
    page.wait_for_timeout(1500)
    page.locator("#classify-model input").click()
    names = page.get_by_role("option").all_inner_texts()
    page.locator("#classify-model input").blur()
    return [name.replace("✓", "").strip() for name in names]


@pytest.mark.timeout(900)
def test_from_classes_to_classify_and_generate(workshop: App, visitor: Callable[..., Page], tmp_path: Path):
    classes = make_classes(tmp_path, nila=6, soga=6)
    make_classes(tmp_path / "more", 12, truntum=2)
    page = visitor("Train")
    page.locator("#train-kind").get_by_label("Tell classes apart").click()
    expect(page.locator("#train-intro")).to_contain_text("Teach it your own classes")
    expect(page.locator("#train-steps")).to_be_hidden()
    upload, said = page.locator("#train-pictures input[type=file]"), page.locator("#train-count")
    upload.set_input_files([zipped(tmp_path / "nila.zip", classes / "nila")])
    expect(said).to_contain_text("A classifier needs two classes or more")
    page.locator("#train-start").click()
    expect(page.get_by_test_id("toast-body")).to_contain_text("there is only nila")
    upload.set_input_files(
        [zipped(tmp_path / "two.zip", classes), zipped(tmp_path / "truntum.zip", tmp_path / "more/classes")]
    )
    expect(said).to_contain_text("Classes: nila (6), soga (6).")
    expect(said).to_contain_text("Left out as a whole: truntum (2)")
    expect(page.locator("#train-leave")).to_contain_text("class too small")
    expect(page.locator("#train-preview")).to_be_hidden()
    page.get_by_role("button", name="More").click()
    page.locator("#train-name input, #train-name textarea").fill("Kain kami")
    page.locator("#train-start").click()

    state, figures = page.locator("#train-state"), page.locator("#train-figures")
    expect(state).to_contain_text("12 pictures to learn from")
    expect(page.locator("#train-samples")).to_be_hidden()
    # Done, it is in Classify without the page being opened anew, and in nobody else's.
    expect(state.locator("[data-state=finished]")).to_be_visible(timeout=PATIENCE)
    expect(figures).to_contain_text("of pictures it had not seen")
    expect(figures).to_contain_text("12 pictures in 5 rounds")
    expect(page.locator("#train-curve canvas, #train-curve svg").first).to_be_visible()
    expect(page.locator("#train-try")).to_be_hidden()
    photo = next((classes / "soga").iterdir())
    page.locator("#train-photo input[type=file]").set_input_files(photo)
    expect(page.locator("#train-ranked h3")).to_have_text("Soga")
    assert offered(page)[-1] == "Kain kami"
    page.locator("#classify-model input").click()
    page.get_by_role("option", name="Kain kami").click()
    page.locator("#classify-photo input[type=file]").set_input_files(photo)
    expect(page.locator("#classify-answer h3")).to_have_text("Soga")
    assert "Kain kami" not in offered(visitor("Classify"))

    # A generator's run on the same page: what belongs to the classifier's goes, and comes back with it.
    page.get_by_role("tab", name="Train", exact=True).click()
    page.locator("#train-kind").get_by_label("Make pictures").click()
    expect(page.locator("#train-steps")).to_be_visible()
    upload.set_input_files(make_cloths(tmp_path / "cloths", 10))
    expect(said).to_contain_text("10 of 10 pictures")
    page.locator("#train-steps input[type=number]").fill("50")
    page.locator("#train-name input, #train-name textarea").fill("Kain nenek")
    page.locator("#train-start").click()
    expect(figures).to_be_hidden()
    expect(page.locator("#train-photo")).to_be_hidden()
    expect(state.locator("[data-state=finished]")).to_be_visible(timeout=PATIENCE)
    way = page.locator("#train-quality")
    expect(way.locator("canvas, svg").first).to_be_visible()
    expect(way).to_contain_text("Distance from your pictures")
    page.get_by_role("tab", name="Generate", exact=True).click()
    page.locator("#generate-model").get_by_text("Kain nenek").click()
    page.locator("#generate-start").click()
    page.wait_for_function("document.querySelectorAll('#generate-gallery img').length == 8")
    expect(visitor("Generate").locator("#generate-model")).not_to_contain_text("Kain nenek")
    page.get_by_role("tab", name="Train", exact=True).click()
    page.locator("#train-runs").get_by_text("Kain kami").click()
    expect(figures).to_contain_text("12 pictures in 5 rounds")
    expect(page.locator("#train-samples")).to_be_hidden()


@pytest.mark.timeout(300)
def test_the_endpoints_take_classes_and_keep_them_apart(workshop: App, tmp_path: Path):
    classes = make_classes(tmp_path, nila=5, soga=5)
    whole = handle_file(zipped(tmp_path / "whole.zip", classes))
    client = Client(workshop.url, verbose=False)
    for pictures, sentence in (
        ([handle_file(zipped(tmp_path / "nila.zip", classes / "nila"))], "there is only nila"),
        ([handle_file(path) for path in (classes / "nila").iterdir()], "have no classes"),
    ):
        with pytest.raises(AppError, match=sentence):
            client.predict("batik-mobilenet-3", pictures, {}, api_name="/start_run")
    run = client.predict("batik-mobilenet-3", [whole], {"name": "mine"}, "ayu", api_name="/start_run")
    (listed,) = client.predict("ayu", api_name="/list_runs")
    assert (listed["id"], listed["kind"], listed["pictures"]) == (run, "classifier", 10)
    assert client.predict("budi", api_name="/list_runs") == []
    client.predict(run, api_name="/stop_run")


@pytest.mark.timeout(300)
def test_where_training_is_off_the_tab_says_so(chromium: Browser, tmp_path: Path):
    with serve(tmp_path, CANTING_TRAIN="0") as running:
        for language, tab, word in (("en-GB", "Train", "turned off"), ("id-ID", "Latih", "dimatikan")):
            page = chromium.new_context(locale=language).new_page()
            page.set_default_timeout(1000 * PATIENCE_SECONDS)
            page.goto(running.url)
            page.get_by_role("tab", name=tab, exact=True).click()
            expect(page.locator("#train-off")).to_contain_text(word)
            expect(page.locator("#train-start")).to_have_count(0)
            page.close()
        client = Client(running.url, verbose=False)
        with pytest.raises(AppError, match="CANTING_TRAIN=1"):
            client.predict("batik-kawung", [], {}, api_name="/start_run")
