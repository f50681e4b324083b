"""What a visitor drops: looked through, kept apart from others', and never half there."""

from __future__ import annotations

import os
import shutil
import threading
from functools import partial
from pathlib import Path

import pytest

from gan.errors import DataError, RunError
from gan.pictures import open_picture
from tests.training.conftest import beside, make_cloths, make_pictures
from training import audit, basket, choose, jobs, retention, tab
from training.intake import TooFew

pytestmark = pytest.mark.usefixtures("studio", "end_jobs")


@pytest.fixture
def mixed(tmp_path: Path, pictures: list[Path]) -> list[Path]:
    """Twelve good pictures, a copy of one at half its size, one too small, one on white, and a file that is none."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    cloth = open_picture(pictures[3])
    cloth.resize((140, 145)).save(folder / "twin.png")
    (small,) = make_pictures(tmp_path / "small", 1)
    shutil.copy(small, folder / "tiny.png")
    garment = open_picture(pictures[0]).resize((440, 440))
    ground = open_picture(pictures[0]).resize((640, 640)).point(lambda value: 255)
    ground.paste(garment, (100, 100))
    ground.save(folder / "garment.png")
    (folder / "page.jpg").write_text("<html><script>alert(1)</script></html>")
    return [*pictures, *sorted(folder.iterdir())]


def test_each_finding_has_its_reason_and_a_box(mixed: list[Path]):
    items = {one.name: one for one in basket.add("ayu", mixed)}
    assert len(items) == 16 and [one.rule for one in items.values()].count("") == 12
    assert (items["twin.png"].rule, items["twin.png"].like) == ("duplicate", "kain-3.jpg")
    assert items["tiny.png"].rule == "small" and items["garment.png"].rule in ("strip", "blank")
    assert items["page.jpg"].rule == "unreadable" and items["page.jpg"].copy == ""
    assert items["page.jpg"].reason["id"] != items["page.jpg"].reason["en"]

    style, said, boxes, *_ = choose.present("ayu", language="id-ID")
    assert len(boxes["choices"]) == 15 and len(boxes["value"]) == 3
    assert [key for _, key in boxes["choices"][:3]] == boxes["value"]
    assert "kembar · seperti kain-3.jpg" in boxes["choices"][2][0]
    assert "12 dari 16 gambar" in said and "page.jpg: Berkas ini" in said
    assert style.count("background-position") == 15

    # What is ticked is left out, whoever ticked it.
    assert len(basket.kept("ayu", boxes["value"])) == 12
    assert len(basket.kept("ayu", [])) == 15
    good = [one.copy for one in items.values() if not one.rule]
    with pytest.raises(TooFew, match="there are 9 .handed in: 16; left out by you: 3, duplicate: 1") as caught:
        basket.kept("ayu", [*boxes["value"], *good[:3]])
    assert "Anda keluarkan: 3" in caught.value.say("id")
    with pytest.raises(TooFew, match="there are 0"):
        basket.kept("ayu", [*boxes["value"], *good])


def test_ticks_stay_when_more_is_dropped(pictures: list[Path], tmp_path: Path):
    _, _, _, boxes, *_ = choose.drop([str(path) for path in pictures[:6]], [], "ayu")
    assert boxes["value"] == []
    chosen = [boxes["choices"][2][1]]
    _, _, said, boxes, *_ = choose.drop([str(path) for path in pictures[5:]], chosen, "ayu")
    # The picture dropped twice is found, the one ticked by hand stays ticked.
    assert len(boxes["choices"]) == 13 and len(boxes["value"]) == 2 and chosen[0] in boxes["value"]
    assert "11 of 13 pictures" in said
    choose.clear("ayu")
    assert basket.content("ayu") == [] and choose.present("ayu")[1] == ""


def test_visitors_are_kept_apart(pictures: list[Path]):
    basket.add("ayu", pictures)
    assert basket.content("budi") == []
    with pytest.raises(TooFew, match="Drop your pictures first: at least 10"):
        basket.kept("budi", [])
    assert "ayu" not in str(basket.folder_of("ayu"))


def test_all_duplicates_are_refused(pictures: list[Path]):
    items = basket.add("ayu", [pictures[0]] * 12)
    ticked = [one.copy for one in items if one.rule]
    assert len(ticked) == 11
    with pytest.raises(TooFew, match="there are 1 .handed in: 12; (left out by you|duplicate): 11"):
        basket.kept("ayu", ticked)


def test_a_refused_drop_changes_nothing(pictures: list[Path], tmp_path: Path):
    basket.add("ayu", pictures)
    before = files(basket.folder_of("ayu"))
    (tmp_path / "torn.zip").write_bytes(b"PK\x03\x04 and then nothing")
    for bad in ([tmp_path / "torn.zip"], [*pictures, tmp_path / "torn.zip"], [pictures[0]] * 489):
        with pytest.raises(DataError):
            basket.add("ayu", bad)
        assert files(basket.folder_of("ayu")) == before


def test_a_start_that_fails_keeps_the_basket(pictures: list[Path]):
    basket.add("ayu", pictures)
    before = files(basket.folder_of("ayu"))
    with pytest.raises(RunError), basket.handed_over("ayu"):
        raise RunError("error.job.busy")
    assert files(basket.folder_of("ayu")) == before
    with basket.handed_over("ayu"):
        assert files(basket.folder_of("ayu")) == before
    assert basket.content("ayu") == []


def test_a_basket_is_as_old_as_its_last_use(pictures: list[Path]):
    basket.add("ayu", pictures)
    folder = basket.folder_of("ayu")
    for path in (folder, *folder.iterdir()):
        os.utime(path, (0, 0))
    with basket.locked("ayu"):
        assert retention.age(folder) < 60


def test_start_during_a_drop_is_refused_and_loses_nothing(
    pictures: list[Path], tmp_path: Path, idle, monkeypatch: pytest.MonkeyPatch
):
    basket.add("ayu", pictures)
    more = make_cloths(tmp_path / "more", 20, side=300)[12:]
    begun, go_on = threading.Event(), threading.Event()

    def slowly(folder: Path) -> object:
        begun.set()
        go_on.wait(30)
        return looked_through(folder)

    looked_through = audit.audit
    monkeypatch.setattr(audit, "audit", slowly)
    drop = threading.Thread(target=basket.add, args=("ayu", more))
    drop.start()
    assert begun.wait(30)
    start = partial(tab.begin, "tiny", [], 100, "", "", "", False, "ayu", [None, [], 0], None)
    with pytest.raises(RunError, match="still being looked at"):
        start()
    assert jobs.list_jobs("ayu") == []
    go_on.set()
    drop.join()
    assert len(basket.content("ayu")) == 20
    start()
    assert [one.pictures for one in jobs.list_jobs("ayu")] == [20] and basket.content("ayu") == []


def test_what_a_power_cut_took_is_named_and_the_rest_stays_in_reach(pictures: list[Path]):
    items = basket.add("ayu", pictures)
    folder = basket.folder_of("ayu") / "pictures"
    (folder / items[0].copy).write_bytes(b"")
    (folder / items[1].copy).unlink()
    (folder / items[2].copy).write_bytes(b"\xff\xd8\xff torn")
    _, said, boxes, *_ = choose.present("ayu")
    assert len(boxes["choices"]) == 10 and said.count("This file is empty") == 2
    again = basket.add("ayu", pictures[:2])
    assert [one.rule for one in again].count("unreadable") == 3 and len(basket.kept("ayu", [items[2].copy])) == 11


def test_a_killed_drop_leaves_the_basket_as_it_was(pictures: list[Path], tmp_path: Path):
    basket.add("ayu", pictures)
    more = make_cloths(tmp_path / "more", 60, side=700)[12:]
    process = beside(basket.add, "ayu", more)
    folder = basket.folder_of("ayu") / "pictures"
    while len(list(folder.iterdir())) < 14:
        os.sched_yield()
        assert process.is_alive()
    process.kill()
    process.join()
    assert len(basket.content("ayu")) == 12
    assert len(basket.add("ayu", more[:1])) == 13 and len(list(folder.iterdir())) == 13


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
