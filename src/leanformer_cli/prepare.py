"""Text to tokens."""

from pathlib import Path
from typing import Annotated, Any

import typer

from leanformer_cli.application import app
from leanformer_cli.options import AsJson, Plugin, Quiet, load, show


@app.command()
def prepare(
    text: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TEXT...]",
            help="Files, folders (.txt, .jsonl, .json, .csv, .tsv, .parquet; .xz, .gz, .bz2), "
            "hf:NAME[:CONFIG[:SPLIT]], shipped:novels.",
        ),
    ] = None,
    *,
    out: Annotated[Path, typer.Option("--out", metavar="DATA", help="The directory to make.")],
    task: Annotated[
        str | None, typer.Option(help="Pairs of this task instead of text: multi30k_ende, dialogsum, persona_chat, ...")
    ] = None,
    task_data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="A folder with a folder a task (DIR/multi30k_ende/train.jsonl.xz)."),
    ] = None,
    vocab_size: Annotated[
        int | None, typer.Option(help="Size of the tokenizer to train: 30522, of a task 8000.")
    ] = None,
    algorithm: Annotated[
        str | None, typer.Option(help="wordpiece, bpe or characters; of a task always cased: bpe.")
    ] = None,
    tokenizer: Annotated[str | None, typer.Option(metavar="FILE", help="Take this tokenizer instead.")] = None,
    cased: Annotated[bool, typer.Option("--cased", help="Keep capitals and accents.")] = False,
    tokenizer_megabytes: Annotated[float, typer.Option(help="Text to train the tokenizer on, from all over.")] = 32,
    valid: Annotated[list[str] | None, typer.Option(metavar="TEXT", help="Held-out text; may be repeated.")] = None,
    valid_fraction: Annotated[float, typer.Option(help="Share held out where no --valid is given.")] = 0.01,
    field: Annotated[str, typer.Option(help="The column of JSON, CSV, TSV or parquet that holds the text.")] = "text",
    documents: Annotated[
        str, typer.Option(help="What separates documents in plain text: blank-lines, or lines (one document per line).")
    ] = "blank-lines",
    plugin: Plugin = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Turn raw text, or the pairs of a task, into tokens on disk, with a tokenizer and a held-out part."""
    load(plugin)
    made: dict[str, Any] = {"tokenizer": tokenizer, "tokenizer_megabytes": tokenizer_megabytes}
    made |= {"vocab_size": vocab_size} if vocab_size is not None else {}
    made |= {"algorithm": algorithm} if algorithm is not None else {}
    if task is not None:
        from leanformer.data.prepare_pairs import prepare_pairs

        if task_data is None or text or valid:
            raise ValueError(f"--task {task} needs --task-data DIR, and neither TEXT nor --valid")
        show(prepare_pairs(task, task_data, out, **made), as_json, quiet)
        return
    from leanformer.data.prepare import prepare

    summary = prepare(
        text or (),
        out,
        cased=cased,
        valid=valid,
        valid_fraction=valid_fraction,
        field=field,
        documents=documents,
        quiet=quiet or as_json,
        **made,
    )
    show(summary, as_json, quiet)
