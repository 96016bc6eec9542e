"""Measures of a trained model."""

from pathlib import Path
from typing import Annotated, Any

import typer

from leanformer_cli.application import app
from leanformer_cli.options import AsJson, Plugin, Quiet, Threads, load, show, whole


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A pre-training run or a saved model.")],
    data: Annotated[
        list[str] | None,
        typer.Option(metavar="PATH", help="A data directory, a text, a folder of pairs; perplexity: may be repeated."),
    ] = None,
    suite: Annotated[
        str,
        typer.Option(help="perplexity, generation, blimp, blimp_supplement, attention or induction: docs/probes.md."),
    ] = "perplexity",
    split: Annotated[str | None, typer.Option(help="generation: the split, else the first test split.")] = None,
    beams: Annotated[int | None, typer.Option(help="generation: width of the beam search, 4.")] = None,
    max_length: Annotated[int | None, typer.Option(help="generation: tokens of a text, else as in training.")] = None,
    limit: Annotated[
        int | None, typer.Option(help="generation: pairs; blimp: pairs a paradigm; attention, induction: sequences.")
    ] = None,
    within_word: Annotated[
        bool, typer.Option("--within-word", help="blimp: mask the later tokens of a word with each of its tokens.")
    ] = False,
    gaps: Annotated[
        str | None, typer.Option(metavar="A,B,C", help="induction: tokens between the two copies; default: 0, 8, ...")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", help="generation: folder of texts and scores; blimp: a .jsonl file of all scores."
        ),
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="perplexity: fp32, bf16 or int8, else bf16 products where they are fast.")
    ] = None,
    threads: Threads = None,
    plugin: Plugin = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Measure a pre-trained model.

    By its loss on held-out text, by what it writes, by what it knows, and by how it attends.
    """
    from leanformer.evaluation.evaluate import evaluate
    from leanformer.training.machine.hardware import prepare_cpu

    load(plugin)
    prepare_cpu(threads)
    options: dict[str, Any] = {"split": split, "beams": beams, "max_length": max_length, "limit": limit, "out": out}
    options |= {"within_word": within_word or None, "gaps": None if gaps is None else whole(gaps, "--gaps")}
    options |= {"precision": precision}
    show(evaluate(run, suite, data, **options), as_json, quiet)
