"""What noise, foreign texts and poor training data cost."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from leanformer_cli.application import app
from leanformer_cli.ending import continues
from leanformer_cli.options import ConfigOption, Plugin, Quiet, Set, floats, load, settings_of, whole, words


@app.command()
@continues()
def robustness(
    sources: Annotated[
        list[Path], typer.Argument(metavar="DIR|RUN...", help="A comparison, or pre-training runs: all are fine-tuned.")
    ],
    task: Annotated[str, typer.Option(metavar="A,B", help="Fine-tune on these tasks.")],
    task_data: Annotated[str, typer.Option(metavar="DIR", help="Where the tasks are, or `hub`.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The directory to make or to continue.")],
    noise: Annotated[
        str,
        typer.Option(metavar="A,B", help="In test texts: typos, characters, misspellings, drop, swap, shuffle."),
    ] = "typos,characters,drop,swap,shuffle",
    levels: Annotated[str, typer.Option(metavar="A,B", help="The chance of a word to be touched.")] = "0,0.1,0.2,0.4,1",
    misspellings: Annotated[
        Path | None, typer.Option(metavar="FILE", help="For that noise: a line a word, then its misspellings.")
    ] = None,
    transfer: Annotated[
        str | None, typer.Option(metavar="A,B", help="Test on these tasks too; their labels must be the same.")
    ] = None,
    label_noise: Annotated[
        str | None, typer.Option(metavar="A,B", help="Train with this share of wrong labels, too.")
    ] = None,
    train_sizes: Annotated[str | None, typer.Option(metavar="A,B", help="Train on so many examples, too.")] = None,
    seeds: Annotated[int, typer.Option(help="Fine-tunings of each pre-trained model: seeds 1 to N.")] = 1,
    config: ConfigOption = None,
    set_: Set = None,
    plugin: Plugin = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell time and disk needed, and stop.")] = False,
    quiet: Quiet = False,
) -> None:
    """Test models on noisy and foreign text.

    Fine-tunes pre-trained models, tests them on noisy text and on text of other tasks, and reports with statistics.
    The same command goes on where it was stopped; one that asks for more does the rest.
    """
    from leanformer.robustness.plan import Plan
    from leanformer.robustness.study import robustness

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
        command=shlex.join(["leanformer", *sys.argv[1:]]),
    )
    robustness(sources, out, plan, dry_run=dry_run, quiet=quiet)
