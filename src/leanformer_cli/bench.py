"""Speed and memory on this machine."""

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
    help="Measure speed and memory on this machine.\n\nSide by side with other projects: docs/performance.md.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(bench, name="bench")


@bench.command("mechanisms")
def bench_mechanisms(
    attention: Annotated[
        str, typer.Option(metavar="A,B,C", help="Mechanisms beside dot_product; options in brackets, as of compare.")
    ] = "symmetric,pairwise,shared,random,fixed_random,factorized_random,dense,factorized_dense,random+dot_product",
    sizes: Annotated[
        str, typer.Option(metavar="A,B", help="tiny (2 x 128), mini (4 x 256), small, medium, base (12 x 768), large.")
    ] = "mini",
    lengths: Annotated[str, typer.Option(metavar="A,B", help="Tokens of a sequence.")] = "128",
    tokens: Annotated[int, typer.Option(help="Tokens of a batch.")] = 4096,
    vocab_size: int = 8192,
    dropout: float = 0.1,
    precision: Annotated[str, typer.Option(help="auto, bf16 or fp32.")] = "auto",
    device: Device = "auto",
    compile: Compile = False,
    rounds: Annotated[int, typer.Option(help="Turns of every mechanism.")] = 7,
    threads: Threads = None,
    set_: Set = None,
    plugin: Plugin = None,
    out: Results = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Training and inference speed and memory of mechanisms, relative to dot_product.

    Beside each ratio stands that of the FLOPs; several sizes or lengths show how the cost grows.
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
        str, typer.Option(metavar="A,B", help="autocast, bf16, int8, beside fp32.")
    ] = "autocast,bf16,int8",
    sizes: Annotated[str, typer.Option(metavar="A,B", help="As of bench mechanisms.")] = "mini",
    lengths: Annotated[str, typer.Option(metavar="A,B", help="Tokens of a sequence.")] = "128",
    tokens: Annotated[int, typer.Option(help="Tokens of a batch.")] = 4096,
    vocab_size: int = 8192,
    device: Device = "auto",
    rounds: Annotated[int, typer.Option(help="Turns of every precision.")] = 7,
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
        Path | None, typer.Option(metavar="DATA", help="Made by `leanformer prepare`; default: the shipped novels.")
    ] = None,
    peers: Annotated[
        str, typer.Option(metavar="A,B", help="bert, modernbert, modernbert-sparse, x-transformers.")
    ] = "bert,modernbert,x-transformers",
    attention: Annotated[str, typer.Option(metavar="A,B,C", help="Mechanisms of leanformer.")] = "dot_product",
    recipe: Annotated[
        list[Path] | None, typer.Option(metavar="CONFIG.toml", help="leanformer by this recipe too; may be repeated.")
    ] = None,
    size: Annotated[
        str, typer.Option(help="tiny, mini, small, medium, base or large, as of bench mechanisms.")
    ] = "mini",
    vocab_size: Annotated[int | None, typer.Option(help="If more than the data's.")] = None,
    length: Annotated[int, typer.Option(help="Tokens of a sequence.")] = 128,
    batch: Annotated[int, typer.Option(help="Sequences.")] = 32,
    dropout: Annotated[float, typer.Option(help="Of all, unless a recipe says otherwise.")] = 0.1,
    mask_rate: float = 0.15,
    precision: Annotated[
        str | None, typer.Option(metavar="A,B", help="fp32, and bf16 where the hardware multiplies it natively.")
    ] = None,
    device: Device = "auto",
    compile: Compile = False,
    rounds: Annotated[int, typer.Option(help="Turns of every candidate.")] = 3,
    steps: Annotated[
        int | None, typer.Option(help="Counted ones of a turn, a multiple of 4: 12 on a CPU, 40 on a GPU.")
    ] = None,
    threads: Threads = None,
    tuned_peers: Annotated[
        bool,
        typer.Option("--tuned-peers", help="Give peers leanformer's settings of the allocator and denormals, too."),
    ] = False,
    set_: Set = None,
    plugin: Plugin = None,
    out: Results = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Tokens per second of pre-training, beside other projects on the same tokens and masks."""
    from leanformer.bench.verbs import peers as benchmark

    load(plugin)
    record = benchmark(
        words(peers),
        attention,
        data=data,
        recipes=recipe or (),
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
