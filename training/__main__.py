"""python -m training: recipes, fetch, audit, fit, remote, resume, runs, stop, export, evaluate, report, bench."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from gan.command_line import run as run_command_line
from gan.errors import RequestError, RunError
from gan.settings import runs_folder
from gan.texts import LANGUAGES
from training.allocator import keep_memory
from training.bases import trained_before
from training.place import DEFAULT_TIMEOUT, Place
from training.recipes import RECIPES, GanRecipe

app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.callback()
def begin() -> None:
    """Train, resume and measure Canting's models."""
    keep_memory()


@app.command()
def recipes() -> None:
    """List what can be trained."""
    for name, recipe in RECIPES.items():
        typer.echo(f"{name:24} {recipe.report:3} {recipe.source:28} {recipe.about}")


@app.command()
def fetch(name: str) -> None:
    """Download a data set into CANTING_DATA."""
    from training.data.fetch import fetch as fetch_source

    typer.echo(fetch_source(name))


@app.command()
def audit(
    folder: Path,
    out: Annotated[
        Path | None, typer.Option(help="Where the report, manifests and contact sheet go; outside the repository.")
    ] = None,
) -> None:
    """Look for unreadable files, near-duplicates and pictures that are not flat cloth."""
    from collections import Counter

    from training.audit import audit as look
    from training.audit import check_enough, write

    findings = look(folder)
    for kind, count in sorted(Counter(f"{one.format} {one.mode}" for one in findings).items()):
        typer.echo(f"{kind:24} {count}")
    for rule, count in sorted(Counter(one.rule or "keep" for one in findings).items()):
        typer.echo(f"{rule:24} {count}")
    if out:
        write(findings, folder, out)
    check_enough(findings, folder)


@app.command()
def fit(
    name: Annotated[str, typer.Argument(help="A recipe, see `recipes`.")],
    run: Annotated[
        Path | None, typer.Option(help="The run's folder; a new one under CANTING_RUNS when absent.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Length of the whole training.")] = None,
    set: Annotated[list[str] | None, typer.Option("--set", help="Change a field of the recipe: key=value.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads to use.")] = None,
) -> None:
    """Train a recipe from its beginning. Ctrl-C or SIGTERM saves and ends.

    On several GPUs or machines: ``accelerate launch -m training fit …``; each process sees the recipe's batch.
    """
    if name not in RECIPES:
        raise RunError("error.run.recipe", name=name, known=", ".join(RECIPES))
    recipe = changed(RECIPES[name], [*(set or []), *([] if steps is None else [f"steps={steps}"])])
    from training.runs import Run

    folder = run or runs_folder() / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    # Of several processes the first makes the run, and says which it is.
    from accelerate.utils import broadcast_object_list

    from training.start import processes

    if processes().is_main_process:
        facts = trained_before(recipe.start) if isinstance(recipe, GanRecipe) else {}
        new = Run(folder)
        new.create(recipe, started=time.time(), **facts)
    (folder,) = broadcast_object_list([folder])
    try:
        train(folder, threads)
    except BaseException:
        # What was refused before its first step is no run: the same command, mended, may have its place.
        if processes().is_main_process:
            new.discard()
        raise


@app.command()
def remote(
    base: Annotated[str, typer.Argument(help="The model to start from.")],
    pictures: Annotated[Path, typer.Argument(help="A folder or a zip of 10 to 500 pictures.")],
    on: Annotated[str, typer.Option(help="Hardware of Hugging Face Jobs; `hf jobs hardware` lists it.")],
    timeout: Annotated[str, typer.Option(help="What the job may take, such as 90m or 2h.")] = DEFAULT_TIMEOUT,
    steps: Annotated[int | None, typer.Option(help="Length of the whole training.")] = None,
    name: Annotated[str, typer.Option(help="The run's name.")] = "",
) -> None:
    """Fine-tune a model on Hugging Face Jobs, billed to your account, and bring the result here.

    Ctrl-C cancels the job and keeps what it has learned; `resume` goes on from there.
    """
    from training import jobs

    settings = {"name": name} | ({} if steps is None else {"steps": steps})
    show(jobs.start(base, pictures, settings, place=Place(flavor=on, timeout=timeout)))


@app.command()
def resume(
    run: Path,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads to use.")] = None,
    to: Annotated[
        str | None,
        typer.Option(metavar="OWNER/NAME", help="This run's own repository, to push it to while it trains."),
    ] = None,
) -> None:
    """Go on with a run from its last saved state; one that the app began as the app would, also on Hugging Face
    Jobs."""
    from training import jobs

    here = run.resolve()
    if here.parent == runs_folder().resolve() and (here / "job.json").is_file():
        if threads or to:
            raise RunError("error.job.options")
        shown = (here / "log.txt").stat().st_size if (here / "log.txt").exists() else 0
        jobs.resume(here.name)
        show(here.name, shown)
    else:
        train(run, threads, to)


@app.command()
def runs() -> None:
    """List the runs under CANTING_RUNS."""
    from training.runs import Run

    root = runs_folder()
    for folder in sorted(root.iterdir()) if root.is_dir() else ():
        if (folder / "run.json").exists():
            try:
                recipe = Run(folder).read()["recipe"]
            except RunError as error:
                typer.echo(f"{folder.name:40} {error}", err=True)
                continue
            done = (Run(folder).metrics() or [{"step": 0}])[-1]["step"]
            typer.echo(f"{folder.name:40} {recipe['name']:24} step {done} of {recipe.get('steps', '?')}")


@app.command()
def stop() -> None:
    """Let all trainings that the app began save and end, and empty their queue. Closing the app leaves them going."""
    from training import jobs

    typer.echo(f"{jobs.stop_all()} stopped.")


@app.command()
def export(
    run: Path,
    folder: Annotated[Path | None, typer.Option(help="Checkpoint folder; checkpoints/<recipe> when absent.")] = None,
    step: Annotated[
        int | None, typer.Option(help="Which snapshot; the best by KID, else the last, when absent.")
    ] = None,
    latents: Annotated[
        float, typer.Option(help="How long latents count, compared with the training's: above 1 for more variety.")
    ] = 1.0,
) -> None:
    """Make a checkpoint folder of a run."""
    from training.export import export_run

    typer.echo(export_run(run, folder, step, latents))


@app.command()
def bench(
    kills: Annotated[int, typer.Option(help="Instead: kill trainings so often at random moments, and resume.")] = 0,
) -> None:
    """Seconds a training step of the batik recipe takes on this machine."""
    if kills:
        from training.endurance import endurance

        typer.echo(endurance(kills))
        return
    from training.bench import bench as measure

    typer.echo(measure())


@app.command()
def evaluate(
    name: str,
    samples: Annotated[int | None, typer.Option(min=5, help="Generated pictures to measure with.")] = None,
) -> None:
    """Measure a checkpoint and write its metrics.json and model card."""
    from training.evaluate import evaluate as measure

    for key, value in measure(name, samples=samples).items():
        typer.echo(f"{key:24} {value}")


@app.command()
def report(
    out: Annotated[Path | None, typer.Option(help="Write the comparison to this file, too.")] = None,
    language: Annotated[str, typer.Option(help="en or id.")] = "en",
) -> None:
    """Compare the five reports with what was measured here, as Markdown."""
    from training.report import report as compare

    if language not in LANGUAGES:
        raise RequestError("error.request.language", known=", ".join(LANGUAGES))
    typer.echo(compare(out, language), nl=False)


def changed(recipe: Any, settings: list[str]) -> Any:
    """``recipe`` with fields replaced by ``key=value`` texts, values read as Python literals or else as text.

    With other ``steps`` those at smaller sides keep their share, unless they are given too.

    Raises:
        RunError: for a setting that names no field, or whose value is of another type than the field's.
    """
    fields = {field.name: str(field.type) for field in dataclasses.fields(recipe)}
    values: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or key not in fields:
            raise RunError("error.run.setting", setting=setting, known=", ".join(sorted(fields)))
        try:
            values[key] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            values[key] = text
        present = getattr(recipe, key)
        if fields[key].startswith("tuple") and isinstance(values[key], list):
            values[key] = tuple(values[key])
        if values[key] is None and fields[key].endswith("| None"):
            continue
        if type(present) is float and type(values[key]) is int:
            values[key] = float(values[key])
        if present is not None and type(values[key]) is not type(present):
            raise RunError("error.run.value", key=key, value=text, kind=type(present).__name__)
    if "steps" in values and isinstance(recipe, GanRecipe):
        for key in ("low_steps", "lowest_steps"):
            values.setdefault(key, getattr(recipe, key) * values["steps"] // recipe.steps)
    return dataclasses.replace(recipe, **values)


def train(folder: Path, threads: int | None, to: str | None = None) -> None:
    """Run or continue the training in ``folder``, with a progress bar, until its last step or a signal to stop.

    Raises:
        RunError: when another process trains it.
        HubError: when at the end the run cannot be pushed ``to`` its repository.
    """
    import torch
    from tqdm import tqdm

    if threads:
        torch.set_num_threads(threads)
    from training.loop import Stopped
    from training.processes import training_alone
    from training.start import everywhere, prepare, processes

    first = processes().is_main_process
    trainer = prepare(folder)
    pushing = None
    if to and first:
        from training.pushing import Pushing, push_run

        pushing = Pushing(folder, lambda: push_run(folder, to), note_push)
    if first:
        log_to(folder / "log.txt")
    logging.info("process %d trains %s", os.getpid(), trainer.recipe.name)
    stopping: list[int] = []
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, lambda number, frame: stopping.append(number))
    per_step = trainer.pictures_per_step
    # Lines in a log, a bar on a terminal.
    bar = tqdm(
        total=trainer.recipe.steps * per_step,
        unit="img",
        unit_scale=True,
        file=sys.stderr,
        mininterval=0.5 if sys.stderr.isatty() else 30,
        disable=not first,
    )

    def on_step(trainer: Any, values: dict[str, float]) -> None:
        bar.update(trainer.step * per_step - bar.n)
        if trainer.step % 50 == 0:
            losses = "  ".join(f"{key} {value:.3f}" for key, value in values.items())
            logging.info("step %d of %d  %s", trainer.step, trainer.recipe.steps, losses)
        if pushing and pushing.due():
            pushing.attempt()
        # Several processes end at the same step, or those that went on would wait for ever.
        if not everywhere(trainer.accelerator, not stopping):
            raise Stopped

    with training_alone(folder) if first else contextlib.nullcontext():
        if first:
            trainer.run.clear_up()
        trainer.train(on_step)
    bar.close()
    logging.info("%s at step %d", "stopped" if stopping else "finished", trainer.step)
    if pushing:
        pushing.finish()


def show(job: str, shown: int = 0) -> None:
    """Print a job's log from byte ``shown`` on until the job ends; Ctrl-C stops it. Exits with 1 when it failed."""
    from training import jobs, processes, records

    with (records.folder_of(job) / "log.txt").open(encoding="utf-8", errors="replace") as log:
        log.seek(shown)
        while True:
            try:
                # Asked first: what it says before it ends is then in the log.
                status = jobs.status(job)
                typer.echo(log.read(), nl=False)
                if status.state not in processes.ACTIVE:
                    break
                time.sleep(1)
            except KeyboardInterrupt:
                jobs.stop(job)
    typer.echo(status.reason or f"{status.state} at step {status.step}: {status.checkpoint or records.folder_of(job)}")
    if status.state == "failed":
        raise typer.Exit(1)


def note_push(made: Any) -> None:
    """What came of a push, in the log."""
    from gan import hub

    logging.info("%s", made if isinstance(made, Exception) else hub.summary("The run", made))


def log_to(path: Path) -> None:
    """Send log lines to a file as well as to standard error."""
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(message)s",
        datefmt="%Y-%m-%d %H:%M:%S",
        handlers=[logging.FileHandler(path), logging.StreamHandler(sys.stderr)],
    )
    # A line for every request to the Hub would bury the others.
    for client in ("httpx", "httpx2"):
        logging.getLogger(client).setLevel(logging.WARNING)


def main() -> None:
    """The command line."""
    run_command_line(app)


if __name__ == "__main__":
    main()
