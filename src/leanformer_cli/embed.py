"""The verb that computes vectors of texts."""

from pathlib import Path
from typing import Annotated, Any

import typer

from leanformer_cli.application import app
from leanformer_cli.options import (
    AsJson,
    Backend,
    MaxLength,
    Model,
    Plugin,
    Precision,
    Quiet,
    Texts,
    Threads,
    int8_cost,
    show,
)


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
    backend: Backend = "auto",
    precision: Precision = "fp32",
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
    how |= {"backend": backend, "precision": precision}
    found = vectors(model, [Path(each) for each in text], **how, threads=threads, plugin=plugin)
    made = write(found, out)
    show(made if as_json or "int8" not in made else made | {"int8": int8_cost(made["int8"])}, as_json, quiet)
