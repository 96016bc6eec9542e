"""The verb that lists mechanisms."""

import json
from typing import Annotated

import typer

from leanformer_cli.application import app
from leanformer_cli.options import AsJson, Plugin, load


@app.command()
def mechanisms(
    hidden_size: Annotated[int, typer.Option(help="Width of the model.")] = 768,
    layers: Annotated[int, typer.Option(help="Number of layers.")] = 12,
    heads: Annotated[int, typer.Option(help="Number of attention heads.")] = 12,
    intermediate_size: Annotated[int, typer.Option(help="Width of the feed-forward layers.")] = 3072,
    vocab_size: Annotated[int, typer.Option(help="Size of the vocabulary.")] = 30522,
    max_length: Annotated[int, typer.Option(help="Tokens per sequence.")] = 512,
    memory: Annotated[
        bool, typer.Option("--memory", help="Measure a layer's memory per sequence for the backward pass.")
    ] = False,
    plugin: Plugin = None,
    as_json: AsJson = False,
) -> None:
    """List attention mechanisms and their cost.

    The cost is parameters and FLOPs in a model of the given size.
    """
    from leanformer.comparison.catalogue import catalogue, print_catalogue

    load(plugin)
    rows = catalogue(
        memory=memory,
        hidden_size=hidden_size,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=intermediate_size,
        vocab_size=vocab_size,
        max_position_embeddings=max_length,
    )
    print(json.dumps(rows, indent=2)) if as_json else print_catalogue(rows)
