"""Comparisons and their reports."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from leanformer_cli.application import app
from leanformer_cli.ending import continues
from leanformer_cli.options import (
    AutoResume,
    Config,
    Data,
    Plugin,
    Quiet,
    Resume,
    Set,
    floats,
    load,
    settings_of,
    words,
)


@app.command()
@continues("--autoresume")
def compare(
    config: Config = None,
    *,
    data: Data,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The comparison directory to make or resume.")],
    attention: Annotated[
        str,
        typer.Option(
            metavar="A,B,C",
            help="Mechanisms; options and sizes in brackets: pairwise[coefficients_init=identity], "
            "dot_product[parameters=shared].",
        ),
    ] = "dot_product,symmetric,pairwise,shared",
    grid: Annotated[bool, typer.Option("--grid", help="Every projection with every compatibility instead.")] = False,
    seeds: Annotated[int, typer.Option(help="Runs of each mechanism: seeds 1 to N.")] = 3,
    learning_rates: Annotated[
        str | None, typer.Option(metavar="A,B,C", help="Give every mechanism each of these rates; report all.")
    ] = None,
    task: Annotated[str | None, typer.Option(metavar="A,B", help="Fine-tune on these tasks.")] = None,
    task_data: Annotated[str | None, typer.Option(metavar="DIR", help="Where the tasks are, or `hub`.")] = None,
    task_seeds: Annotated[int, typer.Option(help="Fine-tuning runs of each pre-trained model and task.")] = 1,
    jobs: Annotated[int | None, typer.Option(help="Runs at a time; default: one a CPU core, or one on a GPU.")] = None,
    set_: Set = None,
    plugin: Plugin = None,
    resume: Resume = False,
    autoresume: AutoResume = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell time and disk needed, and stop.")] = False,
    quiet: Quiet = False,
) -> None:
    """Pre-train several mechanisms under equal conditions, fine-tune or score them, and report with statistics."""
    from leanformer.comparison.compare import compare
    from leanformer.comparison.variants import grid as all_pairs
    from leanformer.comparison.variants import parse_variants

    load(plugin)
    settings = settings_of(config, set_)
    rotary = settings.model.get("positions") == "rotary"
    if grid and not rotary and not quiet:
        print("note: the grid is without `phased`, which needs model.positions = rotary")
    compare(
        settings,
        data,
        out,
        variants=all_pairs(rotary=rotary) if grid else parse_variants(attention),
        seeds=list(range(1, seeds + 1)),
        learning_rates=floats(learning_rates, "--learning-rates"),
        tasks=words(task or ""),
        task_data=task_data,
        task_seeds=task_seeds,
        jobs=jobs,
        plugin=plugin,
        resume=resume or (autoresume and (out / "comparison.json").exists()),
        dry_run=dry_run,
        quiet=quiet,
        command=shlex.join(["leanformer", *sys.argv[1:]]),
    )


@app.command()
def report(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="A comparison, or a run; with csv also any other study.")
    ],
    format_: Annotated[
        str | None, typer.Option("--format", metavar="A,B", help="latex, csv: tables in DIR/tables, too.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Write results.json, report.md and report.html of a comparison from its records.

    Of a robustness study, a rebuilt paper, a benchmark or linked mentions, --format csv writes the results as tables.
    """
    from leanformer.report import write_report

    kind = write_report(directory, words(format_ or "")).get("kind")
    if not quiet:
        print(directory / ("tables" if kind else "report.html"))
