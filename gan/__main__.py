"""python -m gan: list, sample, classify, bench, push, pull, deploy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from gan.command_line import run
from gan.errors import CantingError, CheckpointError, RequestError
from gan.texts import say

# Local variables in a traceback could be a token.
app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    help="Use Canting's models from the command line.",
)


@app.command("list")
def list_models(
    markdown: Annotated[bool, typer.Option("--markdown", help="The table of the README, with every figure.")] = False,
) -> None:
    """List the models at hand."""
    from gan.catalog import entries

    if markdown:
        from gan.card import results_table

        typer.echo(results_table())
        return
    for one in entries():
        figures = {k: v for k, v in one.metrics.items() if k in ("fid", "kid", "accuracy", "digit_accuracy")}
        shown = "  ".join(f"{key} {value:.4g}" for key, value in figures.items())
        typer.echo(f"{one.name:24} {one.kind:11} {one.resolution:4}  {one.title:28} {shown}".rstrip())


def of_kind(kind: str, model: str) -> Any:
    """The model, a "generator" or a "classifier" as asked. Raises CheckpointError as ``load``, or for another kind."""
    from gan.catalog import entries, load

    loaded = load(model)
    if loaded.config["kind"] != kind:
        known = ", ".join(one.name for one in entries(kind)) or "-"
        raise CheckpointError("error.checkpoint.kind", name=model, known=known)
    return loaded


@app.command()
def sample(
    model: str,
    count: Annotated[
        int | None, typer.Option(help="How many pictures, 1 to 64; one, or one a digit, when absent.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The first picture's seed; the others follow.")] = 0,
    truncation: Annotated[float, typer.Option(help="0 (the average) to 1.5; 1 is what was trained.")] = 1.0,
    labels: Annotated[str, typer.Option(help="Digits to draw, such as 2026.")] = "",
    out: Annotated[Path, typer.Option(help="Folder for the PNG files.")] = Path("."),
) -> None:
    """Write pictures as PNG files that carry their model, seed, truncation and version."""
    from gan.files import atomic
    from gan.pictures import metadata, png_bytes
    from gan.sampling import MAX_COUNT, MAX_SEED

    if labels and not labels.isdecimal():
        raise RequestError("error.request.digits", most=MAX_COUNT)
    chosen = [int(digit) for digit in labels] or None
    generator = of_kind("generator", model)
    pictures = generator.sample(count, seed, truncation, chosen)
    for i, picture in enumerate(pictures):
        drawn = (seed + i) % (MAX_SEED + 1)
        facts = {"model": generator.name, "seed": drawn, "truncation": truncation}
        facts |= {"digit": chosen[i]} if chosen else {}
        path = out / f"{generator.name}-{drawn}{f'-digit-{chosen[i]}' if chosen else ''}.png"
        with atomic(path) as temporary:
            temporary.write_bytes(png_bytes(picture, metadata(**facts)))
        typer.echo(path)


@app.command()
def classify(
    photos: list[Path],
    model: Annotated[str, typer.Option(help="A classifier, see `list`.")] = "batik-best-20",
    top: Annotated[int, typer.Option(help="How many labels to show.")] = 3,
) -> None:
    """Name the motif on photos. A photo that cannot be read is named, the others are still answered."""
    classifier = of_kind("classifier", model)
    failed = False
    for photo in photos:
        try:
            answer = classifier.classify(photo, top=top)
        except CantingError as error:
            failed = True
            typer.echo(f"{photo}: {error}", err=True)
            continue
        doubt = "not batik? " if answer.batik is False else "" if answer.sure else "unsure: "
        typer.echo(f"{photo}: {doubt}" + "  ".join(f"{label} {probability:.1%}" for label, probability in answer))
    if failed:
        raise typer.Exit(1)


@app.command()
def bench() -> None:
    """Measure start-up, sampling, classification and memory on this machine."""
    from gan.bench import bench as measure

    typer.echo(measure())


@app.command()
def push(
    model: str,
    repository: Annotated[str, typer.Argument(metavar="OWNER/NAME")],
    private: Annotated[
        bool | None, typer.Option("--private/--public", help="Who may see it; a new repository is private.")
    ] = None,
    licence: Annotated[str | None, typer.Option(help="The Hub's name of one, such as cc-by-4.0.")] = None,
    message: Annotated[str | None, typer.Option(help="The revision's title.")] = None,
    data: Annotated[str | None, typer.Option(help="For the card: what it was trained with.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite what others changed there.")] = False,
) -> None:
    """Publish a model, by name or folder, as a new revision on the Hugging Face Hub."""
    from gan import hub

    made = hub.push(model, repository, private=private, licence=licence, message=message, data=data, force=force)
    typer.echo(hub.summary(model, made))


@app.command()
def pull(
    repository: Annotated[str, typer.Argument(metavar="OWNER/NAME")],
    name: Annotated[str | None, typer.Option(help="The model's name here; else the repository's.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a model of that name.")] = False,
) -> None:
    """Fetch a model from the Hugging Face Hub into the checkpoints folder."""
    from gan import hub

    folder = hub.pull(repository, name, force=force)
    typer.echo(say("hub.pulled", repository=repository, model=folder.name, folder=folder.parent))


@app.command()
def deploy(
    repository: Annotated[str, typer.Argument(metavar="OWNER/NAME")],
    public: Annotated[bool, typer.Option("--public", help="Let everybody see it; a new Space is private.")] = False,
    message: Annotated[str | None, typer.Option(help="The revision's title.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite what others changed there.")] = False,
) -> None:
    """Make or update a Hugging Face Space from this repository and its checkpoints."""
    from gan import hub

    typer.echo(hub.summary("Canting", hub.deploy(repository, public=public, message=message, force=force)))


def main() -> None:
    """The command line."""
    run(app)


if __name__ == "__main__":
    main()
