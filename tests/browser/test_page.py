"""The page as a whole: its size, its languages, its manners."""

from __future__ import annotations

from urllib.parse import urlsplit

from playwright.sync_api import expect

from gan.texts import say
from tests.browser.conftest import PHONE


def tabs(page) -> list[str]:
    return page.get_by_role("tab").all_inner_texts()


def test_no_tab_scrolls_sideways_on_a_phone(visit):
    page = visit(screen=PHONE, dark=True)
    for name in tabs(page):
        page.get_by_role("tab", name=name, exact=True).click()
        page.wait_for_timeout(300)
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= PHONE["width"], f"{name} is {width} pixels wide"


def test_nothing_is_asked_of_other_hosts(page, app):
    for name in tabs(page):
        page.get_by_role("tab", name=name, exact=True).click()
    page.locator("#generate-gallery").wait_for(state="attached")
    page.wait_for_timeout(1000)
    here = urlsplit(app.url).netloc
    hosts = {urlsplit(url).netloc for url in page.asked if url.startswith(("http", "ws"))}
    assert hosts == {here}


def test_an_indonesian_browser_gets_an_indonesian_page_and_errors(visit):
    page = visit(language="id-ID")
    expect(page.get_by_role("tab", name=say("app.tab.generate", "id"), exact=True)).to_be_visible()
    expect(page.locator("#generate-start")).to_have_text(say("generate.start", "id"))
    expect(page.get_by_text(say("app.tagline", "id"))).to_be_visible()
    expect(page.locator("#generate-gallery .caption-label").first).to_have_text(say("generate.caption", "id", seed=0))
    page.get_by_role("tab", name=say("app.tab.digits", "id"), exact=True).click()
    first = page.locator("#digits-gallery .caption-label").first
    expect(first).to_have_text(say("digits.caption", "id", digit=0, seed=0))
    page.get_by_role("tab", name=say("app.tab.generate", "id"), exact=True).click()
    page.get_by_label(say("generate.count", "id"), exact=True).fill("0")
    page.locator("#generate-start").click()
    expect(page.get_by_test_id("toast-body")).to_contain_text(say("error.request.count", "id", most=64))


NAMELESS = """() => [...document.querySelectorAll('button, input, textarea, select')]
    .filter(e => e.offsetParent && !e.closest('[aria-hidden=true]'))
    .filter(e => !(e.innerText || '').trim() && !e.getAttribute('aria-label') && !e.labels?.length
                 && !e.getAttribute('aria-labelledby') && !e.title && !e.querySelector('img[alt]'))
    .map(e => e.outerHTML.slice(0, 200))"""


def test_everything_to_press_or_fill_has_a_name(page):
    for name in tabs(page):
        page.get_by_role("tab", name=name, exact=True).click()
        page.wait_for_timeout(300)
        assert page.evaluate(NAMELESS) == [], name


def test_the_main_actions_are_reached_by_keyboard(page):
    page.get_by_role("tab", name="Generate", exact=True).click()
    page.get_by_label("How many").focus()
    seen = set()
    for _ in range(12):
        page.keyboard.press("Tab")
        seen.add(page.evaluate("document.activeElement.id || document.activeElement.innerText"))
    assert "generate-start" in seen
    page.get_by_label("How many").focus()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("1")
    page.keyboard.press("Enter")
    expect(page.locator("#generate-gallery button.thumbnail-lg")).to_have_count(1)


def test_two_visitors_do_not_see_each_others_pictures(page, visit):
    # A browser in another language has a context, and so a storage, of its own.
    one, other = page, visit(language="en-US")
    one.get_by_role("tab", name="Generate", exact=True).click()
    one.get_by_label("How many").fill("3")
    one.locator("#generate-start").click()
    expect(one.locator("#generate-gallery button.thumbnail-lg")).to_have_count(3)
    expect(other.locator("#generate-gallery button.thumbnail-lg")).to_have_count(8)
