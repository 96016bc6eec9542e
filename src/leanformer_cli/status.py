"""The verb that shows how far the runs of a study are."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from leanformer_cli.application import app
from leanformer_cli.options import AsJson, Quiet, show


@app.command()
def status(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A comparison, another study, or a run.")],
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Show how far the runs of a study are.

    Reads the records below DIR, from any machine that sees it, also while runs go on; with Slurm it asks the queue.
    """
    from leanformer.study.status import status

    rows = status(directory)
    states = [row.state for row in rows]
    counted = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(sorted(states)))
    shown = [asdict(row) | {"done": row.done if as_json else f"{100 * row.done:.0f} %"} for row in rows]
    show({"runs": shown} | ({} if as_json else {"states": counted}), as_json, quiet)
