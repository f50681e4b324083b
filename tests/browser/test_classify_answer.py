"""What the Classify tab tells beyond a label: where it looked, what the motif means, other models, many photos."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from gradio_client import Client, handle_file
from PIL import Image
from playwright.sync_api import expect

from gan import catalog
from gan.tabs.classify import OF_THIS_PHOTO
from gan.tabs.common import tiles
from tests.browser.conftest import PHONE


@pytest.fixture(scope="module")
def cloth(tmp_path_factory) -> Path:
    """A generated cloth as a stranger might have photographed it, one that is taken for batik."""
    models = [one for one in catalog.entries("generator") if one.name.startswith("batik")]
    path = tmp_path_factory.mktemp("photos") / "cloth.jpg"
    for tile in (tile for model in models for tile in tiles(model, 8)):
        tile.resize((900, 700)).convert("RGB").save(path)
        if catalog.load("batik-best-20").classify(path).batik:
            return path
    pytest.fail("no generated cloth is taken for batik")


def test_an_answer_shows_where_it_looked_and_what_the_motif_means(page, cloth):
    page.get_by_role("tab", name="Classify", exact=True).click()
    expect(page.locator("#classify-why")).to_be_hidden()
    page.locator("#classify-photo input[type=file]").set_input_files(cloth)
    heat = page.locator("#classify-why img.heat")
    expect(heat).to_have_css("opacity", "1")
    assert heat.evaluate("image => image.naturalWidth") > 100
    photo = page.locator("#classify-why img.photo")
    assert photo.bounding_box() == heat.bounding_box()
    page.get_by_label("Show where Canting looked").uncheck()
    expect(heat).to_have_css("opacity", "0")
    page.get_by_label("Show where Canting looked").check()
    expect(heat).to_have_css("opacity", "1")
    expect(page.locator("#classify-motif")).to_contain_text("How to recognise it")
    # Of the likeliest label first, whether the answer is sure or one of several.
    likeliest = page.locator("#classify-answer li span").first
    expect(page.locator("#classify-motif summary").first).to_have_text(likeliest.inner_text())


def test_all_classifiers_answer_side_by_side(page, cloth):
    page.get_by_role("tab", name="Classify", exact=True).click()
    page.locator("#classify-photo input[type=file]").set_input_files(cloth)
    titles = [one.title for one in catalog.entries("classifier") if not one.name.startswith("judge-")]
    rows = page.locator("#classify-versus tbody tr")
    expect(rows).to_have_count(len(titles))
    names = [name.splitlines() for name in rows.locator("th").all_inner_texts()]
    assert sorted(name for name, *_ in names) == sorted(titles)
    # What a model of a few motifs says is only about these.
    assert [notes for name, *notes in names if "Three" in name] == [["knows only Bali, Betawi, Celup"]] * 3
    assert not any(notes for name, *notes in names if "Three" not in name)


def test_a_comparison_goes_with_its_photo(page, cloth, tmp_path):
    page.get_by_role("tab", name="Classify", exact=True).click()
    photo, rows = page.locator("#classify-photo input[type=file]"), page.locator("#classify-versus tbody tr")
    photo.set_input_files(cloth)
    expect(rows).not_to_have_count(0)
    (tmp_path / "broken.jpg").write_text("no picture")
    page.get_by_label("Remove Image").click()
    expect(rows).to_have_count(0)
    photo.set_input_files(tmp_path / "broken.jpg")
    expect(page.get_by_test_id("toast-body")).to_contain_text("not a JPEG")
    expect(rows).to_have_count(0)
    # One that comes late is of another photo.
    of = f"({OF_THIS_PHOTO})"
    told = "<div data-photo='abc'></div>"
    for path, stays in (("/tmp/abc/x.jpg", True), ("/tmp/abd/x.jpg", False), (None, False)):
        assert page.evaluate(f"([told, photo]) => {of}(told, photo)", [told, path and {"path": path}]) == told * stays


def test_a_blank_wall_is_said_to_be_no_batik(page, tmp_path):
    page.get_by_role("tab", name="Classify", exact=True).click()
    Image.new("RGB", (640, 480), (224, 218, 205)).save(tmp_path / "wall.jpg")
    page.locator("#classify-photo input[type=file]").set_input_files(tmp_path / "wall.jpg")
    expect(page.locator("#classify-answer h3")).to_have_text("Not batik")
    expect(page.locator("#classify-motif")).to_be_hidden()


def test_several_photos_give_a_table_and_a_file_though_some_are_broken(page, cloth, tmp_path):
    page.get_by_role("tab", name="Classify", exact=True).click()
    (tmp_path / "paper.jpg").write_bytes(b"%PDF-1.7\n" + b"0 0 obj << /Type /Page >> endobj\n" * 20)
    (tmp_path / "cut.jpg").write_bytes(cloth.read_bytes()[:5000])
    Image.open(cloth).rotate(90).save(tmp_path / "second cloth.png")
    page.get_by_role("button", name="Several photos at once").click()
    files = [cloth, tmp_path / "paper.jpg", tmp_path / "cut.jpg", tmp_path / "second cloth.png"]
    page.locator("#classify-many input[type=file]").set_input_files(files)
    expect(page.locator("#classify-many")).to_contain_text("second cloth")
    page.locator("#classify-many-start").click()
    rows = page.locator("#classify-many-table tbody tr")
    expect(rows).to_have_count(4)
    assert rows.locator("th").all_inner_texts() == [path.name for path in files]
    expect(rows.nth(0)).to_contain_text("%")
    expect(rows.nth(1)).to_contain_text("This is a PDF document")
    expect(rows.nth(2)).to_contain_text("damaged or incomplete")
    expect(rows.nth(3)).to_contain_text("%")
    with page.expect_download() as download:
        page.locator("#classify-many-download").click()
    with Path(download.value.path()).open(encoding="utf-8-sig", newline="") as file:
        listed = list(csv.DictReader(file))
    assert [one["file"] for one in listed] == [path.name for path in files]
    assert listed[0]["motif"].startswith("batik-") and 0 < float(listed[0]["probability"]) <= 1
    assert not listed[1]["motif"] and "PDF" in listed[1]["remark"]


def test_it_speaks_indonesian_and_fits_a_telephone(visit, cloth):
    page = visit(tab="Kenali", language="id-ID", screen=PHONE, dark=True)
    page.locator("#classify-photo input[type=file]").set_input_files(cloth)
    expect(page.locator("#classify-motif")).to_contain_text("Cara mengenalinya")
    expect(page.locator("#classify-versus tbody tr").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    heat = page.locator("#classify-why img.heat").bounding_box()
    assert heat["width"] > 0.85 * PHONE["width"]


def test_programs_get_labels_with_probabilities(app, cloth):
    client = Client(app.url, verbose=False)
    answer = client.predict(handle_file(cloth), "batik-mobilenet-20", api_name="/classify")
    labels = [one["label"] for one in answer["confidences"]]
    assert sorted(labels) == sorted(catalog.entry(catalog.find("batik-mobilenet-20")).classes)
    shares = [one["confidence"] for one in answer["confidences"]]
    assert shares == sorted(shares, reverse=True) and sum(shares) == pytest.approx(1, abs=1e-3)
