"""The Digits tab in a browser."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from gan.pictures import read_metadata


def test_a_number_is_drawn_digit_by_digit(page):
    page.get_by_role("tab", name="Digits", exact=True).click()
    drawn = page.locator("#digits-gallery button.thumbnail-lg img")
    expect(drawn).to_have_count(10)  # the page opens with 0123456789
    page.get_by_label("Digits to draw").fill("31415")
    page.get_by_role("spinbutton", name="Seed", exact=True).last.fill("8")
    page.locator("#digits-start").click()
    expect(drawn).to_have_count(5)
    notes = [read_metadata(page.request.get(drawn.nth(i).get_attribute("src")).body()) for i in range(5)]
    assert [one["digit"] for one in notes] == list("31415")
    assert [one["seed"] for one in notes] == ["8", "9", "10", "11", "12"]
    tops = {round(drawn.nth(i).bounding_box()["y"]) for i in range(5)}
    assert len(tops) == 1, "the digits stand side by side"
    sheet = page.locator("#digits-grid img")
    expect(sheet).to_have_attribute("src", re.compile("grid-seed-8"))


def test_letters_get_one_sentence(page):
    page.get_by_role("tab", name="Digits", exact=True).click()
    page.get_by_label("Digits to draw").fill("batik")
    page.locator("#digits-start").click()
    expect(page.get_by_test_id("toast-body")).to_contain_text("Type between 1 and 20 digits")
