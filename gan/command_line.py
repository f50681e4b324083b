"""What both command lines share."""

from __future__ import annotations

import typer

from gan.errors import CantingError


def run(app: typer.Typer) -> None:
    """Run a command line: a CantingError becomes one sentence on standard error and exit code 1."""
    try:
        app()
    except CantingError as error:
        typer.echo(f"canting: {error}", err=True)
        raise SystemExit(1) from None
