"""The `leanformer` command: verbs only. Each parses its arguments, calls one function and prints.

A module beside the package, because importing the package registers its models with transformers, which takes seconds;
here every such import waits until a verb needs it, and `--help` is instant.
"""

import json
import os
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

app = typer.Typer(
    name="leanformer",
    help="Train BERT-like language models with parameter-saving attention, and say what each saving costs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="A mistake ends with one line on stderr and status 2; add --debug to any command to see where it arose.",
)
bench = typer.Typer(
    help="Measure speed and memory on this machine, side by side: docs/performance.md.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(bench, name="bench")

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors and the result.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="TABLE.KEY=VALUE", help="Override a setting; may be repeated.")
]
Config = Annotated[Path | None, typer.Argument(metavar="[CONFIG.toml]", help="Settings; see `docs/settings.md`.")]
Data = Annotated[Path, typer.Option("--data", metavar="DATA", help="A directory made by `leanformer prepare`.")]
Plugin = Annotated[
    Path | None, typer.Option("--plugin", metavar="FILE.py", help="A Python file that registers mechanisms or tasks.")
]
Device = Annotated[str, typer.Option(help="auto (a GPU if there is one), cpu or cuda.")]
Compile = Annotated[bool, typer.Option("--compile", help="torch.compile every contestant.")]
Threads = Annotated[int | None, typer.Option(help="CPU threads; default: all cores.")]
Results = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", help="Write results.json, report.md and pictures there.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def main() -> None:
    """The console script: run a verb, and turn a mistake into one line and status 2."""
    debug = "--debug" in sys.argv
    sys.argv = [argument for argument in sys.argv if argument != "--debug"]
    if debug:
        app()
    try:
        app()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except (ValueError, OSError, ArithmeticError) as error:
        _fail(error)
    except KeyboardInterrupt:
        sys.exit(130)


def _fail(error: Exception) -> NoReturn:
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        remedy = (
            "free some space, then repeat the command" if error.errno == 28 else "check the path and its permissions"
        )
        text = f"{error.filename or 'writing'}: {error.strerror.lower()}: {remedy}"
    print(f"leanformer: {' '.join(text.split())}", file=sys.stderr)
    sys.exit(2)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(version("leanformer"))
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None: ...


@app.command()
def mechanisms(
    hidden_size: int = 768,
    layers: int = 12,
    heads: int = 12,
    intermediate_size: int = 3072,
    vocab_size: int = 30522,
    max_length: int = 512,
    plugin: Plugin = None,
    as_json: AsJson = False,
) -> None:
    """List the attention mechanisms with their parameters and FLOPs in a model of the given size."""
    from leanformer.comparison.catalogue import catalogue, print_catalogue

    _load(plugin)
    rows = catalogue(
        hidden_size=hidden_size,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=intermediate_size,
        vocab_size=vocab_size,
        max_position_embeddings=max_length,
    )
    print(json.dumps(rows, indent=2)) if as_json else print_catalogue(rows)


@app.command()
def prepare(
    text: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TEXT...]",
            help="Files, folders (.txt, .jsonl, .parquet; .xz, .gz, .bz2), hf:NAME[:CONFIG[:SPLIT]], shipped:novels.",
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
    tokenizer: Annotated[str | None, typer.Option(metavar="FILE", help="Take this tokenizer instead.")] = None,
    cased: Annotated[bool, typer.Option("--cased", help="Keep capitals and accents.")] = False,
    tokenizer_megabytes: Annotated[float, typer.Option(help="Text to train the tokenizer on, from all over.")] = 32,
    valid: Annotated[list[str] | None, typer.Option(metavar="TEXT", help="Held-out text; may be repeated.")] = None,
    valid_fraction: Annotated[float, typer.Option(help="Share held out where no --valid is given.")] = 0.01,
    field: Annotated[str, typer.Option(help="The field of JSONL or parquet that holds the text.")] = "text",
    plugin: Plugin = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Turn raw text, or the pairs of a task, into tokens on disk, with a tokenizer and a held-out part."""
    _load(plugin)
    made: dict[str, Any] = {"tokenizer": tokenizer, "tokenizer_megabytes": tokenizer_megabytes}
    made |= {"vocab_size": vocab_size} if vocab_size is not None else {}
    made |= {"algorithm": algorithm} if algorithm is not None else {}
    if task is not None:
        from leanformer.data.prepare_pairs import prepare_pairs

        if task_data is None or text or valid:
            raise ValueError(f"--task {task} needs --task-data DIR, and neither TEXT nor --valid")
        _result(prepare_pairs(task, task_data, out, **made), as_json, quiet)
        return
    from leanformer.data.prepare import prepare

    summary = prepare(
        text or (),
        out,
        cased=cased,
        valid=valid,
        valid_fraction=valid_fraction,
        field=field,
        quiet=quiet or as_json,
        **made,
    )
    _result(summary, as_json, quiet)


@app.command()
def pretrain(
    config: Config = None,
    *,
    data: Data,
    out: Annotated[Path, typer.Option("--out", metavar="RUN", help="The run directory to make or resume.")],
    set_: Set = None,
    plugin: Plugin = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in RUN.")] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Train one model by training.objective: masked_lm, causal_lm or seq2seq.

    For several processes: torchrun --nproc-per-node N -m leanformer_cli ...
    """
    from leanformer.settings import read_settings
    from leanformer.training.pretrain import pretrain

    given = config is not None or set_ or not resume
    settings = read_settings(config, set_ or ()) if given else None  # resumed without any, a run keeps its own
    record = pretrain(settings, data, out, resume=resume, quiet=quiet or as_json, plugin=plugin)
    if as_json:
        print(json.dumps(record, indent=2))


@app.command()
def finetune(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A pre-training run or a saved model.")],
    task: Annotated[str, typer.Option(help="cola, boolq, squad, ...: docs/data.md, or one that a plug-in registers.")],
    task_data: Annotated[
        str, typer.Option(metavar="DIR", help="A folder with a folder a task (DIR/sst2/train.jsonl.xz), or `hub`.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="RUN", help="The directory to make.")],
    seeds: Annotated[int | None, typer.Option(help="Fine-tune with seeds 1 to N, each in its own folder.")] = None,
    config: Annotated[Path | None, typer.Option(metavar="CONFIG.toml", help="Settings.")] = None,
    discard_model: Annotated[
        bool, typer.Option("--discard-model", help="Keep scores and predictions, not the model.")
    ] = False,
    set_: Set = None,
    plugin: Plugin = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Fine-tune on a task; the score is taken at the end of training."""
    from leanformer.evaluation.finetune import finetune
    from leanformer.settings import read_settings

    _load(plugin)
    settings = read_settings(config, set_ or ())
    record = finetune(
        run, task, task_data, out, settings, seeds=seeds, keep_model=not discard_model, quiet=quiet or as_json
    )
    results = record.get("results") or record  # of one run, or of several
    means = {name: value if isinstance(value, float) else value["mean"] for name, value in results["metrics"].items()}
    shown = {"task": task, **means, **{key: results.get(key) for key in ("score", "sd", "collapsed")}, "out": str(out)}
    _result(record if as_json else shown, as_json, quiet)


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A pre-training run or a saved model.")],
    data: Annotated[Path, typer.Option(metavar="PATH", help="A data directory or a text file.")],
    suite: Annotated[str, typer.Option(help="perplexity, or generation: texts written and scored.")] = "perplexity",
    split: Annotated[str | None, typer.Option(help="generation: the split, else the first test split.")] = None,
    beams: Annotated[int | None, typer.Option(help="generation: width of the beam search, 4.")] = None,
    max_length: Annotated[int | None, typer.Option(help="generation: tokens of a text, else as in training.")] = None,
    limit: Annotated[int | None, typer.Option(help="generation: so many pairs, spread over the split.")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="generation: for texts and scores, else RUN/generation/SPLIT.")
    ] = None,
    threads: Threads = None,
    plugin: Plugin = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Measure a pre-trained model on held-out text, or score what it writes."""
    from leanformer.evaluation.evaluate import evaluate
    from leanformer.training.hardware import prepare_cpu

    _load(plugin)
    prepare_cpu(threads)
    options = {"split": split, "beams": beams, "max_length": max_length, "limit": limit, "out": out}
    _result(evaluate(run, suite, data, **options), as_json, quiet)


@app.command()
def compare(
    config: Config = None,
    *,
    data: Data,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The comparison directory to make or resume.")],
    attention: Annotated[
        str,
        typer.Option(
            metavar="A,B,C", help="Mechanisms; options and sizes in brackets: pairwise[coefficients_init=identity]."
        ),
    ] = "dot_product,symmetric,pairwise,shared",
    grid: Annotated[bool, typer.Option("--grid", help="Every projection with every compatibility instead.")] = False,
    seeds: Annotated[int, typer.Option(help="Runs of each mechanism: seeds 1 to N.")] = 3,
    learning_rates: Annotated[
        str | None, typer.Option(metavar="A,B,C", help="Give every mechanism each of these rates; report all.")
    ] = None,
    task: Annotated[str | None, typer.Option(metavar="A,B", help="Fine-tune on these tasks.")] = None,
    task_data: Annotated[str | None, typer.Option(metavar="DIR", help="Where the tasks are, or `hub`.")] = None,
    task_seeds: Annotated[int, typer.Option(help="Fine-tuning runs of each pre-trained model and task.")] = 1,
    jobs: Annotated[int | None, typer.Option(help="Runs at a time; default: one a CPU core, or one on a GPU.")] = None,
    set_: Set = None,
    plugin: Plugin = None,
    resume: Annotated[bool, typer.Option("--resume", help="Skip what is finished, resume what is not.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell time and disk needed, and stop.")] = False,
    quiet: Quiet = False,
) -> None:
    """Pre-train several mechanisms under equal conditions, fine-tune or score them, and report with statistics."""
    from leanformer.comparison.compare import compare
    from leanformer.comparison.variants import grid as all_pairs
    from leanformer.comparison.variants import parse_variants
    from leanformer.settings import read_settings

    _load(plugin)
    compare(
        read_settings(config, set_ or ()),
        data,
        out,
        variants=all_pairs() if grid else parse_variants(attention),
        seeds=list(range(1, seeds + 1)),
        learning_rates=_floats(learning_rates, "--learning-rates"),
        tasks=_words(task or ""),
        task_data=task_data,
        task_seeds=task_seeds,
        jobs=jobs,
        plugin=plugin,
        resume=resume,
        dry_run=dry_run,
        quiet=quiet,
        command=shlex.join(["leanformer", *sys.argv[1:]]),
    )


@app.command()
def report(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A comparison, or a single run.")],
    quiet: Quiet = False,
) -> None:
    """Write results.json, report.md and report.html of a comparison from its records."""
    from leanformer.report import write_report

    write_report(directory)
    if not quiet:
        print(directory / "report.html")


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="A saved Hugging Face BERT, or a leanformer model.")],
    target: Annotated[Path, typer.Argument(metavar="DST", help="The directory to make.")],
    attention: Annotated[str, typer.Option(help="The mechanism to convert a BERT to.")] = "dot_product",
    to: Annotated[str, typer.Option(help="bert: from leanformer back to Hugging Face's BERT.")] = "leanformer",
    quiet: Quiet = False,
) -> None:
    """Convert a Hugging Face BERT to leanformer, or back, with equal outputs."""
    from leanformer.models.convert import convert

    for note in convert(source, target, attention=attention, to=to):
        print(note, file=sys.stderr)
    if not quiet:
        print(target)


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

    _load(plugin)
    record = mechanisms(
        attention,
        sizes=_words(sizes),
        lengths=_whole(lengths, "--lengths"),
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
    rounds: Annotated[int, typer.Option(help="Turns of every contestant.")] = 3,
    steps: Annotated[
        int | None, typer.Option(help="Counted ones of a turn, a multiple of 4: 12 on a CPU, 40 on a GPU.")
    ] = None,
    threads: Threads = None,
    set_: Set = None,
    plugin: Plugin = None,
    out: Results = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Tokens per second of pre-training, beside other projects on the same tokens and masks."""
    from leanformer.bench.verbs import peers as race

    _load(plugin)
    record = race(
        _words(peers),
        attention,
        data=data,
        recipes=recipe or (),
        size_name=size,
        vocab_size=vocab_size,
        length=length,
        batch=batch,
        dropout=dropout,
        mask_rate=mask_rate,
        precisions=None if precision is None else _words(precision),
        device=device,
        compile=compile,
        rounds=rounds,
        steps=steps,
        threads=threads,
        overrides=set_ or (),
        out=out,
        quiet=quiet or as_json,
    )
    if as_json:
        print(json.dumps(record, indent=2))


def _load(plugin: Path | None) -> None:
    if plugin is not None:
        from leanformer.attention import load_plugin

        load_plugin(plugin)


def _floats(text: str | None, option: str) -> list[float] | None:
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"{option} {text!r}: write numbers separated by commas, for example 3e-4,1e-3") from None


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _whole(text: str, option: str) -> list[int]:
    try:
        return [int(word) for word in _words(text)]
    except ValueError:
        raise ValueError(f"{option} {text!r}: write whole numbers separated by commas, for example 128,512") from None


def _result(result: dict[str, Any], as_json: bool, quiet: bool) -> None:
    if as_json:
        print(json.dumps(result, indent=2))
    elif not quiet:
        for key, value in result.items():
            if isinstance(value, str | int | float):
                print(
                    f"{key.replace('_', ' ')}: {value:.6g}"
                    if isinstance(value, float)
                    else f"{key.replace('_', ' ')}: {value}"
                )


if __name__ == "__main__":
    main()
