"""The verb that rebuilds published tables."""

from pathlib import Path
from typing import Annotated

import typer

from leanformer_cli.application import app
from leanformer_cli.ending import continues
from leanformer_cli.options import Executor, Jobs, Parallel, Quiet, Set, ShardOf, Slurm, repeated, words


@app.command()
@continues()
def reproduce(
    paper: Annotated[str, typer.Argument(metavar="PAPER", help="symmetric, shared, synthesizer or three-projections.")],
    *,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The directory to create or to continue.")],
    scale: Annotated[
        str, typer.Option(help="Scale of the runs: cpu-minutes, cpu-hours, gpu-minutes or paper.")
    ] = "cpu-minutes",
    text: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="A text, or a directory made by `leanformer prepare`; default: the shipped novels.",
        ),
    ] = None,
    task_data: Annotated[str | None, typer.Option(metavar="DIR", help="The folder of the tasks, or `hub`.")] = None,
    studies: Annotated[
        str | None, typer.Option(metavar="A,B", help="The studies to run; default: all studies of the paper.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="Runs per mechanism; default: the scale's.")] = None,
    jobs: Jobs = None,
    executor: Executor = "local",
    parallel: Parallel = None,
    slurm: Slurm = None,
    shard: ShardOf = None,
    set_: Set = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print an estimate of time and disk space, and stop.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Rebuild a paper's tables on this machine.

    Runs use the given scale; each row has the published value, the measured value and a verdict. The same command
    continues where it was stopped.
    """
    from leanformer.reproduction.reproduce import Given, reproduce
    from leanformer.study.execution import Execution

    given = Given(
        paper=paper,
        scale=scale,
        out=out,
        text=text,
        task_data=task_data,
        seeds=seeds,
        execution=Execution.of(executor, jobs, parallel, slurm or [], shard),
        overrides=tuple(set_ or ()),
        dry_run=dry_run,
        quiet=quiet,
        command=repeated(),
    )
    reproduce(given, words(studies or ""))
