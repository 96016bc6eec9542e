"""The verb that computes vectors of texts."""

from pathlib import Path
from typing import Annotated, Any

import typer

from leanformer_cli.application import app
from leanformer_cli.options import AsJson, MaxLength, Model, Plugin, Quiet, Texts, Threads, show


@app.command()
def embed(
    model: Model,
    text: Texts,
    *,
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="The file to write: .npy, .safetensors or .jsonl.")
    ],
    pooling: Annotated[
        str | None,
        typer.Option(help="mean (of the states of all tokens), cls, max, ...; default: the model's own, or mean."),
    ] = None,
    prompt: Annotated[
        str | None, typer.Option(metavar="NAME", help="A prompt of the model, put before each text.")
    ] = None,
    field: Annotated[str, typer.Option(help="The column of JSON, CSV, TSV or parquet that holds the text.")] = "text",
    max_length: MaxLength = None,
    threads: Threads = None,
    plugin: Plugin = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Turn lines of text into vectors."""
    from leanformer.inference.embedding import check_format, write
    from leanformer.interface.embed import vectors

    check_format(out)
    how: dict[str, Any] = {"pooling": pooling, "prompt": prompt, "text": field, "max_length": max_length}
    found = vectors(model, [Path(each) for each in text], **how, threads=threads, plugin=plugin)
    show(write(found, out), as_json, quiet)
