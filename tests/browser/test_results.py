"""The Results tab in a browser: five reports, curves to choose, a table to sort."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from gan.results import REPORTS, results
from tests.browser.conftest import PHONE


@pytest.fixture(scope="module")
def page(open_page):
    opened = open_page(tab="Results")
    yield opened
    opened.close()


def test_each_report_shows_its_claim_and_every_checkpoint_with_a_picture(page: Page) -> None:
    for one in results():
        card = page.locator(f"#results-{one.report}-cards article[data-model='{one.name}']")
        expect(card.get_by_role("heading", name=one.entry.title, exact=True)).to_be_visible()
        if one.file("samples.png"):
            expect(card.locator("> img")).to_be_visible()
            assert card.locator("> img").evaluate("image => image.decode().then(() => image.naturalWidth)") > 200
    for report in REPORTS:
        expect(page.get_by_role("heading", name=f"{report} ·")).to_be_visible()
        expect(page.locator(f"#results-{report}-curve svg.marks")).to_be_visible()


def test_a_card_unfolds_its_figures_and_the_model_card(page: Page) -> None:
    card = page.locator("article[data-model='cifar10-dense']")
    expect(card.get_by_text("3,835,136").first).to_be_hidden()
    card.get_by_text("Figures and settings").click()
    expect(card.get_by_text("3,835,136").first).to_be_visible()
    card.get_by_text("Model card").click()
    expect(card.get_by_role("heading", name="Limits")).to_be_visible()


def test_a_darker_cell_of_a_confusion_matrix_means_more(page: Page) -> None:
    cells = page.locator("article[data-model='batik-mobilenet-3'] .confusion tbody td")
    shades = {cells.nth(i).evaluate("cell => getComputedStyle(cell).backgroundColor") for i in range(9)}
    assert len(shades) > 3 and "rgba(0, 0, 0, 0)" not in shades


def test_another_curve_is_drawn_when_it_is_chosen(page: Page) -> None:
    curve = page.locator("#results-R4-curve svg.marks")
    expect(page.locator("#results-R4-legend li").filter(has_text="CIFAR-10 (dense GAN)")).to_have_count(1)
    section = page.locator(".report-row", has=page.locator("#results-R4-curve"))
    section.get_by_label("Generator loss").check()
    expect(curve.get_by_text("Generator loss")).to_be_visible()
    section.get_by_label("Step", exact=True).check()
    expect(curve.get_by_text("Step", exact=True)).to_be_visible()


def test_the_table_sorts_by_number(page: Page) -> None:
    table = page.locator("#results-table")
    cells = table.locator("[role=gridcell][aria-colindex='5']")

    def column() -> list[float]:
        return [float(text) for text in cells.all_inner_texts() if text.strip()]

    found = sorted(round(one.metrics["fid"], 1) for one in results() if "fid" in one.metrics)
    assert sorted(column()) == found
    for way, expected in (("Sort ascending", found), ("Sort descending", found[::-1])):
        header = table.get_by_role("columnheader", name="FID")
        header.hover()
        header.get_by_label("Open cell menu").click()
        page.get_by_role("menuitem", name=way).click()
        page.wait_for_timeout(500)
        assert column() == expected


def test_indonesian_on_a_phone(visit) -> None:
    page = visit(tab="Hasil", language="id-ID", screen=PHONE, dark=True)
    card = page.locator("article.result").first
    expect(card.get_by_text("Angka dan pengaturan")).to_be_visible()
    expect(page.get_by_role("heading", name="R4 · CIFAR-10, GAN padat")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_links_lead_to_the_sections(page: Page) -> None:
    for name, place in (("R4", "#results-R4"), ("All figures", "#results-table")):
        page.locator("#results-jump").get_by_role("link", name=name, exact=True).click()
        expect(page.locator(place)).to_be_in_viewport()
    # Of four hundred cells without words the worst are said.
    expect(page.locator("[data-model=batik-best-20] .worst li")).to_have_count(5)
