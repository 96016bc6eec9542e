"""The verb that turns text into tokens."""

from pathlib import Path
from typing import Annotated, Any

import typer

from leanformer_cli.application import app
from leanformer_cli.options import AsJson, Plugin, Quiet, show


@app.command()
def prepare(
    text: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TEXT...]",
            help="Files or folders (.txt, .jsonl, .json, .csv, .tsv, .parquet; .xz, .gz, .bz2), patterns with *, URLs "
            "(s3://, gs://, https://), hf:NAME[:CONFIG[:SPLIT]] or shipped:novels.",
        ),
    ] = None,
    *,
    out: Annotated[Path, typer.Option("--out", metavar="DATA", help="The directory to create.")],
    task: Annotated[
        str | None,
        typer.Option(help="Prepare the pairs of this task instead: multi30k_ende, dialogsum, persona_chat, ..."),
    ] = None,
    task_data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="A folder with one folder per task (DIR/multi30k_ende/train.jsonl.xz)."),
    ] = None,
    vocab_size: Annotated[
        int | None, typer.Option(help="Vocabulary size of the trained tokenizer; default: 30522, for a task 8000.")
    ] = None,
    algorithm: Annotated[
        str | None,
        typer.Option(help="wordpiece, bpe or characters; default: wordpiece, for a task bpe (always cased)."),
    ] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Use this tokenizer: a tokenizer.json, a folder with one, or hf:NAME."),
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
            help="Lower-case, but keep accents and vowel signs, which Hindi, Vietnamese and German need; always so in "
            "bpe.",
        ),
    ] = False,
    tokenizer_megabytes: Annotated[
        float, typer.Option(help="Million characters to train the tokenizer on, from the whole text.")
    ] = 32,
    valid: Annotated[list[str] | None, typer.Option(metavar="TEXT", help="Validation text; may be repeated.")] = None,
    valid_fraction: Annotated[
        float, typer.Option(help="Fraction of the text to hold out for validation without --valid.")
    ] = 0.01,
    test: Annotated[list[str] | None, typer.Option(metavar="TEXT", help="Test text; may be repeated.")] = None,
    test_fraction: Annotated[
        float, typer.Option(help="Fraction of the text to hold out for the test without --test; 0: no test text.")
    ] = 0.02,
    test_on: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=TEXT", help="Another test text, as a separate part NAME; may be repeated."),
    ] = None,
    field: Annotated[str, typer.Option(help="The column of JSON, CSV, TSV or parquet that holds the text.")] = "text",
    documents: Annotated[
        str, typer.Option(help="Separator of documents in plain text: blank-lines, or lines (one document per line).")
    ] = "blank-lines",
    mix: Annotated[
        str | None,
        typer.Option(metavar="NAME=SHARE,...", help="Shares of several texts, each then given as NAME=TEXT."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes that encode a large text; default: one per core.")
    ] = None,
    plugin: Plugin = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Turn text into tokens on disk.

    The input is raw text, or the pairs of a task. Unless they are given, a tokenizer is trained on it and held-out
    parts are taken from it.
    """
    from leanformer import prepare

    shares = None if mix is None else _shares(mix)
    data = prepare(
        _sources(text) if shares is None else _all_sources(text or [], "TEXT"),
        out=out,
        text=field,
        vocab_size=vocab_size,
        algorithm=algorithm,
        tokenizer=tokenizer,
        cased=cased,
        keep_accents=keep_accents,
        tokenizer_megabytes=tokenizer_megabytes,
        valid=_sources(valid),
        valid_fraction=valid_fraction,
        test=_sources(test),
        test_fraction=test_fraction,
        test_on=_all_sources(test_on or [], "--test-on") or None,
        documents=documents,
        mix=shares,
        workers=workers,
        task=task,
        task_data=task_data,
        plugin=plugin,
        quiet=quiet or as_json,
    )
    _report(data.record, as_json, quiet)


def _sources(given: list[str] | None) -> list[str | Path] | None:
    """Returns what is named on the command line, where a text is always a source and never a document."""
    return [each if "://" in each else Path(each) for each in given] if given else None


def _all_sources(given: list[str], option: str) -> dict[str, Any]:
    return {name: _sources(each) for name, each in _named(given, option).items()}


def _shares(given: str) -> dict[str, float]:
    """Returns the weights of NAME=SHARE,NAME=SHARE."""
    shares: dict[str, float] = {}
    for each in given.split(","):
        name, _, share = each.partition("=")
        try:
            shares[name.strip()] = float(share)
        except ValueError:
            raise ValueError(f"--mix {given}: write NAME=SHARE,NAME=SHARE, for example web=0.7,books=0.3") from None
    return shares


def _named(given: list[str], option: str) -> dict[str, list[str]]:
    """Returns the texts of NAME=TEXT, NAME=TEXT, ... by name."""
    texts: dict[str, list[str]] = {}
    for each in given:
        name, equals, text = each.partition("=")
        if not (name and equals and text):
            raise ValueError(f"{option} {each}: write NAME=TEXT, for example wiki=articles.txt")
        texts.setdefault(name, []).append(text)
    return texts


def _report(record: dict[str, Any], as_json: bool, quiet: bool) -> None:
    """Print the record, the size and the fraction of unknown tokens of each split, and the notes to the user."""
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
