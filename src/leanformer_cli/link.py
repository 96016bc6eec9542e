"""The verb that compares encoders at entity linking."""

import json
from pathlib import Path
from typing import Annotated

import typer

from leanformer_cli.application import app
from leanformer_cli.ending import continues
from leanformer_cli.options import AsJson, Plugin, Quiet, Set, load, repeated


@app.command()
@continues()
def link(
    encoders: Annotated[
        list[str],
        typer.Argument(
            metavar="ENCODER...", help="A run or saved model, rescnn, rescnn:MODEL (with its tokenizer) or tfidf."
        ),
    ],
    data: Annotated[Path, typer.Option(metavar="DIR", help="A folder with train, validation and test .jsonl.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The directory to create or to continue.")],
    dictionary: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Default: dictionary.jsonl in DIR or in the folder above.")
    ] = None,
    split: Annotated[str, typer.Option(help="The split to score: validation or test.")] = "test",
    seeds: Annotated[int, typer.Option(help="Train with seeds 1 to N.")] = 1,
    config: Annotated[
        Path | None, typer.Option(metavar="CONFIG.toml", help="A settings file with a table [linking].")
    ] = None,
    discard_model: Annotated[
        bool, typer.Option("--discard-model", help="Keep scores and predictions, not the trained models.")
    ] = False,
    set_: Set = None,
    plugin: Plugin = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check the data, print the steps, and stop.")] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Compare encoders at entity linking.

    Each encoder links mentions to a dictionary's concepts by the nearest name. The same command continues where it
    was stopped; with more encoders or seeds it runs only the new ones.
    """
    from leanformer.linking.link import link
    from leanformer.linking.settings import read_linking

    load(plugin)
    found = link(
        encoders,
        data,
        out,
        read_linking(config, set_ or ()),
        dictionary=dictionary,
        split=split,
        seeds=seeds,
        keep_model=not discard_model,
        command=repeated(),
        dry_run=dry_run,
        quiet=quiet or as_json,
    )
    if as_json:
        print(json.dumps(found, indent=2))
