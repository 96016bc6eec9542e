"""Checking directories against their own sums."""

from pathlib import Path
from typing import Annotated

import typer

from leanformer_cli.application import app
from leanformer_cli.options import AsJson, Quiet, show


@app.command()
def verify(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="Data, a run, a comparison, a study or a model.")],
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Check data, runs and models for damage.

    Everything below PATH (records, tokens, checkpoints, weights) must be what was written. Prints one line per
    fault and ends with status 1 if there is any.
    """
    from leanformer.verification import verify

    checked, faults = verify(path)
    if not as_json:
        for fault in faults:
            print(fault)
    show({**checked, "faults": faults if as_json else len(faults)}, as_json, quiet)
    if faults:
        raise typer.Exit(1)
