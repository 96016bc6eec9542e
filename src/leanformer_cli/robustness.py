"""The verb that measures the effect of noise, foreign texts and poor training data."""

from pathlib import Path
from typing import Annotated

import typer

from leanformer_cli.application import app
from leanformer_cli.ending import continues
from leanformer_cli.options import (
    ConfigOption,
    Executor,
    Jobs,
    Parallel,
    Plugin,
    Quiet,
    Set,
    ShardOf,
    Slurm,
    floats,
    load,
    repeated,
    settings_of,
    whole,
    words,
)


@app.command()
@continues()
def robustness(
    sources: Annotated[
        list[Path],
        typer.Argument(metavar="DIR|RUN...", help="A comparison or pre-training runs, which are fine-tuned."),
    ],
    task: Annotated[str, typer.Option(metavar="A,B", help="Fine-tune on these tasks.")],
    task_data: Annotated[str, typer.Option(metavar="DIR", help="The folder of the tasks, or `hub`.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The directory to create or to continue.")],
    noise: Annotated[
        str,
        typer.Option(metavar="A,B", help="Noise in test texts: typos, characters, misspellings, drop, swap, shuffle."),
    ] = "typos,characters,drop,swap,shuffle",
    levels: Annotated[
        str, typer.Option(metavar="A,B", help="Probabilities that a word is changed.")
    ] = "0,0.1,0.2,0.4,1",
    misspellings: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="For the noise misspellings: per line a word, then its misspellings."),
    ] = None,
    transfer: Annotated[
        str | None, typer.Option(metavar="A,B", help="Also test on these tasks; their labels must be the same.")
    ] = None,
    label_noise: Annotated[
        str | None, typer.Option(metavar="A,B", help="Also train with these fractions of wrong labels.")
    ] = None,
    train_sizes: Annotated[
        str | None, typer.Option(metavar="A,B", help="Also train on these numbers of examples.")
    ] = None,
    seeds: Annotated[int, typer.Option(help="Fine-tune each pre-trained model with seeds 1 to N.")] = 1,
    jobs: Jobs = None,
    executor: Executor = "local",
    parallel: Parallel = None,
    slurm: Slurm = None,
    shard: ShardOf = None,
    config: ConfigOption = None,
    set_: Set = None,
    plugin: Plugin = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print an estimate of time and disk space, and stop.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Test models on noisy and foreign text.

    Fine-tunes pre-trained models, tests them on noisy text and on text of other tasks, and writes a statistical
    report. The same command continues where it was stopped; with more conditions it runs only the new ones.
    """
    from leanformer.robustness.plan import Plan
    from leanformer.robustness.study import robustness
    from leanformer.study.execution import Execution

    load(plugin)
    plan = Plan(
        tasks=words(task),
        task_data=task_data,
        settings=settings_of(config, set_),
        noises=words(noise),
        levels=floats(levels, "--levels") or [],
        misspellings=misspellings,
        transfer=words(transfer or ""),
        label_noise=floats(label_noise, "--label-noise") or [],
        train_sizes=whole(train_sizes or "", "--train-sizes"),
        seeds=seeds,
        plugin=plugin,
        command=repeated(),
    )
    execution = Execution.of(executor, jobs, parallel, slurm or [], shard)
    robustness(sources, out, plan, execution, dry_run=dry_run, quiet=quiet)
