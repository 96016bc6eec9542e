"""What there is to choose from."""

import json
from typing import Annotated

import typer

from leanformer_cli.application import app
from leanformer_cli.options import AsJson, Plugin, load


@app.command()
def mechanisms(
    hidden_size: int = 768,
    layers: int = 12,
    heads: int = 12,
    intermediate_size: int = 3072,
    vocab_size: int = 30522,
    max_length: int = 512,
    memory: Annotated[
        bool, typer.Option("--memory", help="Measure what a layer keeps of a sequence for the backward pass.")
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
