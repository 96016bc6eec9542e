"""Measures of a trained model."""

from pathlib import Path
from typing import Annotated

import typer

from leanformer_cli.application import app
from leanformer_cli.options import AsJson, Plugin, Quiet, Threads, load, show


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A pre-training run or a saved model.")],
    data: Annotated[Path, typer.Option(metavar="PATH", help="A data directory or a text file.")],
    suite: Annotated[str, typer.Option(help="perplexity, or generation: texts written and scored.")] = "perplexity",
    split: Annotated[str | None, typer.Option(help="generation: the split, else the first test split.")] = None,
    beams: Annotated[int | None, typer.Option(help="generation: width of the beam search, 4.")] = None,
    max_length: Annotated[int | None, typer.Option(help="generation: tokens of a text, else as in training.")] = None,
    limit: Annotated[int | None, typer.Option(help="generation: so many pairs, spread over the split.")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="generation: for texts and scores, else RUN/generation/SPLIT.")
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="perplexity: fp32, bf16 or int8, else bf16 products where they are fast.")
    ] = None,
    threads: Threads = None,
    plugin: Plugin = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Measure a pre-trained model on held-out text, or score what it writes."""
    from leanformer.evaluation.evaluate import evaluate
    from leanformer.training.hardware import prepare_cpu

    load(plugin)
    prepare_cpu(threads)
    options = {"split": split, "beams": beams, "max_length": max_length, "limit": limit, "out": out}
    options |= {"precision": precision}
    show(evaluate(run, suite, data, **options), as_json, quiet)
