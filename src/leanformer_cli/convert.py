"""The verb that converts models of other projects, and one attention to another."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from leanformer_cli.application import app
from leanformer_cli.options import AsJson, Plugin, Quiet, Set, show, whole

DETAILS = ("heads", "pairs", "conditions")
"""Entries of the record, a row per head or layer, that only --json prints."""


@app.command()
def convert(
    source: Annotated[str, typer.Argument(metavar="SRC", help="A saved model, its name on the hub, or a run.")],
    target: Annotated[Path, typer.Argument(metavar="DST", help="The directory to create.")],
    attention: Annotated[
        str | None, typer.Option(help="The mechanism to convert to; default: the source's own.")
    ] = None,
    overrides: Set = None,
    text: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="A text or data directory for fitting and measuring the conversion."),
    ] = None,
    share: Annotated[
        float,
        typer.Option("--share-heads", metavar="RHO", help="Fraction of heads that use the maps of other heads."),
    ] = 0.0,
    tie: Annotated[str, typer.Option(help="Maps that --share-heads shares: qk, qkv or qkvo.")] = "qk",
    share_layers: Annotated[
        str | None,
        typer.Option(
            "--share-layers",
            metavar="PLAN",
            help="What layers share: all, blocks:N, cycle:N, atoms:N, ... or none.",
        ),
    ] = None,
    share_start: Annotated[
        str, typer.Option("--share-start", help="What shared layers start from: mean (of the layers) or first.")
    ] = "mean",
    keep_layers: Annotated[
        str | None, typer.Option("--keep-layers", metavar="N,N,...", help="Keep these layers alone, counted from 1.")
    ] = None,
    rewrite: Annotated[
        str | None,
        typer.Option(
            help="Other maps, same outputs: absorb (coefficients into the query map) or slim (values from keys)."
        ),
    ] = None,
    to: Annotated[
        str, typer.Option(help="Target format: leanformer, or bert (from leanformer to Hugging Face's BERT).")
    ] = "leanformer",
    encoder_only: Annotated[bool, typer.Option("--encoder-only", help="Convert the encoder without its head.")] = False,
    keep_heads: Annotated[
        bool, typer.Option("--keep-heads", help="Write heads without a place here to other_heads.safetensors.")
    ] = False,
    ignore_remote_code: Annotated[
        bool,
        typer.Option(
            "--ignore-remote-code", help="Read only the tensors of a checkpoint that comes with its own code."
        ),
    ] = False,
    plugin: Plugin = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Convert models and their attention.

    Converts other families (BERT, ELECTRA, ...) to leanformer, one attention to another, or leanformer to BERT.
    """
    from leanformer import convert

    model = convert(
        source,
        out=target,
        to=to,
        attention=attention,
        **_options(overrides or []),
        text=text,
        share_heads=share,
        tie=tie,
        share_layers=share_layers,
        share_start=share_start,
        rewrite=rewrite,
        keep_layers=None if keep_layers is None else whole(keep_layers, "--keep-layers"),
        encoder_only=encoder_only,
        keep_heads=keep_heads,
        ignore_remote_code=ignore_remote_code,
        plugin=plugin,
    )
    result = model.record
    for note in result["notes"]:
        print(note, file=sys.stderr)
    show(
        result if as_json else {key: value for key, value in result.items() if key not in DETAILS},
        as_json,
        quiet,
    )


def _options(overrides: list[str]) -> dict[str, dict[str, Any]]:
    """attention_options.rank=4 -> {"attention_options": {"rank": 4}, "mixer_options": {}}"""
    from leanformer.settings import parse_override

    tables: dict[str, dict[str, Any]] = {"attention_options": {}, "mixer_options": {}}
    for override in overrides:
        (table, *rest), value = parse_override(override)
        if table not in tables or len(rest) != 1:
            raise ValueError(
                f"--set {override}: a conversion takes attention_options.NAME=VALUE and mixer_options.mask_conv only"
            )
        tables[table][rest[0]] = value
    return tables
