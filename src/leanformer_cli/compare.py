"""The verbs that compare mechanisms and write reports."""

from pathlib import Path
from typing import Annotated

import typer

from leanformer_cli.application import app
from leanformer_cli.ending import continues
from leanformer_cli.options import (
    AutoResume,
    Config,
    Data,
    Executor,
    Hours,
    Jobs,
    Minutes,
    Parallel,
    Plugin,
    Quiet,
    Recipe,
    Resume,
    Set,
    ShardOf,
    Slurm,
    Tokens,
    floats,
    repeated,
    seeds_of,
    tables_of,
    words,
)


@app.command()
@continues("--autoresume")
def compare(
    config: Config = None,
    *,
    data: Data,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The comparison directory to create or resume.")],
    attention: Annotated[
        str,
        typer.Option(
            metavar="A,B,C",
            help="Mechanisms; options and sizes in brackets: pairwise[coefficients_init=identity], "
            "dot_product[parameters=shared]; with an alias: small=dot_product[parameters=shared].",
        ),
    ] = "dot_product,symmetric,pairwise,shared",
    grid: Annotated[
        bool, typer.Option("--grid", help="Compare every projection with every compatibility instead.")
    ] = False,
    seeds: Annotated[
        str, typer.Option(metavar="N", help="Seeds of each mechanism's runs: 3 (seeds 1 to 3), 11-25 or 1,4,7-9.")
    ] = "3",
    learning_rates: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,C", help="Learning rates to try on the tuning seeds; each mechanism is reported at its best."
        ),
    ] = None,
    tuning_seeds: Annotated[
        str | None,
        typer.Option(
            metavar="N", help="Seeds for choosing the rates: 2 (1001, 1002) or a list. Default: one per 3 seeds."
        ),
    ] = None,
    tuning_tokens: Annotated[
        int | None, typer.Option(metavar="N", help="Tokens per tuning run. Default: as many as a reported run.")
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The arm that all others are compared with; default: dot_product."),
    ] = None,
    main: Annotated[
        str | None, typer.Option(metavar="A,B", help="Mechanisms of the main contrast; default: all but the baseline.")
    ] = None,
    margin: Annotated[float, typer.Option(help="Largest difference of equivalent losses, in nats.")] = 0.03,
    task_margin: Annotated[float, typer.Option(help="Largest difference of equivalent scores, in points.")] = 1.0,
    task: Annotated[str | None, typer.Option(metavar="A,B", help="Fine-tune on these tasks.")] = None,
    task_data: Annotated[str | None, typer.Option(metavar="DIR", help="The folder of the tasks, or `hub`.")] = None,
    task_seeds: Annotated[int, typer.Option(help="Fine-tuning runs per pre-trained model and task.")] = 1,
    discard_models: Annotated[
        bool, typer.Option("--discard-models", help="Delete the models of finished runs, and keep their records.")
    ] = False,
    jobs: Jobs = None,
    executor: Executor = "local",
    parallel: Parallel = None,
    slurm: Slurm = None,
    shard: ShardOf = None,
    recipe: Recipe = None,
    hours: Hours = None,
    minutes: Minutes = None,
    tokens: Tokens = None,
    set_: Set = None,
    plugin: Plugin = None,
    resume: Resume = False,
    autoresume: AutoResume = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Print an estimate of time and disk space, and with Slurm the batch file; stop."
        ),
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Compare mechanisms under equal conditions.

    Pre-trains each mechanism with several seeds, fine-tunes or scores the models, and writes a statistical report.
    """
    from leanformer import compare
    from leanformer.comparison.plan import FIRST_TUNING_SEED

    compare(
        data,
        out=out,
        attention=attention,
        grid=grid,
        seeds=seeds_of(seeds, "--seeds") or [],
        recipe=recipe,
        hours=hours,
        minutes=minutes,
        tokens=tokens,
        settings=tables_of(config, set_, recipe),
        learning_rates=floats(learning_rates, "--learning-rates"),
        tuning_seeds=seeds_of(tuning_seeds, "--tuning-seeds", FIRST_TUNING_SEED),
        tuning_tokens=tuning_tokens,
        baseline=baseline,
        main=main,
        margin=margin,
        task_margin=task_margin,
        task=words(task or ""),
        task_data=task_data,
        task_seeds=task_seeds,
        jobs=jobs,
        executor=executor,
        parallel=parallel,
        slurm=slurm or [],
        shard=shard,
        plugin=plugin,
        resume="auto" if autoresume else resume,
        dry_run=dry_run,
        keep_models=not discard_models,
        quiet=quiet,
        command=repeated(),
    )


@app.command()
def report(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="A comparison or a run; with --format csv also any other study.")
    ],
    format_: Annotated[
        str | None,
        typer.Option("--format", metavar="A,B", help="Also write tables as latex or csv, and figures as pdf."),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Compare with this arm instead of the planned baseline, as exploration."),
    ] = None,
    alias: Annotated[
        list[str] | None,
        typer.Option("--alias", metavar="ALIAS=ARM", help="Name an arm in this report; may be repeated."),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Write the report of a run or a comparison.

    Writes results.json, report.md and report.html from the records. For a robustness study, a rebuilt paper, a
    benchmark or linked mentions, --format csv writes the results as tables.
    """
    from leanformer import report
    from leanformer.reporting.records.arm_names import read_aliases

    aliases = read_aliases(alias or [])
    written = report(directory, formats=words(format_ or ""), baseline=baseline, aliases=aliases)
    if not quiet:
        print(written)
