"""The tabs' handlers, called as the plain functions they are, on small untrained models."""

from __future__ import annotations

import csv
import errno
import inspect
import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qsl

import gradio as gr
import numpy as np
import pytest
from PIL import Image
from safetensors import SafetensorError

from gan import checkpoint, nets, settings
from gan.classify import Answer
from gan.errors import CheckpointError, PictureError, RequestError
from gan.pictures import read_metadata
from gan.tabs import classify, common, digits, generate
from gan.tabs.answer import about, card
from gan.texts import say


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three untrained models: pictures of 64 pixels, digits, three motifs."""
    import torch

    from gan import catalog

    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)

    def save(name: str, family: dict, network: str, arguments: dict, **config: object) -> None:
        built = nets.build(family, network, arguments)
        if network == "fastgan":  # as initialised its pictures are all but flat
            for weights in built.parameters():
                torch.nn.init.normal_(weights, std=0.3)
        facts = {"title": name.title(), "network": network, "arguments": arguments, **config}
        checkpoint.save(folder / name, built.state_dict(), facts)

    pictures = {"kind": "generator", "value_range": [-1, 1]}
    save("batik-small", nets.GENERATORS, "fastgan", {"resolution": 64, "width": 4}, resolution=64, **pictures)
    ten = [str(i) for i in range(10)]
    grey = {"channels": 1, "resolution": 28, "value_range": [0, 1]}
    save("mnist-cgan", nets.GENERATORS, "cgan", {}, classes=ten, kind="generator", **grey)
    motifs = ["batik-bali", "batik-betawi", "batik-celup"]
    seen = {"size": 96, "channels": 3, "mean": [0.5] * 3, "std": [0.5] * 3}
    save("batik-three", nets.CLASSIFIERS, "mobilenet-v2", {"classes": 3}, kind="classifier", classes=motifs, input=seen)
    for name, columns in (("batik-small", 4), ("mnist-cgan", 10)):
        model = catalog.load(folder / name)
        side, tiles = model.resolution, [p for row in range(columns) for p in model.sample(columns, seed=row * columns)]
        grid = Image.new("RGB", (columns * side, columns * side))
        for i, tile in enumerate(tiles):
            grid.paste(tile, (i % columns * side, i // columns * side))
        grid.save(folder / name / "samples.png")
    return folder


@pytest.fixture
def models(model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The small models in the place of the shipped ones; answers are written to a folder of the test's own."""
    monkeypatch.setenv("CANTING_CHECKPOINTS", str(model_folder))
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "answers"))
    return model_folder


def pixels(path: str) -> bytes:
    with Image.open(path) as picture:
        return picture.convert("RGB").tobytes()


def test_each_picture_comes_from_its_own_seed_and_says_what_made_it(models):
    four = generate.generate("batik-small", 4, 7, 0.8)
    one = generate.generate("batik-small", 1, 8, 0.8)
    assert [caption for _, caption in four] == ["seed 7", "seed 8", "seed 9", "seed 10"]
    near = max(abs(a - b) for a, b in zip(pixels(four[1][0]), pixels(one[0][0]), strict=True))
    assert near <= 1
    notes = read_metadata(Path(four[2][0]))
    assert {key: notes[key] for key in ("model", "seed", "truncation", "version")} == {
        "model": "batik-small",
        "seed": "9",
        "truncation": "0.8",
        "version": settings.VERSION,
    }


def test_answers_of_two_visitors_lie_in_folders_of_their_own(models):
    first, second = (Path(generate.generate("batik-small", 1, 0, 1.0)[0][0]) for _ in range(2))
    assert first.parent != second.parent
    assert first.name == second.name == "canting-batik-small-seed-0.png"


@pytest.mark.parametrize(
    ("count", "seed", "truncation"),
    [(0, 0, 1), (65, 0, 1), (2.5, 0, 1), (1, -1, 1), (1, 2**31, 1), (1, None, 1), (1, 0, 9), (1, 0, "a")],
)
def test_numbers_out_of_range_are_refused(models, count, seed, truncation):
    with pytest.raises(RequestError):
        generate.generate("batik-small", count, seed, truncation)


@pytest.mark.parametrize("name", ["", "nobody", "../batik-small", "owner/model", None, "batik-three"])
def test_only_generators_of_the_catalogue_can_be_asked_for(models, name):
    with pytest.raises(CheckpointError):
        generate.generate(name, 1, 0, 1.0)


def test_a_folder_on_the_server_is_no_model_for_visitors(models):
    with pytest.raises(CheckpointError):
        generate.generate(str(models / "batik-small"), 1, 0, 1.0)


def test_a_call_without_word_or_session_speaks_for_nobody_else():
    visitor = Visitor("en")
    assert common.whose("ayu", visitor) == "ayu"
    assert common.whose("", visitor) != common.whose("", visitor)
    visitor.session_hash = "abc"
    assert common.whose("", visitor) == "session abc"


def test_neighbours_begin_with_the_picture_itself(models):
    near = generate.neighbours("batik-small", 5)
    itself = generate.generate("batik-small", 1, 5, 1.0)
    assert len(near) == generate.NEIGHBOURS
    assert max(abs(a - b) for a, b in zip(pixels(near[0][0]), pixels(itself[0][0]), strict=True)) <= 1
    assert read_metadata(Path(near[3][0]))["neighbour"] == "3"
    onward = generate.neighbours("batik-small", 5, path=[3])
    assert max(abs(a - b) for a, b in zip(pixels(onward[0][0]), pixels(near[3][0]), strict=True)) <= 1
    assert read_metadata(Path(onward[2][0]))["neighbour"] == "3 2"
    assert len(generate.neighbours("batik-small", 5, path=[1] * 200)) == generate.NEIGHBOURS
    assert [caption for _, caption in onward[:2]] == ["seed 5 › 3", "near seed 5 › 3"]


def test_a_walk_is_an_endless_loop(models):
    with Image.open(generate.walk("batik-small", 1, 2)) as loop:
        assert loop.format == "WEBP"
        assert loop.n_frames > generate.WALK_FRAMES // 2  # frames that repeat the one before are merged
        assert loop.info["loop"] == 0


def test_the_zip_holds_every_picture_with_its_notes(models):
    with zipfile.ZipFile(generate.bundle(generate.generate("batik-small", 3, 4, 1.0))) as archive:
        assert archive.namelist() == [f"canting-batik-small-seed-{seed}.png" for seed in (4, 5, 6)]
        assert read_metadata(archive.read("canting-batik-small-seed-5.png"))["seed"] == "5"


def test_the_page_opens_with_the_samples_and_without_the_model(models):
    opened = generate.samples("batik-small")
    drawn = generate.generate("batik-small", len(opened), 0, 1.0)
    assert len(opened) == generate.COUNT
    for (shipped, _), (fresh, _) in zip(opened, drawn, strict=True):
        assert max(abs(a - b) for a, b in zip(pixels(shipped), pixels(fresh), strict=True)) <= 1


def test_the_page_knows_what_it_shows_whatever_the_form_says(models):
    pictures, shown, query, archive = generate.show("batik-small", 3, 5.0, 0.8, "")
    assert shown == ["batik-small", 5, 0.8] and len(pictures) == 3
    asked = dict(parse_qsl(query.removeprefix("?")))
    assert generate.asked_for(asked) == ("batik-small", 3, 5, 0.8)
    with zipfile.ZipFile(archive) as bundled:
        assert bundled.namelist() == [Path(path).name for path, _ in pictures]


def test_another_model_comes_with_as_many_pictures_as_the_form_says(models):
    count, seed, truncation, gallery, shown, query, _ = generate.choose_model("batik-small", "")
    assert count == len(gallery["value"]) == generate.COUNT and shown == ["batik-small", seed, truncation]
    assert generate.asked_for(dict(parse_qsl(query.removeprefix("?")))) == ("batik-small", count, seed, truncation)


def test_the_seeds_begin_anew_after_the_last(models):
    last = common.SEEDS - 1
    around, first = generate.generate("mnist-cgan", 2, last)[1], generate.generate("mnist-cgan", 1, 0)[0]
    assert around[1] == first[1] and pixels(around[0]) == pixels(first[0])
    event = SimpleNamespace(index=1)
    assert generate.pick(event, ["mnist-cgan", last, 1.0], None)[0] == 0


def test_a_link_says_what_to_draw():
    asked = generate.asked_for({"model": "batik-small", "seed": "7", "truncation": "0.5", "count": "3"})
    assert asked == ("batik-small", 3, 7, 0.5)
    assert generate.asked_for({"__theme": "dark"}) is None
    with pytest.raises(RequestError):
        generate.asked_for({"model": "batik-small", "seed": "seven"})


def test_digits_are_drawn_side_by_side(models):
    drawn = digits.digits("20 26", 3)
    assert [caption[0] for _, caption in drawn] == ["2", "0", "2", "6"]
    assert [read_metadata(Path(path))["seed"] for path, _ in drawn] == ["3", "4", "5", "6"]


@pytest.mark.parametrize("text", ["", "  ", "12a", "-1", "٣", "1" * 21, None, "<b>1</b>"])
def test_anything_but_digits_is_refused(models, text):
    with pytest.raises(RequestError):
        digits.digits(text, 0)


def test_pictures_of_ten_classes_are_no_digits(models, tmp_path, monkeypatch):
    """They are sampled like any others, each seed of its own class."""
    shutil.copytree(models, tmp_path / "models")
    shutil.rmtree(tmp_path / "models" / "mnist-cgan")
    network, arguments = "resnet", {"width": 4, "classes": 10}
    config = {"kind": "generator", "title": "Ten", "network": network, "arguments": arguments, "resolution": 32}
    folder = tmp_path / "models" / "a-ten"
    built = nets.build(nets.GENERATORS, network, arguments).state_dict()
    checkpoint.save(folder, built, {**config, "channels": 3, "classes": [str(i) for i in range(10)]})
    monkeypatch.setenv("CANTING_CHECKPOINTS", str(tmp_path / "models"))
    assert "a-ten" in [one.name for one in generate.generators()]
    assert len(generate.generate("a-ten", 3, 0, 1.0)) == 3
    with pytest.raises(CheckpointError, match="mnist-cgan"):
        digits.digits("2", 0)


def test_the_sheet_has_a_row_for_each_digit(models):
    with Image.open(digits.grid(0)) as sheet:
        assert sheet.size == (10 * 28 * digits.GRID_SCALE, 10 * 28 * digits.GRID_SCALE)


def test_digits_opens_with_what_its_form_asks_for(models):
    opened, sheet = digits.opening()
    drawn, grid = digits.show(digits.FIRST, 0)
    assert [caption for _, caption in opened] == [caption for _, caption in drawn]
    assert [Path(path).name for path, _ in opened] == [Path(path).name for path, _ in drawn]
    for one, other in [*zip([path for path, _ in opened], [path for path, _ in drawn], strict=True), (sheet, grid)]:
        assert read_metadata(Path(one)) == read_metadata(Path(other)) and Path(one).name == Path(other).name
        first, second = (np.asarray(Image.open(path).convert("L")).astype(int) for path in (one, other))
        assert np.abs(first - second).max() <= 1


def test_a_photo_is_ranked(models, tmp_path):
    Image.new("RGB", (300, 200), "navy").save(tmp_path / "cloth.jpg")
    answer = classify.classify(str(tmp_path / "cloth.jpg"), "batik-three")
    assert sorted(answer) == ["batik-bali", "batik-betawi", "batik-celup"]
    assert list(answer.values()) == sorted(answer.values(), reverse=True)
    assert sum(answer.values()) == pytest.approx(1, abs=1e-4)


def photograph(path: Path) -> str:
    """A picture with a pattern, saved as a file."""
    y, x = np.mgrid[:200, :300]
    waves = [127 + 120 * np.sin(x / (9 + c)) * np.cos(y / (5 + c)) for c in range(3)]
    Image.fromarray(np.stack(waves, -1).astype(np.uint8)).save(path)
    return str(path)


def test_an_answer_comes_with_its_map_and_what_the_motif_means(models, tmp_path):
    answer, seen, known = classify.recognise(photograph(tmp_path / "cloth.jpg"), "batik-three", language="en")
    asked = classify.classify(str(tmp_path / "cloth.jpg"), "batik-three")
    first = common.motif(next(iter(asked)))
    assert f"<h3>{first}</h3>" in answer and answer.count("<li>") == 3 and "batik-" not in answer
    assert seen.count("data:image/jpeg;base64,") == 2 and 'type="checkbox" checked' in seen
    assert first in known and say("classify.signs") in known
    assert (
        say("classify.signs", "id") in classify.recognise(str(tmp_path / "cloth.jpg"), "batik-three", language="id")[2]
    )
    assert classify.recognise(None, "batik-three") == ("", "", "")
    with pytest.raises(PictureError):
        classify.demanded(None, "batik-three")


def test_an_unsure_answer_says_so_and_names_the_candidates():
    ranked = (("batik-bali", 0.4), ("batik-celup", 0.35), ("batik-betawi", 0.25))
    unsure = Answer(ranked, sure=False)
    assert f"<h3>{say('classify.unsure')}</h3>" in card(unsure, "en") and say("classify.perhaps") in card(unsure, "en")
    assert about(unsure, "en").count("<details") == 3
    assert about(Answer(ranked), "en").count("<details") == 1


def test_what_is_no_batik_is_said_to_be_none(models, tmp_path):
    Image.new("RGB", (300, 200), "white").save(tmp_path / "wall.png")
    answer, _, known = classify.recognise(str(tmp_path / "wall.png"), "batik-three", language="id")
    assert "Bukan batik" in answer and known == ""
    assert classify.classify(str(tmp_path / "wall.png"), "batik-three")


def test_every_classifier_answers_side_by_side(models, tmp_path):
    shown = classify.side_by_side(photograph(tmp_path / "cloth.jpg"), "en")
    assert shown.count('<th scope="row">') == len(classify.classifiers()) == 1
    assert "Batik-Three" in shown and "–" in shown, "this model states no doubt, so none may be claimed"
    assert classify.side_by_side(None) == ""


def test_a_model_that_cannot_be_loaded_does_not_silence_the_others(models, tmp_path, monkeypatch):
    for name in ("batik-three", "batik-odd"):
        shutil.copytree(models / "batik-three", tmp_path / "more" / name)
    odd = tmp_path / "more" / "batik-odd" / "config.json"
    odd.write_text(json.dumps(json.loads(odd.read_text()) | {"temperature": 0, "title": "Odd"}))
    monkeypatch.setenv("CANTING_CHECKPOINTS", str(tmp_path / "more"))
    shown = classify.side_by_side(photograph(tmp_path / "cloth.jpg"), "en")
    assert shown.count('class="failed"') == 1 and "temperature" in shown and "Batik-Three" in shown and "%" in shown


def test_several_photos_come_as_a_table_and_a_file_and_broken_ones_do_not_stop_the_others(models, tmp_path):
    good = photograph(tmp_path / "good.jpg")
    (tmp_path / "page.jpg").write_text("<html>not a picture</html>")
    (tmp_path / "paper.jpg").write_bytes(b"%PDF-1.7\n" + b"0 0 obj << /Type /Page >> endobj\n" * 20)
    (tmp_path / "empty.png").write_bytes(b"")
    Image.new("RGB", (300, 200), "white").save(tmp_path / "wall.png")
    files = [(good, "<b>one</b>.jpg"), (str(tmp_path / "page.jpg"), "page.jpg"), (str(tmp_path / "paper.jpg"), "p.jpg")]
    files += [(str(tmp_path / "empty.png"), "=empty.png"), (str(tmp_path / "wall.png"), "wall.png"), (good, "two.jpg")]
    shown, path = classify.many(files, "batik-three", language="en")
    assert shown.count("<tr") == 7 and shown.count('class="failed"') == 3
    assert "&lt;b&gt;one" in shown and "<b>one" not in shown
    # Which photo a row is of can be seen, whatever its name.
    assert shown.count('<img src="data:image/jpeg;base64,') == 3
    assert "PDF" in shown and "empty (0 bytes)" in shown and "Not batik" in shown
    with Path(path).open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["file", "motif", "probability", "second", "third", "sure", "remark"]
    asked = classify.classify(good, "batik-three")
    assert [rows[5][key] for key in ("motif", "second", "third")] == list(asked)
    assert float(rows[5]["probability"]) == pytest.approx(max(asked.values()), abs=1e-3)
    assert rows[1]["motif"] == "" and "not a JPEG" in rows[1]["remark"]
    assert rows[3]["file"] == "'=empty.png", "a spreadsheet would take the name for a formula"
    assert (rows[4]["sure"], rows[5]["sure"]) == ("no", "")


def test_no_photos_and_too_many_are_refused(models, tmp_path):
    good = photograph(tmp_path / "good.jpg")
    with pytest.raises(PictureError):
        classify.many([], "batik-three")
    with pytest.raises(PictureError, match="100"):
        classify.many([(good, "a.jpg")] * 101, "batik-three")


def test_a_broken_photo_is_refused_with_a_sentence(models, tmp_path):
    (tmp_path / "page.jpg").write_text("<html>not a picture</html>")
    with pytest.raises(PictureError, match="not a JPEG"):
        classify.classify(str(tmp_path / "page.jpg"), "batik-three")
    with pytest.raises(PictureError):
        classify.classify(None, "batik-three")


class Visitor:
    """What a handler sees of a request."""

    def __init__(self, language: str) -> None:
        self.headers, self.query_params = {"accept-language": language}, {}
        self.session_hash = None


@pytest.mark.parametrize(
    ("header", "language"),
    [("id-ID,id;q=0.9,en;q=0.8", "id"), ("en-GB", "en"), ("fr,id;q=0.9", "en"), ("", "en"), ("ID;q=1", "id")],
)
def test_the_language_is_the_browsers_first(header, language):
    assert common.language_of(Visitor(header)) == language


def test_errors_reach_the_visitor_in_their_language(models):
    event = common.guard(generate.generate)
    with pytest.raises(gr.Error) as raised:
        event(Visitor("id-ID"), "batik-small", 0, 0, 1.0)
    assert raised.value.message == say("error.request.count", "id", most=64)


def test_the_unexpected_becomes_one_friendly_sentence(caplog):
    def broken(model: str) -> str:
        raise ZeroDivisionError("secret detail")

    with pytest.raises(gr.Error) as raised:
        common.guard(broken)(Visitor("en"), "x")
    assert raised.value.message == say("error.unexpected")
    assert "secret detail" in caplog.text


@pytest.mark.parametrize(
    ("error", "key"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/runs/x"), "error.disk.full"),
        (
            SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
            "error.disk.full",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "/runs/x"), "error.disk.refused"),
        (OSError(errno.EROFS, "Read-only file system", "/runs/x"), "error.disk.refused"),
    ],
)
def test_a_disk_that_takes_nothing_is_explained(error: Exception, key: str):
    def broken(model: str) -> str:
        raise error

    with pytest.raises(gr.Error) as raised:
        common.guard(broken)(Visitor("id-ID"), "x")
    assert raised.value.message == say(key, "id", file="/runs/x")


def test_what_a_visitor_typed_is_not_shown_as_html(models):
    with pytest.raises(gr.Error) as raised:
        common.guard(generate.generate)(Visitor("en"), "<img src=x onerror=alert(1)>", 1, 0, 1.0)
    assert "<img" not in raised.value.message


def test_endpoints_keep_their_names_and_the_order_of_their_parameters():
    contract = {
        generate.generate: ["model", "count", "seed", "truncation"],
        digits.digits: ["text", "seed"],
        classify.classify: ["photo", "model"],
    }
    for handler, leading in contract.items():
        assert [*inspect.signature(handler).parameters][: len(leading)] == leading


def test_the_page_is_built_without_torch_and_shows_its_endpoints(models):
    code = (
        "import sys, json, app; page = app.build(); assert 'torch' not in sys.modules;"
        "print(json.dumps(sorted(page.get_api_info()['named_endpoints'])))"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=settings.ROOT, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    names = set(json.loads(run.stdout.splitlines()[-1]))
    assert names - {"/start_run", "/stop_run", "/list_runs"} == {"/generate", "/digits", "/classify"}


def old(folder: Path) -> None:
    """As if nobody had touched it for a day."""
    for path in (*folder.rglob("*"), folder):
        os.utime(path, (time.time() - 86_400,) * 2)


def test_what_the_page_opens_with_is_never_cleared_away(models):
    picture = Image.new("RGB", (8, 8))
    opening, answer, fresh = (common.write_pngs([picture], ["x"], [{}])[0] for _ in range(3))
    with gr.Blocks() as page:
        gr.Gallery([(opening, "x")])
    for path in (*Path(common.get_upload_folder()).glob("*"),):
        if path != Path(fresh).parent:
            old(path)
    common.clear_away(page)
    kept = [file for block in page.blocks.values() for file in block.keep_in_cache]
    assert kept and all(Path(file).is_file() for file in kept)
    assert not Path(answer).exists() and Path(fresh).exists()
    # Nor by another app of the same account, with a page of its own.
    common.clear_away(gr.Blocks())
    assert all(Path(file).is_file() for file in kept)


def test_the_oldest_answers_make_room_for_new_ones(models, monkeypatch):
    picture = Image.effect_noise((64, 64), 60)
    paths = [Path(common.write_pngs([picture], ["x"], [{}])[0]) for _ in range(4)]
    for age, path in enumerate(reversed(paths)):
        for one in (path, path.parent):
            os.utime(one, (time.time() - 60 * age,) * 2)
    monkeypatch.setattr(common, "CACHE_BYTES", 3 * paths[0].stat().st_size)
    common.clear_away(gr.Blocks())
    assert not paths[0].exists() and paths[-1].exists()


def test_uploads_that_broke_off_are_cleared_away_and_nothing_gone_is_remembered(models):
    root = Path(common.get_upload_folder())
    root.mkdir(parents=True, exist_ok=True)
    broken, going_on = root / "tmpbroken.jpg", root / "tmpfresh.jpg"
    for path in (broken, going_on):
        path.write_bytes(b"half")
    old(broken)
    page = gr.Blocks()
    page.upload_file_set.update({str(broken), str(going_on)})
    common.clear_away(page)
    assert not broken.exists() and going_on.exists()
    assert page.upload_file_set == {str(going_on)}
    going_on.unlink()


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("config.json", ["kind", "network", "arguments"]),
        ("config.json", "kind, network, arguments"),
        ("config.json", b"[" * 100_000),
        ("config.json", {"classes": None}),
        ("config.json", {"classes": [1, 2]}),
        ("config.json", {"resolution": "28"}),
        ("config.json", {"resolution": -2}),
        ("config.json", {"channels": 2}),
        ("config.json", {"title": 3}),
        ("metrics.json", []),
        ("metrics.json", {"fid": "low", "kid": None}),
        ("metrics.json", b"[" * 100_000),
        ("metrics.json", {"steps": 10**400, "fid": float("nan")}),
        ("samples.png", b"no picture"),
        ("samples.png", b"\x89PNG\r\n\x1a\n"),
    ],
)
def test_one_odd_folder_leaves_the_others_at_work(models, tmp_path, monkeypatch, file, content):
    shutil.copytree(models, tmp_path / "models")
    shutil.copytree(models / "batik-small", tmp_path / "models" / "batik-odd")
    path = tmp_path / "models" / "batik-odd" / file
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        known = json.loads(path.read_text()) if file == "config.json" else {}
        path.write_text(json.dumps({**known, **content} if isinstance(content, dict) else content))
    monkeypatch.setenv("CANTING_CHECKPOINTS", str(tmp_path / "models"))
    with gr.Blocks(), gr.Tab("Tab") as tab:
        generate.build(gr.BrowserState(""), tab)
        classify.build(gr.BrowserState(""), tab)
    names = [one.name for one in generate.generators()]
    assert "batik-small" in names and ("batik-odd" in names) == (file != "config.json")


def test_the_app_is_built_without_any_model(tmp_path, monkeypatch):
    monkeypatch.setenv("CANTING_CHECKPOINTS", str(tmp_path))
    with gr.Blocks(), gr.Tab("Tab") as tab:
        generate.build(gr.BrowserState(""), tab)
        digits.build()
        classify.build(gr.BrowserState(""), tab)
