"""The verbs that measure speed and memory on this machine."""

import json
from pathlib import Path
from typing import Annotated

import typer

from leanformer_cli.application import app
from leanformer_cli.options import (
    AsJson,
    Compile,
    Device,
    Plugin,
    Quiet,
    Results,
    Set,
    Threads,
    load,
    whole,
    words,
)

bench = typer.Typer(
    help="Measure speed and memory on this machine.\n\ndocs/performance.md shows results and other projects.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(bench, name="bench")


@bench.command("mechanisms")
def bench_mechanisms(
    attention: Annotated[
        str,
        typer.Option(
            metavar="A,B,C", help="Mechanisms to compare with dot_product; options in brackets, as for compare."
        ),
    ] = "symmetric,pairwise,shared,random,fixed_random,factorized_random,dense,factorized_dense,random+dot_product",
    sizes: Annotated[
        str,
        typer.Option(
            metavar="A,B",
            help="Model sizes: tiny (2 x 128), mini (4 x 256), small, medium, base (12 x 768), large.",
        ),
    ] = "mini",
    lengths: Annotated[str, typer.Option(metavar="A,B", help="Tokens per sequence.")] = "128",
    tokens: Annotated[int, typer.Option(help="Tokens per batch.")] = 4096,
    vocab_size: Annotated[int, typer.Option(help="Size of the vocabulary.")] = 8192,
    dropout: Annotated[float, typer.Option(help="Dropout of hidden states and attention.")] = 0.1,
    precision: Annotated[str, typer.Option(help="Precision of matrix products: auto, bf16 or fp32.")] = "auto",
    device: Device = "auto",
    compile: Compile = False,
    rounds: Annotated[int, typer.Option(help="Number of turns of every mechanism.")] = 7,
    threads: Threads = None,
    set_: Set = None,
    plugin: Plugin = None,
    out: Results = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Training and inference speed and memory of mechanisms, relative to dot_product.

    The ratio of FLOPs is given beside each ratio; several sizes or lengths show how the cost grows.
    """
    from leanformer.bench.verbs import mechanisms

    load(plugin)
    record = mechanisms(
        attention,
        sizes=words(sizes),
        lengths=whole(lengths, "--lengths"),
        tokens=tokens,
        vocab_size=vocab_size,
        dropout=dropout,
        precision=precision,
        device=device,
        compile=compile,
        rounds=rounds,
        threads=threads,
        overrides=set_ or (),
        plugin=plugin,
        out=out,
        quiet=quiet or as_json,
    )
    if as_json:
        print(json.dumps(record, indent=2))


@bench.command("inference")
def bench_inference(
    attention: Annotated[str, typer.Option(metavar="A,B,C", help="Mechanisms.")] = "dot_product",
    precisions: Annotated[
        str, typer.Option(metavar="A,B", help="Precisions to compare with fp32: autocast, bf16, int8.")
    ] = "autocast,bf16,int8",
    sizes: Annotated[str, typer.Option(metavar="A,B", help="Model sizes, as for bench mechanisms.")] = "mini",
    lengths: Annotated[str, typer.Option(metavar="A,B", help="Tokens per sequence.")] = "128",
    tokens: Annotated[int, typer.Option(help="Tokens per batch.")] = 4096,
    vocab_size: Annotated[int, typer.Option(help="Size of the vocabulary.")] = 8192,
    device: Device = "auto",
    rounds: Annotated[int, typer.Option(help="Number of turns of every precision.")] = 7,
    threads: Threads = None,
    set_: Set = None,
    plugin: Plugin = None,
    out: Results = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Speed of inference in bf16 and int8, relative to float32."""
    from leanformer.bench.verbs import inference

    load(plugin)
    record = inference(
        attention,
        precisions=words(precisions),
        sizes=words(sizes),
        lengths=whole(lengths, "--lengths"),
        tokens=tokens,
        vocab_size=vocab_size,
        device=device,
        rounds=rounds,
        threads=threads,
        overrides=set_ or (),
        out=out,
        quiet=quiet or as_json,
    )
    if as_json:
        print(json.dumps(record, indent=2))


@bench.command("peers")
def bench_peers(
    data: Annotated[
        Path | None,
        typer.Option(metavar="DATA", help="A directory made by `leanformer prepare`; default: the shipped novels."),
    ] = None,
    peers: Annotated[
        str, typer.Option(metavar="A,B", help="Other projects: bert, modernbert, modernbert-sparse, x-transformers.")
    ] = "bert,modernbert,x-transformers",
    attention: Annotated[str, typer.Option(metavar="A,B,C", help="Mechanisms of leanformer.")] = "dot_product",
    recipe: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Also measure leanformer with this recipe, by its name or its file; may be repeated.",
        ),
    ] = None,
    size: Annotated[
        str, typer.Option(help="Model size: tiny, mini, small, medium, base or large, as for bench mechanisms.")
    ] = "mini",
    vocab_size: Annotated[
        int | None, typer.Option(help="Size of the vocabulary, at least the data's; default: the data's.")
    ] = None,
    length: Annotated[int, typer.Option(help="Tokens per sequence.")] = 128,
    batch: Annotated[int, typer.Option(help="Sequences per batch.")] = 32,
    dropout: Annotated[float, typer.Option(help="Dropout of all candidates, unless a recipe sets another.")] = 0.1,
    mask_rate: Annotated[float, typer.Option(help="Fraction of tokens that are masked.")] = 0.15,
    precision: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Default: fp32, and also bf16 where the hardware multiplies it natively."),
    ] = None,
    device: Device = "auto",
    compile: Compile = False,
    rounds: Annotated[int, typer.Option(help="Number of turns of every candidate.")] = 3,
    steps: Annotated[
        int | None,
        typer.Option(help="Counted steps per turn, a multiple of 4; default: 12 on a CPU, 40 on a GPU."),
    ] = None,
    threads: Threads = None,
    tuned_peers: Annotated[
        bool,
        typer.Option("--tuned-peers", help="Use leanformer's settings of allocator and denormals for peers, too."),
    ] = False,
    set_: Set = None,
    plugin: Plugin = None,
    out: Results = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Tokens per second of pre-training, compared with other projects on the same tokens and masks."""
    from leanformer import recipes
    from leanformer.bench.verbs import peers as benchmark

    load(plugin)
    record = benchmark(
        words(peers),
        attention,
        data=data,
        recipes=[recipes.path(each) if each in recipes.names() else Path(each) for each in recipe or ()],
        size_name=size,
        vocab_size=vocab_size,
        length=length,
        batch=batch,
        dropout=dropout,
        mask_rate=mask_rate,
        precisions=None if precision is None else words(precision),
        device=device,
        compile=compile,
        rounds=rounds,
        steps=steps,
        threads=threads,
        tuned=tuned_peers,
        plugin=plugin,
        overrides=set_ or (),
        out=out,
        quiet=quiet or as_json,
    )
    if as_json:
        print(json.dumps(record, indent=2))
