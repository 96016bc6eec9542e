"""From and to other projects' models, and from one attention to another."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from leanformer_cli.application import app
from leanformer_cli.options import AsJson, Plugin, Quiet, Set, load, show


@app.command()
def convert(
    source: Annotated[str, typer.Argument(metavar="SRC", help="A saved model, its name on the hub, or a run.")],
    target: Annotated[Path, typer.Argument(metavar="DST", help="The directory to make.")],
    attention: Annotated[str | None, typer.Option(help="The mechanism to convert to, else the source's own.")] = None,
    overrides: Set = None,
    text: Annotated[
        str | None, typer.Option(metavar="PATH", help="Fit to, and measure on, this text or data directory.")
    ] = None,
    share: Annotated[
        float, typer.Option("--share-heads", metavar="RHO", help="This share of all heads takes the maps of others.")
    ] = 0.0,
    tie: Annotated[str, typer.Option(help="Of which maps: qk, qkv or qkvo.")] = "qk",
    to: Annotated[str, typer.Option(help="bert: from leanformer back to Hugging Face's BERT.")] = "leanformer",
    encoder_only: Annotated[bool, typer.Option("--encoder-only", help="Leave the head behind.")] = False,
    ignore_remote_code: Annotated[
        bool, typer.Option("--ignore-remote-code", help="Read a checkpoint that brings code by its tensors alone.")
    ] = False,
    plugin: Plugin = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Convert models and their attention.

    Other families (BERT, ELECTRA, ...) to leanformer, one attention to another, or leanformer to BERT.
    """
    from leanformer.conversion.convert import convert

    load(plugin)
    result = convert(
        source,
        target,
        to,
        attention=attention,
        **_options(overrides or []),
        text=text,
        share=share,
        tie=tie,
        encoder_only=encoder_only,
        ignore_remote_code=ignore_remote_code,
    )
    for note in result["notes"]:
        print(note, file=sys.stderr)
    show(
        result if as_json else {key: value for key, value in result.items() if key not in ("heads", "pairs")},
        as_json,
        quiet,
    )


def _options(overrides: list[str]) -> dict[str, dict[str, Any]]:
    """attention_options.rank=4 -> {"options": {"rank": 4}, "mixer_options": {}}"""
    from leanformer.settings import parse_override

    tables: dict[str, dict[str, Any]] = {"attention_options": {}, "mixer_options": {}}
    for override in overrides:
        (table, *rest), value = parse_override(override)
        if table not in tables or len(rest) != 1:
            raise ValueError(
                f"--set {override}: a conversion takes attention_options.NAME=VALUE and mixer_options.mask_conv only"
            )
        tables[table][rest[0]] = value
    return {"options": tables["attention_options"], "mixer_options": tables["mixer_options"]}
