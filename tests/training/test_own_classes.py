"""A classifier of a visitor's own classes: from zips to a model that only they can use."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import zipfile
from pathlib import Path

import pytest
from PIL import Image, ImageChops

from gan import own
from gan.errors import CheckpointError, DataError, RunError
from gan.pictures import open_picture
from gan.settings import ROOT
from gan.tabs import classify, generate
from tests.training.conftest import make_base, make_cloths, wait_for
from training import basket, choose, jobs, processes, recogniser, records, retention, tab, watch, worker
from training.classifier import ClassifierTrainer
from training.runs import Run

pytestmark = pytest.mark.usefixtures("end_jobs")
BASE = "batik-mobilenet-3"


@pytest.fixture(autouse=True)
def base(studio: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shipped classifier to start from; nothing may be kept in the cache folder."""
    shutil.copytree(ROOT / "checkpoints" / BASE, tmp_path / "checkpoints" / BASE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("CANTING_TRAIN", raising=False)


def make_classes(folder: Path, first: int = 0, **counts: int) -> Path:
    """Class folders of cloths, the ``first``th and following, each class in a colour of its own, no two alike."""
    cloths = make_cloths(folder / "all", first + sum(counts.values()))[first:]
    colours = iter(("orange", "teal", "orchid", "khaki"))
    for name, count in counts.items():
        (folder / "classes" / name).mkdir(parents=True)
        colour = next(colours)
        for path in [cloths.pop() for _ in range(count)]:
            dyed = Image.new("RGB", (picture := open_picture(path)).size, colour)
            ImageChops.multiply(picture, dyed).save(folder / "classes" / name / path.name, quality=95)
    return folder / "classes"


def zipped(path: Path, folder: Path) -> Path:
    return Path(shutil.make_archive(str(path.with_suffix("")), "zip", folder))


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    """Six and seven pictures of two classes."""
    return make_classes(tmp_path, nila=6, soga=7)


def layout(job: str) -> dict[str, int]:
    folder = records.folder_of(job) / "pictures"
    return {one.name: len(list(one.glob("*.jpg"))) for one in sorted(folder.iterdir())}


def test_a_zip_of_folders_or_a_zip_for_each(studio: Path, classes: Path, tmp_path: Path, idle):
    whole = zipped(tmp_path / "whole.zip", classes)
    each = [zipped(tmp_path / f"{folder.name}.zip", folder) for folder in classes.iterdir()]
    for pictures in (whole, [whole], each, classes):
        job = jobs.start(BASE, pictures, owner="ayu")
        assert layout(job) == {"nila": 6, "soga": 7}
        facts = Run(studio / job).read()
        assert facts["classes"] == ["nila", "soga"] and facts["features"] == str(studio / job / "features")
        recipe = facts["recipe"]
        assert (recipe["start"], recipe["steps"], recipe["at_large"]) == (BASE, 200, "")
    status = jobs.status(job)
    assert (status.kind, status.pictures, status.steps) == ("classifier", 13, 200)


def test_what_cannot_be_learned_ends_in_a_sentence_and_leaves_nothing(studio: Path, classes: Path, tmp_path: Path):
    alone = zipped(tmp_path / "nila.zip", classes / "nila")
    tiny = shutil.copytree(classes, tmp_path / "tiny")
    for number, path in enumerate(make_cloths(tmp_path / "truntum", 20)[18:]):
        (tiny / "truntum").mkdir(exist_ok=True)
        shutil.copy(path, tiny / "truntum" / f"{number}.jpg")
    copied = shutil.copytree(classes, tmp_path / "copied")
    for path in list((copied / "nila").iterdir())[:3]:
        open_picture(path).resize((200, 190)).save(copied / "soga" / f"twin-{path.stem}.png")
    for refused, sentence in (
        (alone, "there is only nila"),
        ([alone, alone], "there is only nila"),
        (list((classes / "nila").iterdir()), "have no classes"),
        ([], "have no classes"),
        (tiny, r"Too few: truntum \(2\)"),
        # The pictures of two classes are in neither: three of nila are left.
        (copied, r"Too few: nila \(3\)"),
    ):
        with pytest.raises(DataError, match=sentence):
            jobs.start(BASE, refused)
        assert list(studio.glob("[!.]*")) == []
    for unknown in ("judge-batik", "../x", ""):
        with pytest.raises(RunError, match=f"These can: tiny, {BASE}"):
            jobs.start(unknown, classes)


def test_the_audit_names_what_is_wrong_with_the_classes(classes: Path, tmp_path: Path):
    odd = make_classes(tmp_path / "odd", 13, truntum=2, parang=40)
    twin = sorted((classes / "nila").iterdir())[0]
    open_picture(twin).resize((200, 190)).save(classes / "soga" / "twin.png")
    (classes / "soga" / "page.jpg").write_text("no picture")
    whole = [
        zipped(tmp_path / "a.zip", classes),
        zipped(tmp_path / "b.zip", odd),
        *make_cloths(tmp_path / "c", 60)[59:],
    ]
    _, style, said, boxes, *_ = choose.drop(list(map(str, whole)), [], "ayu", "classifier")
    assert "52 of 58 pictures" in said and "page.jpg: This file" in said
    assert "Classes: nila (5), parang (40), soga (7)." in said
    assert "Left out as a whole: truntum (2). A class needs at least 5" in said
    assert f"soga/twin.png = nila/{twin.name}" in said and "parang has more than five times as many" in said
    captions = dict((key, text) for text, key in boxes["choices"])
    assert sorted(captions[key].split(" · ")[0] for key in boxes["value"]) == (
        ["class too small"] * 2 + ["in no class"] + ["in two classes"] * 2
    )
    copies, found = basket.kept_classes("ayu", boxes["value"])
    assert len(copies) == len(found) == 52 and set(found) == {"nila", "parang", "soga"}
    # A box is unticked: what stands in the way is said at once, and in the way it stands.
    few = [key for key in boxes["value"] if captions[key].startswith("class too small")]
    left_out = [key for key in boxes["value"] if key not in few]
    assert "Kurang dari 5 gambar: truntum (2)" in choose.recount("ayu", left_out, "classifier", language="id")
    with pytest.raises(DataError, match="truntum"):
        basket.kept_classes("ayu", left_out)
    # The same pictures for a generator: no classes, and one of each pair of twins.
    _, said, boxes, *_ = choose.present("ayu")
    assert "Classes" not in said and len(boxes["value"]) == 1
    # The class grows: what was left out for its size is not any more.
    _, _, before, *_ = choose.present("ayu", "classifier")
    more = make_classes(tmp_path / "more", 60, truntum=4)
    grown = zipped(tmp_path / "truntum.zip", more / "truntum")
    _, _, said, boxes, *_ = choose.drop([str(grown)], before["value"], "ayu", "classifier")
    assert "truntum (6)" in said and len(boxes["value"]) == len(before["value"]) - 2


def test_a_run_is_repeated_on_its_classes_and_never_invents_any(classes: Path, pictures: list[Path], idle):
    first = jobs.start(BASE, classes, owner="ayu")
    again = jobs.repeat(first, BASE, {"steps": 90, "name": "again"})
    assert layout(again) == layout(first) and jobs.status(again).steps == 90
    assert sum(1 for _ in (records.folder_of(jobs.repeat(first, "tiny", {})) / "pictures").glob("*.jpg")) == 13
    with pytest.raises(DataError, match="have no classes"):
        jobs.repeat(jobs.start("tiny", pictures, owner="ayu"), BASE, {})


@pytest.mark.timeout(600)
def test_from_pictures_to_a_model_of_ones_own(studio: Path, classes: Path, tmp_path: Path, idle, monkeypatch):
    job = jobs.start(BASE, classes, {"name": "Kain kami"}, "ayu")
    folder = studio / job
    trained_on = []
    train = ClassifierTrainer.train
    monkeypatch.setattr(
        ClassifierTrainer, "train", lambda self, step: (trained_on.append((self.chosen, self.held)), train(self, step))
    )
    assert worker.train(folder, "") == "finished"
    # All of them make the model; each is then held back once.
    (everything, nothing), *folds = trained_on
    assert (everything, nothing) == (list(range(13)), []) and len(folds) == 5
    assert sorted(i for _, held in folds for i in held) == everything
    assert all(set(chosen) | set(held) == set(everything) and not set(chosen) & set(held) for chosen, held in folds)
    # Nothing large stays, here or in the cache.
    assert not (folder / "features").exists() and not (folder / "folds").exists()
    assert not list((tmp_path / "cache").rglob("*features*"))

    checkpoint = folder / "checkpoint"
    figures = json.loads((checkpoint / "metrics.json").read_text())
    assert figures["images"] == 13 and figures["folds"] == 5 and figures["accuracy"] > 0.8
    config = json.loads((checkpoint / "config.json").read_text())
    assert (config["title"], config["classes"], config["source"]) == ("Kain kami", ["nila", "soga"], "13 pictures")
    assert str(studio) not in json.dumps(config) and "held_loss" in (checkpoint / "history.csv").read_text()

    # In words, and only to whoever owns it.
    monkeypatch.setattr(processes, "state_of", lambda record: "finished")
    status = jobs.status(job)
    for language, word in (("en", "it had not seen"), ("id", "belum pernah dilihatnya")):
        assert word in recogniser.report(status, language) and "13" in recogniser.report(status, language)
    photo = str(next((classes / "soga").iterdir()))
    assert "<h3>Soga</h3>" in recogniser.recognise("ayu", job, photo)
    with pytest.raises(RunError, match="no such run"):
        recogniser.recognise("budi", job, photo)
    curve = watch.losses(recogniser.lines(status))
    assert set(curve["network"]) == {"learned from", "held back"}

    # In Classify at once, for its owner alone.
    own.register(jobs.own_models)
    mine = f"mine-{job[:8]}"
    assert [one.name for one in classify.classifiers("ayu")][-1] == mine
    assert mine not in str(classify.listed("budi")) + str(classify.listed("")) and "Kain kami" in str(
        classify.listed("ayu")
    )
    assert next(iter(classify.classify(photo, mine, "ayu"))) == "soga"
    assert "Soga" in classify.recognise(photo, mine, "ayu")[0]
    assert classify.many([(photo, "a.jpg")], mine, "ayu")[0].count("Soga") >= 1
    for stranger in ("budi", "", "session x"):
        for name in (mine, job, str(checkpoint)):
            with pytest.raises(CheckpointError):
                classify.classify(photo, name, stranger)
    jobs.rename(job, "Nama baru")
    assert "Nama baru" in str(classify.listed("ayu"))
    jobs.delete(job)
    assert mine not in str(classify.listed("ayu"))


@pytest.mark.timeout(600)
def test_stopped_at_any_moment_and_resumed_it_ends_the_same(classes: Path, idle, monkeypatch: pytest.MonkeyPatch):
    """One run is stopped three times: while it looks at the pictures, while it learns, and while it checks itself."""
    assert threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    alone, stopped = (records.folder_of(jobs.start(BASE, classes, {"steps": 20}, "ayu")) for _ in range(2))
    assert worker.train(alone, "") == "finished"
    # Stopped after 8 of its 20 steps it has 12 left, and then comes the eighth of the first check.
    for call, is_model in ((("__init__", 1), False), (("train_step", 8), True), (("train_step", 12 + 8), True)):
        with monkeypatch.context() as patched:
            patched.setattr(ClassifierTrainer, call[0], told_to_stop(*call))
            assert worker.train(stopped, "") == "stopped"
        assert (stopped / "checkpoint").is_dir() == is_model
        assert not (stopped / "checkpoint" / "metrics.json").exists()
    assert worker.train(stopped, "") == "finished"
    signal.signal(signal.SIGTERM, before)
    kept = ("accuracy", "loss", "images", "weights_sha256")
    one, other = (
        [json.loads((run / "checkpoint" / "metrics.json").read_text())[key] for key in kept] for run in (alone, stopped)
    )
    assert one == other
    one, other = ((run / "checkpoint" / "model.safetensors").read_bytes() for run in (alone, stopped))
    assert one == other


def told_to_stop(name: str, at: int):
    """A method of the trainer whose ``at``th call is preceded by the signal that stops a run."""
    original, seen = getattr(ClassifierTrainer, name), []

    def told(self, *arguments):
        seen.append(None)
        if len(seen) == at:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, *arguments)

    return told


@pytest.mark.timeout(300)
def test_a_real_process_trains_in_its_turn(classes: Path, pictures: list[Path]):
    first = jobs.start(BASE, classes, {"steps": 100_000}, "ayu")
    second = jobs.start("tiny", pictures, {"steps": 5000}, "ayu")
    watched = wait_for(lambda: (now := jobs.status(first)).step and now, 240)
    assert watched.state == "running" and watched.memory > 1e8 and jobs.status(second).state == "waiting"
    jobs.stop(first)
    ended = wait_for(
        lambda: (now := jobs.status(first)).state == "stopped" and now, processes.stop_seconds({"keeping": True}) + 5
    )
    assert records.read(first)["ended"] == {"how": "stopped"} and ended.checkpoint
    assert "Not measured yet" in recogniser.report(ended)
    assert jobs.status(second).state in ("running", "waiting")


def test_a_fine_tuned_generator_is_in_generate_for_its_owner_alone(studio: Path, pictures: list[Path], idle):
    from training.export import write_samples

    job = jobs.start("tiny", pictures, {"name": "Kain nenek"}, "ayu")
    own.register(jobs.own_models)
    mine = f"mine-{job[:8]}"
    assert mine not in str(generate.listed("ayu"))
    write_samples(make_base(studio / job / "checkpoint"))
    update, style = generate.listed("ayu")
    assert update["choices"][-1] == ("Kain nenek", mine) and style.count("--cloth") == 1
    assert len(generate.samples(mine, "ayu")) == generate.COUNT
    (one, _), *_ = generate.generate(mine, 2, 5, 1.0, "ayu")
    assert mine in one and job not in one
    assert len(generate.neighbours(mine, 5, 1.0, "ayu")) == generate.NEIGHBOURS
    for stranger in ("budi", ""):
        assert mine not in str(generate.listed(stranger))
        for ask in (generate.generate, generate.samples):
            with pytest.raises(CheckpointError):
                ask(mine, owner=stranger)
    # Loaded anew when it changes, and gone with its run.
    weights = studio / job / "checkpoint" / "model.safetensors"
    first = own.load(weights.parent)
    os.utime(weights, ns=(1, 1))
    assert own.load(weights.parent) is not first
    shutil.rmtree(weights.parent)
    with pytest.raises(CheckpointError):
        own.load(weights.parent)
    assert mine not in str(generate.listed("ayu"))


@pytest.mark.parametrize(
    ("environment", "off"),
    [
        ({"CANTING_TRAIN": "0"}, True),
        ({"SYSTEM": "spaces", "SPACE_ID": "a/b"}, True),
        ({"SYSTEM": "spaces", "SPACE_ID": "a/b", "CANTING_TRAIN": "1"}, False),
        ({"CANTING_TRAIN": "1"}, False),
        ({"CANTING_TRAIN": "nonsense"}, False),
        ({}, False),
    ],
)
def test_the_owner_turns_training_off(
    classes: Path, environment: dict[str, str], off: bool, idle, monkeypatch: pytest.MonkeyPatch
):
    first, waiting = (jobs.start(BASE, classes, owner="ayu") for _ in range(2))
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    if not off:
        assert tab.start_run(BASE, [str(zipped(classes.parent / "c.zip", classes))], {}, "ayu")
        return
    for act in (
        lambda: tab.start_run(BASE, [], {}, "ayu"),
        lambda: jobs.repeat(first, BASE, {}),
        lambda: jobs.resume(waiting),
        lambda: tab.begin(BASE, [], 100, "", "", "", False, "ayu", [None, 0, 0], None),
    ):
        with pytest.raises(RunError, match="CANTING_TRAIN=1") as caught:
            act()
        assert "dimatikan" in caught.value.say("id")
    # What goes on may end, but what waits does not begin.
    idle[0].kill()
    wait_for(lambda: jobs.status(first).state == "failed", 10)
    assert jobs.status(waiting).state == "waiting"
    monkeypatch.setenv("CANTING_TRAIN", "1")
    assert jobs.status(waiting).state == "running"


def test_what_was_kept_for_training_counts_against_the_limits(studio: Path, classes: Path, idle):
    job = jobs.start(BASE, classes, owner="ayu")
    before = retention.size(studio / job)
    (studio / job / "features").mkdir()
    (studio / job / "features" / "pass.safetensors").write_bytes(bytes(1000))
    assert retention.size(studio / job) == before + 1000


def test_a_zip_that_lies_about_its_names_is_refused(studio: Path, tmp_path: Path):
    evil = tmp_path / "evil.zip"
    with zipfile.ZipFile(evil, "w") as archive:
        archive.writestr("../../parang/1.png", b"x")
    with pytest.raises(DataError, match="outside its own folder"):
        jobs.start(BASE, evil)
