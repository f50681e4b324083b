"""What both command lines share."""

from __future__ import annotations

import typer

from gan.errors import explained


def run(app: typer.Typer) -> None:
    """Run a command line: what a person can mend becomes one sentence on standard error and exit code 1."""
    try:
        app()
    except Exception as error:
        known = explained(error)
        if not known:
            raise
        typer.echo(f"canting: {known}", err=True)
        raise SystemExit(1) from None
