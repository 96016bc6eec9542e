"""The functions behind the verbs of `leanformer bench`, which take the options and return the record."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn

from leanformer.bench import inference as bench_inference
from leanformer.bench import mechanisms as bench_mechanisms
from leanformer.bench import output
from leanformer.bench import peers as bench_peers
from leanformer.bench.entry import Benchmark
from leanformer.bench.ours import Own
from leanformer.bench.sizes import GIVEN, of_size, size
from leanformer.bench.sweep import Sweep
from leanformer.comparison.variants import Variant, sized_variants
from leanformer.data.corpus import Corpus
from leanformer.data.prepare import prepare
from leanformer.files import new_directory
from leanformer.progress import bars, console
from leanformer.settings import Settings, read_settings
from leanformer.spelling import suggest
from leanformer.training.machine.hardware import autocast_dtype, prepare_cpu

BASELINE = "dot_product"
VOCABULARY = 8192
"""The vocabulary size of the shipped novels, which are used if no data are given."""


def mechanisms(
    attention: str,
    *,
    sizes: Sequence[str] = ("mini",),
    lengths: Sequence[int] = (128,),
    tokens: int = 4096,
    vocab_size: int = VOCABULARY,
    dropout: float = 0.1,
    precision: str = "auto",
    device: str = "auto",
    compile: bool = False,
    rounds: int = 7,
    threads: int | None = None,
    overrides: Sequence[str] = (),
    plugin: Path | None = None,
    out: Path | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Returns the record, and writes it to `out` if given; raises errors in the options before measuring anything."""
    where, model = _begin(device, threads, overrides, rounds=rounds, tokens=tokens, lengths=lengths)
    dtype = autocast_dtype(_among("--precision", precision, ("auto", "bf16", "fp32")), where)
    variants = [v for v in sized_variants(attention) if v.label != BASELINE]
    plan = bench_mechanisms.Plan(
        variants=[Variant(BASELINE, BASELINE), *variants],
        sizes=sizes,
        lengths=lengths,
        tokens=tokens,
        dropout=dropout,
        device=where,
        dtype=dtype,
        compile=compile,
        rounds=rounds,
        model={"vocab_size": vocab_size, **model},
        plugin=plugin,
    )
    return _measured(
        "mechanisms", plan.turns, partial(bench_mechanisms.measure, plan), plan.record(), dtype, where, out, quiet
    )


def inference(
    attention: str,
    *,
    precisions: Sequence[str] = bench_inference.KNOWN,
    sizes: Sequence[str] = ("mini",),
    lengths: Sequence[int] = (128,),
    tokens: int = 4096,
    vocab_size: int = VOCABULARY,
    device: str = "auto",
    rounds: int = 7,
    threads: int | None = None,
    overrides: Sequence[str] = (),
    out: Path | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Returns the record, and writes it to `out` if given; raises errors in the options before measuring anything."""
    where, model = _begin(device, threads, overrides, rounds=rounds, tokens=tokens, lengths=lengths)
    for precision in precisions:
        _among("--precisions", precision, bench_inference.KNOWN)
    if "int8" in precisions and where.type != "cpu":
        raise ValueError("--precisions int8 runs on a CPU: add --device cpu, or leave it out")
    asked = list(dict.fromkeys(["fp32", *precisions]))
    sweep = Sweep(
        variants=sized_variants(attention),
        sizes=sizes,
        lengths=lengths,
        tokens=tokens,
        device=where,
        rounds=rounds,
        model={"vocab_size": vocab_size, **model},
    )
    measure = partial(bench_inference.measure, sweep, asked)
    return _measured("inference", len(asked) * sweep.turns, measure, sweep.record(), None, where, out, quiet)


def peers(
    names: Sequence[str],
    attention: str,
    *,
    data: Path | None = None,
    recipes: Sequence[Path] = (),
    size_name: str = "mini",
    vocab_size: int | None = None,
    length: int = 128,
    batch: int = 32,
    dropout: float = 0.1,
    mask_rate: float = 0.15,
    precisions: Sequence[str] | None = None,
    device: str = "auto",
    compile: bool = False,
    rounds: int = 3,
    steps: int | None = None,
    threads: int | None = None,
    tuned: bool = False,
    plugin: Path | None = None,
    overrides: Sequence[str] = (),
    out: Path | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Returns the record, and writes it to `out` if given; raises errors in the options before measuring anything."""
    prepare_cpu(threads)
    where = _device(device)
    steps = (40 if where.type == "cuda" else 12) if steps is None else steps
    _positive(rounds=rounds, steps=steps, length=length, batch=batch)
    bench_peers.check(list(names))
    native = autocast_dtype("auto", where) is not None
    chosen = list(precisions or (["fp32", "bf16"] if native else ["fp32"]))
    for precision in chosen:
        _among("--precision", precision, ("bf16", "fp32"))
    given = read_settings(None, overrides)
    sizes = size(size_name) | {key: value for key, value in given.model.items() if key in GIVEN}
    own = _own(attention, recipes, given, chosen, sizes)
    with _corpus(data, quiet) as corpus:
        if vocab_size is not None and vocab_size < corpus.vocab_size:
            raise ValueError(f"--vocab-size {vocab_size}: the data have {corpus.vocab_size} tokens; leave it out")
        benchmark = Benchmark(
            corpus=corpus,
            sizes=sizes,
            vocab_size=vocab_size or corpus.vocab_size,
            length=length,
            batch=batch,
            dropout=dropout,
            mask_rate=mask_rate,
            steps=steps,
            device=where,
            compile=compile,
        )
        for each in own.values():
            each.config(benchmark)
        settings = {
            "size": size_name,
            "model": sizes | {"vocab_size": benchmark.vocab_size},
            "length": length,
            "batch": batch,
            "dropout": dropout,
            "mask_rate": mask_rate,
            "compile": compile,
            "rounds": rounds,
            "steps": steps,
            "tuned_peers": tuned,
            "set": list(overrides),
            "data": corpus.hash,
        }
        dtype = torch.bfloat16 if "bf16" in chosen else None
        setup = bench_peers.Setup(threads=threads, tuned=tuned, plugin=plugin)
        turns = rounds * (len(names) * len(chosen) + len(own))
        measure = partial(bench_peers.measure, benchmark, list(names), own, chosen, rounds, setup=setup)
        return _measured("peers", turns, measure, settings, dtype, where, out, quiet, _package())


def _own(
    attention: str, recipes: Sequence[Path], given: Settings, precisions: list[str], sizes: dict[str, int]
) -> dict[str, Own]:
    """Returns leanformer's candidates by label: every mechanism and every recipe, in every precision."""
    free = {key: value for key, value in given.model.items() if key not in GIVEN}
    models: dict[str, tuple[dict[str, Any], Settings]] = {}
    for variant in sized_variants(attention) if attention else []:
        named = {"attention": variant.mechanism, "attention_options": variant.options, **variant.model}
        models[f"leanformer {variant.label}"] = ({**free, **named}, given)
    for path in recipes:
        recipe = read_settings(path)
        if recipe.training.objective != "masked_lm":
            raise ValueError(f"{path}: training.objective = {recipe.training.objective!r}: peers train masked LMs")
        models[f"leanformer {path.stem}"] = ({**of_size(recipe.model, sizes), **free}, recipe)
    return {
        f"{label} {precision}": Own(model=model, training=settings.training, bf16=precision == "bf16")
        for label, (model, settings) in models.items()
        for precision in precisions
    }


@contextmanager
def _corpus(data: Path | None, quiet: bool) -> Iterator[Corpus]:
    """Yields the given data, or the novels that ship with the package, with a vocabulary of `VOCABULARY`."""
    if data is not None:
        yield Corpus.open(data)
        return
    with TemporaryDirectory() as folder:
        prepared = Path(folder) / "novels"
        prepare(["shipped:novels"], prepared, vocab_size=VOCABULARY, quiet=quiet)
        yield Corpus.open(prepared)


def _begin(
    device: str, threads: int | None, overrides: Sequence[str], *, rounds: int, tokens: int, lengths: Sequence[int]
) -> tuple[torch.device, dict[str, Any]]:
    """Returns the device and [model] of the overrides, after the checks that benchmarks of bare steps share."""
    prepare_cpu(threads)
    _positive(rounds=rounds, tokens=tokens, **{f"length {length}": length for length in lengths})
    given = read_settings(None, overrides)
    if given.training != Settings().training:
        raise ValueError("--set training...: a bare step has no such settings; leanformer bench peers takes them")
    return _device(device), given.model


def _measured(
    kind: str,
    turns: int,
    measure: Callable[..., dict[str, Any]],
    settings: dict[str, Any],
    dtype: torch.dtype | None,
    device: torch.device,
    out: Path | None,
    quiet: bool,
    packages: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Returns the record of what `measure(tick=...)` finds, written to `out` and printed as asked."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with new_directory(out, replace=False) if out else nullcontext() as directory:
        with bars(*columns, on=console(stderr=True), quiet=quiet, transient=True) as bar:
            found = measure(tick=partial(bar.advance, bar.add_task(kind, total=turns)))
        record = output.record(kind, found, settings, device, dtype, packages)
        if directory is not None:
            output.write(record, directory)
        if not quiet:
            output.print_tables(record)
    return record


def _device(name: str) -> torch.device:
    _among("--device", name, ("auto", "cpu", "cuda"))
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: torch sees no GPU here; install a CUDA build, or leave it out")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def _among(option: str, value: str, known: Sequence[str]) -> str:
    if value not in known:
        raise ValueError(f"{option} {value}: {suggest(value, known)}")
    return value


def _positive(**values: int) -> None:
    for name, value in values.items():
        if value < 1:
            raise ValueError(f"{name} = {value}: must be positive")


def _package() -> dict[str, str]:
    try:
        return {"x-transformers": version("x-transformers")}
    except PackageNotFoundError:
        return {}
