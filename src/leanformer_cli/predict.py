"""A fine-tuned model on files of text."""

import json
from pathlib import Path
from typing import Annotated

import typer

from leanformer_cli.application import app
from leanformer_cli.options import MaxLength, Model, Plugin, Quiet, Texts, Threads, load, words


@app.command()
def predict(
    model: Model,
    text: Texts,
    *,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE.jsonl", help="Where to write, else to standard output.")
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="What the file calls the task's columns."),
    ] = None,
    top: Annotated[int, typer.Option(help="Words for each [MASK], of a masked language model.")] = 5,
    max_length: MaxLength = None,
    threads: Threads = None,
    plugin: Plugin = None,
    quiet: Quiet = False,
) -> None:
    """Predict labels, or masked words.

    A fine-tuned model gives labels with probabilities, a masked language model gives words; one JSON line per row.
    """
    from leanformer.files import new_file
    from leanformer.inference import predict
    from leanformer.training.machine.hardware import prepare_cpu

    load(plugin)
    prepare_cpu(threads)
    of = None if columns is None else words(columns)
    answers = predict(model, text, columns=of, top=top, max_length=max_length)
    if out is None:
        for row in answers:
            print(json.dumps(row, ensure_ascii=False))
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    with new_file(out) as path, path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in answers)
    if not quiet:
        print(out)
