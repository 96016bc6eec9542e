"""The verb that applies a trained model to texts."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from leanformer_cli.application import app
from leanformer_cli.options import Backend, MaxLength, Model, Plugin, Precision, Quiet, Texts, Threads, words


@app.command()
def predict(
    model: Model,
    text: Texts,
    *,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE.jsonl", help="The file to write; default: standard output.")
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="The file's names of the task's columns."),
    ] = None,
    top: Annotated[int, typer.Option(help="Number of words per [MASK], for a masked language model.")] = 5,
    max_length: MaxLength = None,
    backend: Backend = "auto",
    precision: Precision = "fp32",
    threads: Threads = None,
    plugin: Plugin = None,
    quiet: Quiet = False,
) -> None:
    """Predict labels, or masked words.

    A fine-tuned model gives labels with probabilities, a masked language model gives words. Output is one JSON line
    per row.
    """
    from leanformer.interface.predict import answers, write

    names = None if columns is None else words(columns)
    found = answers(model, [Path(each) for each in text], names, top, max_length, threads, plugin, backend, precision)
    write(found, sys.stdout if out is None else out)
    if out is not None and not quiet:
        print(out)
