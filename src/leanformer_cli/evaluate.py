"""The verb that measures a trained model."""

from pathlib import Path
from typing import Annotated, Any

import typer

from leanformer_cli.application import app
from leanformer_cli.options import AsJson, Plugin, Quiet, Threads, load, model_there, show, whole, words


@app.command()
def evaluate(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", callback=model_there, help="A pre-training run or a saved model.")
    ],
    data: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH",
            help="A data directory, a text, a labelled file or a folder of pairs; may be repeated for perplexity.",
        ),
    ] = None,
    suite: Annotated[
        str,
        typer.Option(
            help="perplexity, generation, labels, similarity, blimp, blimp_supplement, attention or induction: "
            "docs/probes.md."
        ),
    ] = "perplexity",
    split: Annotated[
        str | None, typer.Option(help="generation: the split to score; default: the first test split.")
    ] = None,
    beams: Annotated[int | None, typer.Option(help="generation: width of the beam search; default: 4.")] = None,
    max_length: Annotated[
        int | None, typer.Option(help="generation: most tokens of a text; default: as in training.")
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            help="Number of pairs (generation), pairs per paradigm (blimp) or sequences (attention, induction)."
        ),
    ] = None,
    within_word: Annotated[
        bool, typer.Option("--within-word", help="blimp: with each token, also mask the later tokens of its word.")
    ] = False,
    gaps: Annotated[
        str | None, typer.Option(metavar="A,B,C", help="induction: tokens between the two copies; default: 0, 8, ...")
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(metavar="A,B[,SCORE]", help="similarity: two columns of text, and the score if there is one."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", help="generation: the folder for texts and scores; blimp: a .jsonl file for all scores."
        ),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(help="perplexity: fp32, bf16 or int8; default: bf16 products where the hardware supports them."),
    ] = None,
    threads: Threads = None,
    plugin: Plugin = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Measure a trained model.

    Suites measure its loss on held-out text, its generated texts, its labels or its sentence vectors on a file of
    yours, its grammar, its attention and its copying.
    """
    from leanformer.evaluation.evaluate import evaluate
    from leanformer.training.machine.hardware import prepare_cpu

    load(plugin)
    prepare_cpu(threads)
    options: dict[str, Any] = {"split": split, "beams": beams, "max_length": max_length, "limit": limit, "out": out}
    options |= {"within_word": within_word or None, "gaps": None if gaps is None else whole(gaps, "--gaps")}
    options |= {"precision": precision, "columns": None if columns is None else words(columns)}
    result = evaluate(run, suite, data, **options)
    show(result, as_json, quiet)
    if not (as_json or quiet):
        for note in result.get("notes", ()):
            print(f"note: {note}")
