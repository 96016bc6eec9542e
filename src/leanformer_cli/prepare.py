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
    tokenizer: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Take this tokenizer instead: tokenizer.json, or a folder with it."),
    ] = None,
    cased: Annotated[
        bool,
        typer.Option(
            "--cased",
            help="Keep capitals and accents. The default lower-cases, and drops accents and vowel signs as BERT does.",
        ),
    ] = False,
    keep_accents: Annotated[
        bool,
        typer.Option(
            "--keep-accents",
            help="Lower-case, but keep accents and vowel signs: Hindi, Vietnamese, German need them. bpe always does.",
        ),
    ] = False,
    tokenizer_megabytes: Annotated[float, typer.Option(help="Text to train the tokenizer on, from all over.")] = 32,
    valid: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help="Text to make choices by; may be repeated.")
    ] = None,
    valid_fraction: Annotated[float, typer.Option(help="Share held out where no --valid is given.")] = 0.01,
    test: Annotated[list[str] | None, typer.Option(metavar="TEXT", help="Text to report on; may be repeated.")] = None,
    test_fraction: Annotated[
        float, typer.Option(help="Share held out where no --test is given; 0 holds out none.")
    ] = 0.02,
    test_on: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=TEXT", help="Another text to report on, as a part of its own; may be repeated."),
    ] = None,
    field: Annotated[str, typer.Option(help="The column of JSON, CSV, TSV or parquet that holds the text.")] = "text",
    documents: Annotated[
        str, typer.Option(help="What separates documents in plain text: blank-lines, or lines (one document per line).")
    ] = "blank-lines",
    plugin: Plugin = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Turn text into tokens on disk.

    The text is raw, or the pairs of a task; a tokenizer and held-out parts are made with it.
    """
    load(plugin)
    for option, given in (("--cased", cased), ("--keep-accents", keep_accents)):
        if given and (tokenizer is not None or task is not None):
            why = f"--tokenizer {tokenizer} is as it was trained" if tokenizer is not None else "a task is always cased"
            raise ValueError(f"{option}: {why}; leave it out")
    made: dict[str, Any] = {"tokenizer": tokenizer, "tokenizer_megabytes": tokenizer_megabytes}
    made |= {"vocab_size": vocab_size} if vocab_size is not None else {}
    made |= {"algorithm": algorithm} if algorithm is not None else {}
    if task is not None:
        from leanformer.data.prepare_pairs import prepare_pairs

        if task_data is None or text or valid or test or test_on:
            raise ValueError(f"--task {task} needs --task-data DIR, and neither TEXT, --valid, --test nor --test-on")
        _report(prepare_pairs(task, task_data, out, **made), as_json, quiet)
        return
    from leanformer.data.prepare import prepare

    summary = prepare(
        text or (),
        out,
        cased=cased,
        keep_accents=keep_accents,
        valid=valid,
        valid_fraction=valid_fraction,
        test=test,
        test_fraction=test_fraction,
        test_on=_named(test_on or []),
        field=field,
        documents=documents,
        quiet=quiet or as_json,
        **made,
    )
    _report(summary, as_json, quiet)


def _named(given: list[str]) -> dict[str, list[str]]:
    """NAME=TEXT, NAME=TEXT, ... by name."""
    texts: dict[str, list[str]] = {}
    for each in given:
        name, equals, text = each.partition("=")
        if not (name and equals and text):
            raise ValueError(f"--test-on {each}: write NAME=TEXT, for example wiki=articles.txt")
        texts.setdefault(name, []).append(text)
    return texts


def _report(record: dict[str, Any], as_json: bool, quiet: bool) -> None:
    """The record, the size of each split with its share of unknown tokens, and what the user must know of them."""
    if as_json or quiet:
        show(record, as_json, quiet)
        return
    unknown = record["unknown"]
    rows = [
        {"split": name, **sizes, "[UNK] tokens": f"{unknown[name]:.2%}"} for name, sizes in record["splits"].items()
    ]
    show(record | {"splits": rows}, as_json, quiet)
    for note in record["notes"]:
        print(f"note: {note}")
