"""python -m training: settings, exports and refusals."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan import catalog, nets
from gan.checkpoint import DISCRIMINATOR, load_folder, load_weights, save
from gan.errors import RunError
from gan.nets.cgan import ConditionalGenerator
from gan.nets.fastgan import FastGANGenerator
from gan.results import history
from tests.training.conftest import make_pictures
from tests.training.test_loop import SMALL
from training import export as export_module
from training.__main__ import changed, main
from training.bases import trained_before
from training.export import export_run, write_history, write_samples
from training.processes import training_alone
from training.recipes import RECIPES, GanRecipe
from training.runs import Run, flatten, unflatten

RECIPE = GanRecipe(
    name="mnist-cgan",
    report="R5",
    source="mnist:train",
    network="cgan",
    network_args={"latent_size": 4, "width": 4},
    discriminators={"cgan": {}},
    resolution=28,
    channels=1,
)


def run(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr("sys.argv", ["training", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        main()
    return end.value.code or 0


def test_settings_change_fields_and_keep_their_types() -> None:
    recipe = changed(RECIPE, ["batch=16", "rate_g=1e-3", "flip=True", "augment=('color',)", "start=batik-parang"])
    assert (recipe.batch, recipe.rate_g, recipe.flip, recipe.augment) == (16, 1e-3, True, ("color",))
    assert recipe.start == "batik-parang" and RECIPE.batch == 8


def test_other_steps_leave_the_smaller_sides_their_share():
    recipe = RECIPES["batik-megamendung"]
    assert (recipe.steps, recipe.low_steps, recipe.lowest_steps) == (20_000, 18_000, 12_000)
    short = changed(recipe, ["steps=500"])
    assert (short.steps, short.low_steps, short.lowest_steps) == (500, 450, 300)
    own = changed(recipe, ["steps=500", "low_steps=0", "lowest_steps=0"])
    assert (own.steps, own.low_steps, own.lowest_steps) == (500, 0, 0)


def test_every_recipe_fits_the_model_that_it_starts_from() -> None:
    begun = [recipe for recipe in RECIPES.values() if isinstance(recipe, GanRecipe) and recipe.start]
    assert {recipe.name for recipe in begun} >= {"batik-kawung", "batik-kawung-report"}
    for recipe in begun:
        network = nets.build(nets.GENERATORS, recipe.network, recipe.network_args)
        load_weights(network, catalog.find(recipe.start) / "model.safetensors")


def test_a_start_of_another_shape_is_refused(studio: Path, tmp_path: Path) -> None:
    from training.data.pictures import PictureSet
    from training.loop import GanTrainer

    recipe = dataclasses.replace(SMALL, network="fastgan", network_args={"resolution": 64, "width": 8}, resolution=64)
    recipe = dataclasses.replace(recipe, discriminators={"patch": {}}, start="tiny")
    with pytest.raises(RunError, match=r"start \(tiny, fastgan .* and network, network_args \(.*'width': 8"):
        GanTrainer(recipe, PictureSet(torch.zeros(4, 3, 64, 64, dtype=torch.uint8)), Run(tmp_path / "run"))


def test_a_list_will_do_where_a_recipe_has_a_tuple():
    assert changed(RECIPE, ['augment=["color", "cutout"]']).augment == ("color", "cutout")
    assert RECIPE.crop is None and changed(RECIPE, ["crop=[0.9, 1.0]"]).crop == (0.9, 1.0)


def test_none_will_do_where_a_recipe_may_have_none():
    assert RECIPES["batik-parang"].crop and changed(RECIPES["batik-parang"], ["crop=None"]).crop is None
    with pytest.raises(RunError, match="batch cannot be None"):
        changed(RECIPE, ["batch=None"])


@pytest.mark.parametrize(
    "setting", ["batch", "size=3", "=3", "batch=many", "batch=2.5", "seed=True", "augment=3", "network_args=[1]"]
)
def test_settings_that_do_not_fit_are_refused(setting: str) -> None:
    with pytest.raises(RunError):
        changed(RECIPE, [setting])


def test_every_recipe_survives_its_run_file(tmp_path: Path) -> None:
    from training import recipes
    from training.start import from_json

    for name, recipe in RECIPES.items():
        Run(tmp_path / name).create(recipe)
        stored = Run(tmp_path / name).read()
        assert from_json(getattr(recipes, stored["kind"]), stored["recipe"]) == recipe


def test_a_second_run_in_one_folder_is_refused(tmp_path: Path) -> None:
    Run(tmp_path).create(RECIPE)
    with pytest.raises(RunError, match="already holds a run"):
        Run(tmp_path).create(RECIPE)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["fit", "batik"], "There is no recipe called batik."),
        (["fit", "mnist-cgan", "--set", "speed=9"], "speed=9 is no setting"),
        (["resume", "nowhere"], "holds no run that can be read"),
        (["export", "nowhere"], "holds no run that can be read"),
        (["evaluate", "nothing"], "There is no model called nothing."),
        (["report", "--language", "xx"], "The languages are en, id."),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_an_exit_code(monkeypatch, capsys, tmp_path, words, sentence) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CANTING_RUNS", str(tmp_path / "runs"))
    assert run(monkeypatch, *words) == 1
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_cannot_be_read_hides_no_other(monkeypatch, capsys, tmp_path: Path) -> None:
    monkeypatch.setenv("CANTING_RUNS", str(tmp_path))
    for name in ("a", "b", "c"):
        Run(tmp_path / name).create(RECIPE)
    for content in ("{", "{}", "[]", '{"recipe": 1}', '{"recipe": {"name": 2}, "kind": "GanRecipe"}', "[" * 100_000):
        (tmp_path / "b" / "run.json").write_text(content)
        assert run(monkeypatch, "runs") == 0
        told = capsys.readouterr()
        assert [line.split()[0] for line in told.out.splitlines()] == ["a", "c"] and "holds no run" in told.err


def test_a_place_where_nothing_can_be_written_gets_one_sentence(monkeypatch, capsys, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "cloths").mkdir()
    words = [("report", "--out", tmp_path), ("report", "--out", tmp_path / "file" / "x.md")]
    words += [("fit", RECIPE.name, "--run", tmp_path / place) for place in ("file", "file/run", "x" * 300)]
    for one in words:
        assert run(monkeypatch, *one) == 1
        told = capsys.readouterr().err
        assert "cannot be written: something else has that name" in told and told.count("\n") == 1


def test_a_run_that_another_process_trains_is_left_to_it(monkeypatch, capsys, tmp_path: Path) -> None:
    make_pictures(tmp_path / "cloths")
    folder = tmp_path / "run"
    Run(folder).create(dataclasses.replace(SMALL, source=str(tmp_path / "cloths"), steps=1))
    half_written = folder / ".tmpd3wo9f"
    half_written.touch()
    with training_alone(folder):
        assert run(monkeypatch, "resume", folder) == 1
    assert f"Another process trains the run in {folder}: " in capsys.readouterr().err
    assert not Run(folder).state_file.exists() and half_written.exists()
    assert run(monkeypatch, "resume", folder) == 0 and Run(folder).load_state()["step"] == 1
    assert not half_written.exists()


def test_missing_data_names_the_folder_and_the_command(monkeypatch, capsys, tmp_path: Path) -> None:
    monkeypatch.setenv("CANTING_DATA", str(tmp_path / "data"))
    assert run(monkeypatch, "fit", "batik-parang", "--run", tmp_path / "run") == 1
    error = capsys.readouterr().err
    assert str(tmp_path / "data" / "batik-gan" / "batik-parang") in error
    assert "python -m training fetch batik-gan" in error
    # The same command may be given again, once they are there.
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "value",
    [
        {"a": torch.arange(3), "b": {"c": [torch.ones(2, 2), 1, "x"], "d": None}, "e": 1.5},
        [torch.zeros(0), {}, [], True],
        torch.optim.Adam([torch.nn.Parameter(torch.ones(2))]).state_dict(),
    ],
)
def test_states_survive_flattening(value) -> None:
    again = unflatten(*flatten(value))
    assert json.dumps(flatten(again)[1]) == json.dumps(flatten(value)[1])
    for name, tensor in flatten(value)[0].items():
        assert torch.equal(flatten(again)[0][name], tensor)


def test_a_kill_while_saving_leaves_the_state_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(tmp_path)
    run.save_state({"step": 1, "w": torch.ones(2)})

    def full(*_, **__):
        raise OSError("No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(OSError, match="No space"):
        run.save_state({"step": 2, "w": torch.zeros(2)})
    assert run.load_state()["step"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["state.safetensors"]


def test_a_cut_off_line_of_metrics_is_left_out_and_later_ones_forgotten(tmp_path: Path) -> None:
    run = Run(tmp_path)
    for step in (10, 20, 30):
        run.add_metrics(step=step, seconds=step, images=step, d_loss=0.5)
    with run.metrics_file.open("a") as file:
        file.write('{"step": 40, "sec')
    assert [line["step"] for line in run.metrics()] == [10, 20, 30]
    run.forget_after(20)
    assert [line["step"] for line in run.metrics()] == [10, 20]


def test_what_was_made_after_the_state_that_is_taken_up_goes(tmp_path: Path) -> None:
    """Another training's, if the run was rolled back; and export would take it for the newest."""
    run = Run(tmp_path)
    (tmp_path / "samples").mkdir()
    for step in (5, 6, 7):
        run.save_snapshot(step, {"w": torch.ones(2)}, {"w": torch.ones(2)})
        (tmp_path / "samples" / f"step-{step:06d}.png").touch()
    run.forget_after(6)
    left = {path.name for folder in ("snapshots", "samples") for path in (tmp_path / folder).iterdir()}
    kinds = ("step-{}.safetensors", "discriminator-{}.safetensors", "step-{}.png")
    assert left == {kind.format(f"{step:06d}") for kind in kinds for step in (5, 6)}


@pytest.mark.parametrize("leave", [lambda run: run.add_metrics(step=1), lambda run: run.save_state({"step": 1})])
def test_a_training_that_has_begun_is_not_taken_back(tmp_path: Path, leave) -> None:
    run = Run(tmp_path / "run")
    run.create(RECIPE)
    leave(run)
    run.discard()
    assert run.read()["recipe"]["name"] == RECIPE.name


def test_a_refused_training_takes_nothing_from_a_folder_that_was_there(monkeypatch, tmp_path: Path) -> None:
    mine = tmp_path / "run" / "log.txt"
    mine.parent.mkdir()
    mine.write_text("mine\n")
    assert run(monkeypatch, "fit", "mnist-cgan", "--run", mine.parent, "--set", f"source={tmp_path / 'none'}") == 1
    assert mine.read_text().startswith("mine\n") and [path.name for path in mine.parent.iterdir()] == ["log.txt"]


def finished(folder: Path, **kid: float) -> Run:
    """A run of the small recipe with snapshots at steps 10 and 20."""
    run = Run(folder)
    run.create(RECIPE)
    for step in (10, 20):
        torch.manual_seed(step)
        run.save_snapshot(step, ConditionalGenerator(4, 4).state_dict())
        figures = {"kid": kid[f"at{step}"]} if kid else {}
        run.add_metrics(step=step, seconds=60.0 * step, images=step * 8, d_loss=1.0, **figures)
    return run


def test_export_takes_the_newest_snapshot_and_writes_a_checkpoint(tmp_path: Path) -> None:
    finished(tmp_path / "run")
    folder = export_run(tmp_path / "run", tmp_path / "digits")
    config, network = load_folder(folder)
    assert config["step"] == 20 and config["classes"] == list("0123456789") and network.width == 4
    names = {path.name for path in folder.iterdir()}
    assert names == {"config.json", "model.safetensors", "history.csv", "samples.png", "README.md"}
    rows = (folder / "history.csv").read_text().splitlines()
    assert rows == ["step,minutes,images,d_loss", "10,10.0,80,1.0", "20,20.0,160,1.0"]


def test_the_grid_of_samples_shows_the_seeds_row_by_row(tmp_path: Path) -> None:
    network = ConditionalGenerator(4, 4)
    # As initialised, all pictures are the same grey.
    with torch.no_grad():
        for weights in network.parameters():
            weights *= 8
    arguments = {"latent_size": 4, "width": 4}
    config = {"kind": "generator", "network": "cgan", "arguments": arguments, "resolution": 28}
    folder = save(tmp_path / "digits", network.state_dict(), config)
    write_samples(folder)
    model = catalog.load(folder)

    def grey(picture: Image.Image) -> np.ndarray:
        return np.asarray(picture.convert("L")).astype(int)

    with Image.open(folder / "samples.png") as grid:
        cells = [grid.crop((x, y, x + 28, y + 28)) for y in range(0, 280, 28) for x in range(0, 280, 28)]
    for seed in (0, 3, 30, 47, 99):
        (picture,) = model.sample(1, seed)
        off = [np.abs(grey(cell) - grey(picture)).max() for cell in cells]
        assert off[seed] <= 1 and sorted(off)[1] > 5


def test_an_export_brings_back_what_a_killed_one_had_set_aside(tmp_path: Path) -> None:
    finished(tmp_path / "run")
    folder = export_run(tmp_path / "run", tmp_path / "digits")
    (folder / "notes.txt").write_text("mine")
    room = tmp_path / ".digits.abc_1234"
    room.mkdir()
    folder.rename(room / "before")
    os.utime(room, (0, 0))
    export_run(tmp_path / "run", folder)
    assert (folder / "notes.txt").read_text() == "mine" and not room.exists()


@pytest.mark.parametrize(
    ("name", "report", "there"),
    [("batik-parang", "R1", True), ("batik-parang-report", "R1", False), ("small", "R4", False)],
)
def test_discriminators_ship_where_fine_tuning_begins_with_them(tmp_path: Path, name: str, report: str, there: bool):
    network = {"resolution": 64, "width": 4}
    changes = {"name": name, "report": report, "network": "fastgan", "network_args": network, "resolution": 64}
    run = Run(tmp_path / "run")
    run.create(dataclasses.replace(SMALL, **changes))
    run.save_snapshot(1, FastGANGenerator(**network).state_dict(), {"judge.weight": torch.ones(2)})
    assert (export_run(run.folder, tmp_path / name) / DISCRIMINATOR).is_file() is there


def test_another_model_in_the_same_folder_takes_over_no_figures(tmp_path: Path) -> None:
    finished(tmp_path / "run")
    folder = export_run(tmp_path / "run", tmp_path / "digits")
    (folder / "notes.txt").write_text("mine")
    for name in ("metrics.json", "confusion.csv", "nearest.csv", "rejection.safetensors", "discriminator.safetensors"):
        (folder / name).write_text('{"fid": 12.3}')
    export_run(tmp_path / "run", folder)
    names = {path.name for path in folder.iterdir()}
    assert names == {"config.json", "model.safetensors", "history.csv", "samples.png", "README.md", "notes.txt"}
    assert "12.3" not in (folder / "README.md").read_text()


def test_an_export_that_fails_leaves_the_model_that_was_there(tmp_path: Path, monkeypatch) -> None:
    finished(tmp_path / "run")
    folder = export_run(tmp_path / "run", tmp_path / "digits")
    (folder / "metrics.json").write_text('{"fid": 12.3}')
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for error in (KeyboardInterrupt, OSError(28, "No space left on device")):
        with monkeypatch.context() as patch, pytest.raises((KeyboardInterrupt, OSError)):
            patch.setattr(export_module, "write_samples", lambda *_, error=error: (_ for _ in ()).throw(error))
            export_run(tmp_path / "run", folder)
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
        assert [path.name for path in tmp_path.glob(".*")] == []


def test_an_export_takes_no_folder_of_other_files(tmp_path: Path) -> None:
    finished(tmp_path / "run")
    mine = tmp_path / "thesis"
    mine.mkdir()
    (mine / "README.md").write_text("# my thesis")
    for target in (mine, mine / "README.md"):
        with pytest.raises(RunError, match="holds files and no model"):
            export_run(tmp_path / "run", target)
    assert [path.read_text() for path in mine.iterdir()] == ["# my thesis"]
    (tmp_path / "empty").mkdir()
    assert (export_run(tmp_path / "run", tmp_path / "empty") / "config.json").is_file()


@pytest.mark.parametrize(("lines", "rows"), [(400, 400), (401, 202), (799, 401), (4000, 401)])
def test_a_long_history_is_thinned(tmp_path: Path, lines: int, rows: int) -> None:
    run = Run(tmp_path)
    run.create(RECIPE)
    run.metrics_file.write_text("".join(f'{{"step": {i}, "seconds": 1, "images": 8}}\n' for i in range(lines)))
    write_history(run, tmp_path / "history.csv", lines)
    kept = history(tmp_path / "history.csv")
    assert abs(len(kept) - rows) <= 1 and kept[-1]["step"] == lines - 1


def test_a_thinned_history_keeps_what_was_measured(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.create(RECIPE)
    for i in range(1000):
        run.add_metrics(step=i, seconds=1, images=8, **({"kid": 0.1} if i % 250 == 101 else {}))
    write_history(run, tmp_path / "history.csv", 1000)
    rows = history(tmp_path / "history.csv")
    assert [row["step"] for row in rows if "kid" in row] == [101, 351, 601, 851] and len(rows) < 500


def test_minutes_go_on_from_those_of_the_model_that_a_run_began_with(monkeypatch, tmp_path: Path) -> None:
    finished(tmp_path / "run")
    base = export_run(tmp_path / "run", tmp_path / "digits")
    for digit in range(10):
        make_pictures(tmp_path / "pictures" / str(digit), 1, "L")
    changes = {
        "source": tmp_path / "pictures",
        "start": base,
        "network_args": RECIPE.network_args,
        "discriminators": RECIPE.discriminators,
        "batch": 2,
        "snapshot_every": 1,
    }
    words = [word for key, value in changes.items() for word in ("--set", f"{key}={value}")]
    assert run(monkeypatch, "fit", "mnist-cgan", "--run", tmp_path / "more", "--steps", "1", *words) == 0
    (first,) = history(export_run(tmp_path / "more", tmp_path / "taught") / "history.csv")
    assert first["step"] == 1 and 20 <= first["minutes"] < 21
    assert trained_before(str(tmp_path / "taught")) == {"minutes_before": first["minutes"]}
    assert trained_before("") == {}


def test_export_takes_the_best_snapshot_where_they_were_measured(tmp_path: Path) -> None:
    finished(tmp_path / "run", at10=0.01, at20=0.5)
    folder = export_run(tmp_path / "run", tmp_path / "digits")
    assert json.loads((folder / "config.json").read_text())["step"] == 10
    with pytest.raises(RunError, match="no snapshot of step 15"):
        export_run(tmp_path / "run", tmp_path / "digits", step=15)


def test_a_recipe_as_written_is_kept_in_eight_bits(tmp_path: Path) -> None:
    network = {"resolution": 64, "width": 4}
    made = {}
    for name in ("batik-parang", "batik-parang-report"):
        run = Run(tmp_path / "runs" / name)
        run.create(dataclasses.replace(SMALL, name=name, network="fastgan", network_args=network, resolution=64))
        torch.manual_seed(0)
        run.save_snapshot(1, FastGANGenerator(**network).state_dict())
        made[name] = export_run(run.folder, tmp_path / name)
    best, report = (folder / "model.safetensors" for folder in made.values())
    assert report.stat().st_size < 0.6 * best.stat().st_size
    ours, theirs = (load_folder(folder)[1].eval() for folder in made.values())
    latent = torch.randn(4, 256)
    with torch.no_grad():
        torch.testing.assert_close(theirs(latent), ours(latent), rtol=0, atol=0.05)


def test_export_lets_latents_count_longer_where_the_network_can(tmp_path: Path) -> None:
    finished(tmp_path / "digits")
    with pytest.raises(RunError, match="Latents of cgan cannot count 1.3 times"):
        export_run(tmp_path / "digits", tmp_path / "made", latents=1.3)
    assert not (tmp_path / "made").exists()
    made = []
    network = {"resolution": 64, "width": 4, "noise": False, "styled": True}
    run = Run(tmp_path / "cloths")
    run.create(dataclasses.replace(SMALL, network="fastgan", network_args=network, resolution=64))
    generator = FastGANGenerator(**network)
    for block in generator.blocks.values():
        torch.nn.init.normal_(block.style.weight, std=0.3)
    run.save_snapshot(1, generator.state_dict())
    for latents in (0.0, -1.3, math.inf, math.nan):
        with pytest.raises(RunError, match=f"cannot count {latents} times"):
            export_run(run.folder, tmp_path / "made", latents=latents)
    for latents in (1.0, 1.3):
        folder = export_run(run.folder, tmp_path / str(latents), latents=latents)
        made.append(load_folder(folder)[1].eval())
        assert ("1.3 times as long" in (folder / "README.md").read_text()) == (latents == 1.3)
    drawn = torch.randn(2, 256)
    with torch.no_grad():
        torch.testing.assert_close(made[1](drawn), made[0](1.3 * drawn), rtol=0, atol=0.01)  # stored as halves


def test_fields_that_do_not_fit_are_refused_before_the_first_step(tmp_path: Path) -> None:
    from training.data.pictures import PictureSet
    from training.loop import GanTrainer

    recipe = dataclasses.replace(RECIPE, low_steps=5)
    with pytest.raises(RunError, match=r"low_steps \(5\) and resolution, network_args, discriminators"):
        GanTrainer(recipe, PictureSet(torch.zeros(4, 1, 28, 28, dtype=torch.uint8)), Run(tmp_path))
