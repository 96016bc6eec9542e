"""Published tables, rebuilt."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from leanformer_cli.application import app
from leanformer_cli.ending import continues
from leanformer_cli.options import Quiet, Set, words


@app.command()
@continues()
def reproduce(
    paper: Annotated[str, typer.Argument(metavar="PAPER", help="symmetric, shared or synthesizer.")],
    *,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The directory to make or to continue.")],
    scale: Annotated[str, typer.Option(help="cpu-minutes, cpu-hours, gpu-minutes or paper.")] = "cpu-minutes",
    text: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="To prepare, or a directory made by `leanformer prepare`; default: novels."),
    ] = None,
    task_data: Annotated[str | None, typer.Option(metavar="DIR", help="Where the tasks are, or `hub`.")] = None,
    studies: Annotated[str | None, typer.Option(metavar="A,B", help="Only these of the studies.")] = None,
    seeds: Annotated[int | None, typer.Option(help="Runs of each mechanism; default: the scale's.")] = None,
    jobs: Annotated[int | None, typer.Option(help="Runs at a time; default: one a CPU core, or one on a GPU.")] = None,
    set_: Set = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell time and disk needed, and stop.")] = False,
    quiet: Quiet = False,
) -> None:
    """Rebuild a paper's tables on this machine.

    At a scale that fits it; each row holds the published value, the measured one and a verdict. The same command
    goes on where it was stopped.
    """
    from leanformer.reproduction.reproduce import Given, reproduce

    given = Given(
        paper=paper,
        scale=scale,
        out=out,
        text=text,
        task_data=task_data,
        seeds=seeds,
        jobs=jobs,
        overrides=tuple(set_ or ()),
        dry_run=dry_run,
        quiet=quiet,
        command=shlex.join(["leanformer", *sys.argv[1:]]),
    )
    reproduce(given, words(studies or ""))
