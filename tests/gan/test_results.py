"""The comparison of the five reports: what it reads, what it makes of broken files, and the tab's handlers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from gan import results
from gan.pictures import png_bytes
from gan.tabs import results as tab
from gan.texts import catalogue


def add(root: Path, name: str, report: str = "R2", history: str = "", **metrics: object) -> Path:
    """A checkpoint's small files; weights are not needed."""
    folder = root / name
    folder.mkdir(parents=True)
    config = {"kind": "generator", "network": "lsgan", "arguments": {}, "recipe": name, "report": report}
    facts = {"title": f"<b>{name}</b>", "resolution": 64, "source": "anime-faces"}
    (folder / "config.json").write_text(json.dumps(config | facts))
    if metrics:
        (folder / "metrics.json").write_text(json.dumps(metrics))
    if history:
        (folder / "history.csv").write_text(history)
    return folder


HISTORY = "step,minutes,images,d_loss,g_loss,fid\n10,1,80,0.5,0.9,\n20,2,160,0.4,0.8,200\n30,3,240,0.3,0.7,150\n"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two models of R2 and a judge, in the place of the shipped ones."""
    monkeypatch.setenv("CANTING_CHECKPOINTS", str(tmp_path))
    add(tmp_path, "anime-best", history=HISTORY, fid=40.25, kid=0.02, steps=30, minutes=3.0, parameters=1_000_000)
    add(tmp_path, "anime-lsgan", history=HISTORY, fid=315.5, generated=400, real=400, memorised=0.05)
    add(tmp_path, "judge-mnist", report="–", accuracy=0.99)
    return tmp_path


def test_a_new_folder_is_in_the_comparison_at_once_in_its_role(root: Path) -> None:
    roles = {one.name: one.role for one in results.results()}
    assert roles == {"anime-lsgan": "report", "anime-best": "best"}
    add(root, "anime-dcgan")
    add(root, "mnist-cgan-report", report="R5")
    add(root, ".half-fetched")
    order = [(one.name, one.role) for one in results.results()]
    assert order == [
        ("anime-lsgan", "report"), ("anime-best", "best"), ("anime-dcgan", "trial"), ("mnist-cgan-report", "report"),
    ]  # fmt: skip
    shelf = tab.cards([one for one in results.results() if one.report == "R2"])
    assert "data-model='anime-dcgan'" in shelf and "not yet measured" in shelf
    assert "<b>anime-dcgan</b>" not in shelf, "what a file says is text, not HTML"


@pytest.mark.parametrize(
    "file, content",
    [
        ("config.json", b'{"kind": "gener'),
        ("config.json", b"[1, 2]"),
        ("config.json", b'{"kind": "generator", "network": "x", "arguments": {}, "report": "R2", "classes": null}'),
        ("metrics.json", b'{"fid": 3'),
        ("metrics.json", b"[]"),
        ("metrics.json", b'{"fid": "low", "kid": NaN, "minutes": null}'),
        ("history.csv", b""),
        ("history.csv", b"step,minutes\n1"),
        ("history.csv", b"\xff\xfe\x00no table"),
        ("history.csv", HISTORY.encode()[:-30]),
        ("samples.png", b"\x89PNG\r\n"),
        ("timeline.png", b"no picture"),
        ("timeline.png", png_bytes(Image.new("RGB", (8, 4)))),
        ("confusion.csv", b"a,b\n1"),
        ("README.md", b"\xff\xfe"),
    ],
)
def test_a_broken_file_leaves_the_rest_standing(root: Path, file: str, content: bytes) -> None:
    (root / "anime-best" / file).write_bytes(content)
    parts = tab.show(False)
    section = parts[5 * results.REPORTS.index("R2")]
    assert "FID 315.5" in section
    assert ["R2", "anime-lsgan"] in [row[:2] for row in parts[-2]["data"]]
    results.markdown(results.results(), root, "id")


def test_a_cut_off_history_keeps_its_whole_numbers(root: Path) -> None:
    path = root / "anime-best" / "history.csv"
    path.write_text(HISTORY + "40,4,320,0.")
    rows = results.history(path)
    assert [row["step"] for row in rows] == [10, 20, 30, 40]
    assert "fid" not in rows[0] and rows[1]["fid"] == 200
    path.write_text(HISTORY + '40,"' + "4" * 200_000)
    assert [row["step"] for row in results.history(path)] == [10, 20, 30]


def test_quality_comes_before_losses_and_long_curves_are_thinned(root: Path) -> None:
    found = results.results()
    assert results.curves(found) == ["fid", "d_loss", "g_loss"]
    assert [point for point in results.curve(found, "fid") if point[2] == "anime-best"] == [
        (2.0, 200.0, "anime-best"), (3.0, 150.0, "anime-best"),
    ]  # fmt: skip
    lines = "".join(f"{i},{i},{i},{i % 2}\n" for i in range(1000))
    add(root, "anime-long", history="step,minutes,images,d_loss\n" + lines)
    long = [point for point in results.curve(results.results(), "d_loss", "step") if point[2] == "anime-long"]
    assert 100 <= len(long) <= results.CURVE_POINTS
    assert sum(y for _, y, _ in long) / len(long) == pytest.approx(0.5, abs=0.1)
    # A point stands in the middle of the nine that it is the mean of.
    assert long[0][:2] == pytest.approx((4, 4 / 9))


def test_the_table_holds_numbers_that_sort(root: Path) -> None:
    headers, rows = results.table(results.results())
    by_name = {row[1]: dict(zip(headers, row, strict=True)) for row in rows}
    assert by_name["anime-lsgan"]["FID"] == 315.5 and by_name["anime-lsgan"]["Memorised %"] == 5.0
    assert by_name["anime-best"]["Parameters"] == 1_000_000 and by_name["anime-best"]["Recall"] is None


def test_numbers_are_written_as_the_language_writes_them() -> None:
    assert results.shown("fid", 1234.56) == "1,234.6" and results.shown("fid", 1234.56, "id") == "1.234,6"
    assert results.shown("accuracy", 0.5789, "id") == "57,9 %" and results.shown("kid", None) == "–"
    assert results.reported("batik-parang-report") == "FID 293" and results.reported("batik-best-20") == "–"
    assert results.reported("cifar10-best", "id") == "tanpa angka"


def test_whatever_can_be_shown_has_a_name() -> None:
    keys = {*results.FIGURES, *results.EFFORT, *results.AXES, *results.CURVES, *results.TABLE}
    assert {f"results.figure.{key}" for key in keys} <= set(catalogue()["en"])


def test_coming_back_to_the_tab_sends_nothing_anew(root: Path) -> None:
    full, again = tab.show(False), tab.show(True)
    assert len(full) == len(again) and full[-1] is True
    assert all(part == {"__type__": "update"} for part in again)


def test_a_card_is_rendered_without_what_could_be_code() -> None:
    shown = tab.rendered(
        "---\nlicense: other\n---\n# Title\n\n<script>x</script>\n\n![a](samples.png)\n\nsee ![c](https://x/c.png)\n\n[b](javascript:x)"
    )
    assert "<script" not in shown and "license" not in shown and "<img" not in shown and 'javascript:x"' not in shown


def test_a_timeline_and_a_confusion_matrix_are_shown_where_they_are(root: Path) -> None:
    folder = root / "anime-best"
    (folder / "timeline.png").write_bytes(png_bytes(Image.new("RGB", (128, 256)), {"steps": "0,1500"}))
    (root / "anime-lsgan" / "confusion.csv").write_text("t,batik-bali,batik-celup\nbatik-bali,3,1\nbatik-celup,0,4\n")
    shelf = tab.cards(results.results())
    assert "from step 0 to step 1,500" in shelf and "width: 25%" in shelf
    assert "--share:75%" in shelf and "Bali → Celup: 1" in shelf


def named(name: str) -> results.Result:
    return next(one for one in results.results() if one.name == name)


def test_digits_are_judged_by_whether_they_can_be_read(root: Path) -> None:
    add(root, "mnist-cgan", report="R5", digit_accuracy=0.97, fid=5.0)
    assert results.headline(named("mnist-cgan")) == "digit_accuracy" and results.headline(named("anime-best")) == "fid"
    headers, rows = results.table([named("mnist-cgan")])
    assert dict(zip(headers, rows[0], strict=True))["Accuracy %"] == 97.0


def test_how_sure_an_accuracy_is_runs_from_low_to_high(root: Path) -> None:
    add(root, "batik-cnn-3", report="R3", accuracy=0.5, accuracy_low=0.4, accuracy_high=0.625, images=60)
    expected = "Measured with 60 pictures; 95 % interval 40.0 % to 62.5 %."
    assert results.measured_with(named("batik-cnn-3")) == expected


def test_a_report_names_what_it_lacks(root: Path) -> None:
    assert results.gaps([named("anime-best"), named("anime-lsgan")]) == []
    assert results.gaps([named("anime-best")]) == ["The recipe as written has not been measured here yet."]
    assert len(results.gaps([])) == 2


def test_curves_are_told_at_five_moments_the_end_among_them(root: Path) -> None:
    lines = "".join(f"{i},{i / 10},{8 * i},0.5,0.9,{400 - i}\n" for i in range(101))
    add(root, "anime-dcgan", history="step,minutes,images,d_loss,g_loss,fid\n" + lines)
    rows = results.five_moments(named("anime-dcgan"), "en").splitlines()[2:]
    assert [row.split(" | ")[0] for row in rows] == ["| 0", "| 25", "| 50", "| 75", "| 100"]
