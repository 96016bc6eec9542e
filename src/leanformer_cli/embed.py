"""A trained model on files of text."""

from pathlib import Path
from typing import Annotated

import typer

from leanformer_cli.application import app
from leanformer_cli.options import AsJson, MaxLength, Model, Plugin, Quiet, Texts, Threads, load, show


@app.command()
def embed(
    model: Model,
    text: Texts,
    *,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="FILE.npy, FILE.safetensors or FILE.jsonl.")],
    pooling: Annotated[str, typer.Option(help="mean (of all tokens' states) or cls.")] = "mean",
    field: Annotated[str, typer.Option(help="The column of JSON, CSV, TSV or parquet that holds the text.")] = "text",
    max_length: MaxLength = None,
    threads: Threads = None,
    plugin: Plugin = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Turn lines of text into vectors."""
    from leanformer.inference import embed
    from leanformer.training.machine.hardware import prepare_cpu

    load(plugin)
    prepare_cpu(threads)
    show(embed(model, text, out, pooling=pooling, field=field, max_length=max_length), as_json, quiet)
