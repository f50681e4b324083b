"""The Generate tab in a browser."""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path

import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError
from PIL import Image
from playwright.sync_api import Page, expect

from gan.pictures import read_metadata
from gan.tabs.generate import COUNT, generators
from tests.browser.conftest import DESKTOP, PHONE


def gallery(page: Page, name: str = "generate-gallery"):
    return page.locator(f"#{name} button.thumbnail-lg img")


def draw(page: Page, seed: int, count: int = 2) -> list[bytes]:
    """Fill in the form, press the button, and take the pictures' files."""
    page.get_by_label("How many").fill(str(count))
    page.get_by_role("spinbutton", name="Seed", exact=True).fill(str(seed))
    close_preview(page)
    page.locator("#generate-start").click()
    return taken(page, range(seed, seed + count))


def close_preview(page: Page) -> None:
    closing = page.locator("#generate-gallery").get_by_role("button", name="Close")
    if closing.count():
        closing.click()


def follow(page: Page, number: int) -> None:
    """Open a neighbour, once the page has brought them into sight."""
    page.wait_for_timeout(500)
    with page.expect_response(re.compile("/gradio_api/run/")) as told:
        gallery(page, "generate-close").nth(number).click()
    assert told.value.ok


def taken(page: Page, seeds: range) -> list[bytes]:
    """Wait until the gallery shows these seeds; their files."""
    expect(gallery(page)).to_have_count(len(seeds))
    for i, seed in enumerate(seeds):
        expect(gallery(page).nth(i)).to_have_attribute("src", re.compile(rf"-seed-{seed}\.png"))
    sources = [gallery(page).nth(i).get_attribute("src") for i in range(len(seeds))]
    return [page.request.get(source).body() for source in sources]


def test_the_page_opens_with_pictures(page):
    expect(gallery(page)).to_have_count(COUNT)
    page.wait_for_function("document.querySelector('#generate-gallery img').naturalWidth > 0")
    swatch = page.locator("#generate-model label").first
    assert "data:image/webp" in swatch.evaluate("e => getComputedStyle(e, '::before').backgroundImage")


def test_a_seed_always_draws_the_same_picture(page):
    first = draw(page, 5)
    other = draw(page, 90)
    again = draw(page, 5)
    assert first == again
    assert not set(first) & set(other)
    page.get_by_role("button", name="Next seeds").click()
    following = taken(page, range(7, 9))
    assert not set(first) & set(following)


def test_downloads_know_what_made_them(page, tmp_path: Path):
    draw(page, 11, 3)
    gallery(page).nth(1).click()
    with page.expect_download() as waiting:
        page.locator("#generate-gallery").get_by_role("button", name="Download", exact=True).click()
    waiting.value.save_as(tmp_path / "one.png")
    assert waiting.value.suggested_filename.endswith("-seed-12.png")
    notes = read_metadata(tmp_path / "one.png")
    assert (notes["seed"], notes["truncation"], notes["model"]) == ("12", "1", model_of(page))
    assert notes["version"]

    with page.expect_download() as waiting:
        page.locator("#generate-download").click()
    with zipfile.ZipFile(waiting.value.path()) as archive:
        assert [read_metadata(archive.read(name))["seed"] for name in archive.namelist()] == ["11", "12", "13"]


def model_of(page: Page) -> str:
    return page.locator("#generate-model input:checked").get_attribute("value")


def test_of_quick_choices_the_last_is_shown(page):
    names = [one.name for one in generators()]
    close_preview(page)
    for place in (1, 2, 3):
        page.locator("#generate-model input").nth(place).check()
    expect(gallery(page).first).to_have_attribute("src", re.compile(f"canting-{names[3]}-seed-0"))
    expect(page.locator("#generate-link textarea, #generate-link input")).to_have_value(re.compile(names[3]))
    dice = page.get_by_role("button", name="Roll the dice")
    for _ in range(3):
        dice.click()
    seed = page.get_by_role("spinbutton", name="Seed", exact=True).input_value()
    expect(gallery(page).first).to_have_attribute("src", re.compile(f"-seed-{seed}"))
    page.locator("#generate-model input").first.check()
    expect(gallery(page).first).to_have_attribute("src", re.compile(f"canting-{names[0]}-seed-0"))


def test_a_link_brings_back_the_same_pictures(page, visit, app):
    names = page.locator("#generate-model input").evaluate_all("all => all.map(one => one.value)")
    page.locator(f'#generate-model input[value="{names[-1]}"]').check(force=True)
    expect(gallery(page).first).to_have_attribute("src", re.compile(names[-1]))
    mine = draw(page, 321)
    field = page.get_by_label("Link to these pictures")
    expect(field).to_have_value(re.compile(r"seed=321&truncation=1&count=2"))
    link = field.input_value()
    assert link.startswith(app.url)
    theirs = visit(link.removeprefix(app.url))
    assert taken(theirs, range(321, 323)) == mine
    assert model_of(theirs) == names[-1]


def test_what_was_drawn_is_there_when_the_page_is_loaded_anew(page):
    first = draw(page, 41, 3)
    page.reload()
    expect(page.get_by_role("spinbutton", name="Seed", exact=True)).to_have_value("41")
    assert taken(page, range(41, 44)) == first


def test_a_bad_link_is_explained_and_the_page_still_works(visit):
    page = visit("/?model=batik-nowhere&seed=1")
    expect(page.get_by_test_id("toast-body")).to_contain_text("batik-nowhere, is not here any more: choose")
    assert len(draw(page, 3, 1)) == 1


def test_more_like_this_one_and_a_walk(page):
    draw(page, 20, 3)
    gallery(page).nth(2).click()
    expect(page.get_by_label("Chosen picture")).to_have_value("22")
    close_preview(page)
    gallery(page).nth(0).click()
    expect(page.get_by_label("Chosen picture")).to_have_value("20")
    expect(page.get_by_label("Chosen before")).to_have_value("22")
    close_preview(page)

    page.locator("#generate-near").click()
    expect(gallery(page, "generate-close")).to_have_count(8)
    near = page.request.get(gallery(page, "generate-close").nth(1).get_attribute("src")).body()
    assert read_metadata(near)["seed"] == "20"

    # On from the neighbour that is opened, and back to a picture of the gallery.
    follow(page, 3)
    page.locator("#generate-near").click()
    expect(gallery(page, "generate-close").nth(1)).to_have_attribute("src", re.compile("-seed-20-near-3-1"))
    follow(page, 2)
    page.locator("#generate-near").click()
    expect(gallery(page, "generate-close").nth(1)).to_have_attribute("src", re.compile("-seed-20-near-3-2-1"))
    gallery(page).nth(1).click()
    expect(page.get_by_label("Chosen picture")).to_have_value("21")
    page.locator("#generate-near").click()
    expect(gallery(page, "generate-close").nth(1)).to_have_attribute("src", re.compile("-seed-21-near-1"))
    close_preview(page)
    gallery(page).nth(0).click()
    expect(page.get_by_label("Chosen before")).to_have_value("21")
    close_preview(page)

    page.locator("#generate-walk").click()
    loop = page.locator("#generate-loop img")
    expect(loop).to_have_attribute("src", re.compile(r"walk-21-20\.webp"))
    with Image.open(io.BytesIO(page.request.get(loop.get_attribute("src")).body())) as frames:
        assert frames.n_frames > 8


def test_what_comes_in_the_place_of_an_opened_picture_is_not_taken_for_it(page):
    draw(page, 20, 3)
    gallery(page).nth(1).click()
    opened = page.locator("#generate-gallery .preview")
    expect(opened).to_be_visible()
    page.get_by_role("spinbutton", name="Seed", exact=True).fill("30")
    page.locator("#generate-start").click()
    taken(page, range(30, 33))
    expect(opened).to_be_hidden()
    expect(page.get_by_label("Chosen picture")).to_have_value("21")


def test_the_button_is_in_reach_and_an_opened_picture_in_sight(visit):
    for screen in (DESKTOP, PHONE):
        page = visit(screen=screen)
        page.wait_for_function("document.querySelector('#generate-gallery img')?.naturalWidth > 0")
        assert page.evaluate("scrollY") == 0
        expect(page.locator("#generate-start")).to_be_in_viewport(ratio=1)
        gallery(page).nth(5).click()
        opened = page.locator("#generate-gallery .preview img").first
        expect(opened).to_be_in_viewport(ratio=1)
        expect(page.locator("#generate-gallery").get_by_role("button", name="Close")).to_be_in_viewport(ratio=1)
        # It stays so, with all that happens after the click.
        page.wait_for_timeout(500)
        expect(opened).to_be_in_viewport(ratio=1)


def test_what_was_made_of_the_model_before_goes_with_it(visit):
    page = visit()
    expect(gallery(page)).to_have_count(COUNT)
    page.locator("#generate-near").click()
    expect(gallery(page, "generate-close")).to_have_count(8)
    page.get_by_role("radio", name="Batik Kawung", exact=True).check(force=True)
    expect(page.locator("#generate-close")).to_be_hidden()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator("#generate-copy").click()
    expect(page.get_by_test_id("toast-body")).to_contain_text("The link is copied.")
    assert "model=batik-kawung" in page.evaluate("navigator.clipboard.readText()")


def test_a_number_out_of_range_gets_one_sentence(page):
    page.get_by_label("How many").fill("1000")
    page.locator("#generate-start").click()
    expect(page.get_by_test_id("toast-body")).to_contain_text("Choose between 1 and 64 pictures.")
    # The pictures that were there stay in sight.
    covered = page.locator("#generate-gallery").locator("[data-testid=status-tracker]:visible")
    expect(covered).to_have_count(0)
    assert len(draw(page, 3, 1)) == 1


@pytest.mark.parametrize("numbers", [("eight", 0), ([], 0), (4.4, 0), (1, "x"), (1, 2**40)])
def test_programs_get_the_same_sentence(app, numbers):
    with pytest.raises(AppError, match="Choose between|A seed is"):
        Client(app.url, verbose=False).predict("batik-kawung", *numbers, 1.0, api_name="/generate")
    with pytest.raises(AppError, match="A seed is"):
        Client(app.url, verbose=False).predict("12", "x", api_name="/digits")
