"""The verbs that list mechanisms, begin a new one and check it."""

import json
from pathlib import Path
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
    sort: Annotated[
        str, typer.Option(help="Order: shared (groups by what is shared) or saving (fewest parameters first).")
    ] = "shared",
    plugin: Plugin = None,
    as_json: AsJson = False,
) -> None:
    """List attention mechanisms and their cost.

    The cost is parameters and FLOPs in a model of the given size. Mixers that take the place of attention follow.
    """
    from leanformer.comparison.catalogue import catalogue, mixer_catalogue, ordered, print_catalogue

    load(plugin)
    sizes = {
        "hidden_size": hidden_size,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": intermediate_size,
        "vocab_size": vocab_size,
        "max_position_embeddings": max_length,
    }
    rows = ordered(catalogue(memory, **sizes) + mixer_catalogue(memory, **sizes), sort)
    print(json.dumps(rows, indent=2)) if as_json else print_catalogue(rows)


new = typer.Typer(help="Write a commented file to begin with.", no_args_is_help=True)
app.add_typer(new, name="new")


@new.command("mechanism")
def new_mechanism(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Lower-case letters, digits and underscores.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="The file to create; default: NAME.py.")
    ] = None,
) -> None:
    """Write a plug-in with a mechanism to change.

    It is complete: leanformer check accepts it as it is.
    """
    from leanformer.attention.template import write_mechanism

    path = out or Path(f"{name}.py")
    write_mechanism(name, path)
    print(f"wrote {path}; change its formulas, then: leanformer check {path}")


@app.command()
def check(
    plugin: Annotated[Path, typer.Argument(metavar="FILE.py", help="A plug-in that registers mechanisms or mixers.")],
    attention: Annotated[
        str | None,
        typer.Option(help='Mechanisms with options to check, as in "mine[rank=6]"; default: all of the file.'),
    ] = None,
) -> None:
    """Test the promises of a plug-in.

    It prints a line per promise: what holds, and what is broken with the reason. The exit status is 1 if any is broken.
    """
    from leanformer.attention import MIXERS, load_plugin, names
    from leanformer.attention.mixer_testing import broken_mixer_promises
    from leanformer.attention.testing import broken_promises
    from leanformer.comparison.variants import parse_variants

    added = load_plugin(plugin)
    mechanisms = [name for name in added if name in names()]
    mixers = [name for name in added if name in MIXERS and not MIXERS[name].attends and attention is None]
    if not mechanisms and not mixers and attention is None:
        raise ValueError(
            f"{plugin} registers no mechanism and no mixer without heads: call leanformer.attention.register or "
            "register_mixer, or give --attention"
        )
    checked = []
    for variant in parse_variants(attention or ",".join(mechanisms)) if attention or mechanisms else []:
        if variant.model or variant.training or variant.match:
            raise ValueError(f"{variant.label}: only the mechanism's own options are checked; leave out the others")
        checked.append((variant.label, broken_promises(variant.mechanism, **variant.options)))
    checked += [(name, broken_mixer_promises(name)) for name in mixers]
    failed = 0
    for label, promises in checked:
        print(label)
        for promise, reason in promises:
            failed += reason is not None
            print(f"  {'ok' if reason is None else 'BROKEN'}  {promise}{'' if reason is None else f': {reason}'}")
    print(f"{failed} broken" if failed else "every promise holds")
    raise typer.Exit(1 if failed else 0)
