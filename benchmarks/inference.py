"""Sentences per second of one sentence encoder, by leanformer and by others.

    python -m benchmarks.inference MODEL TEXTS --out OUT.json --rounds 5 --sentences 2000 --threads 1

MODEL is a folder of sentence-transformers with a BERT-like encoder, TEXTS has one text per line. Candidates take turns
on the same texts in the file's order, A B C ... A B C ..., and a ratio is taken within a round. From texts to vectors:
tokenizing, batching and pooling count, loading and writing do not. OUT.json has, per candidate and round, seconds of
the clock and of the process (with one thread the latter hardly depends on other programs), and how far the vectors are
from those of sentence-transformers: the largest difference of a component, and the smallest cosine.

    leanformer BACKEND PRECISION    `leanformer.embed` on the converted model
    sentence-transformers           in its defaults: batches of 32, sorted by their characters
    sentence-transformers file      the same in the order of the file, as a loop over batches computes them
    sentence-transformers onnx      its own backend; needs optimum with optimum-onnx
    pipeline, pipeline 32           feature-extraction of transformers, one text at a time (its default) and in batches
    fastembed                       on a graph of this model, pooled as fastembed does; needs fastembed

A candidate whose package is missing, or that fails, is left out and named in `left_out`. All candidates share a process
and leanformer's settings of the CPU: freed memory is kept, denormal numbers are zero.
"""

import argparse
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from leanformer.bench.rounds import ratio, spread
from leanformer.conversion.convert import convert
from leanformer.evaluation.sentence_encoder import SentenceEncoder
from leanformer.files import write_json
from leanformer.inference.backend import Backend
from leanformer.training.machine.hardware import describe, prepare_cpu

Vectors = NDArray[np.float32]
Embed = Callable[[list[str]], Vectors]
OURS = ("torch fp32", "torch bf16", "torch int8", "onnx fp32", "onnx int8")
REFERENCE = "sentence-transformers"
PACKAGES = ("torch", "transformers", "sentence-transformers", "onnxruntime", "optimum", "optimum-onnx", "fastembed")
FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_tile")


def leanformer(folder: Path, backend: str, precision: str) -> Embed:
    encoder = SentenceEncoder.open(folder, load=Backend.of(backend, precision).encoder)
    return encoder.vectors


def sentence_transformers(folder: Path, *, backend: Any = "torch", in_order: bool = False) -> Embed:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu", backend=backend, trust_remote_code=False)

    def embed(texts: list[str]) -> Vectors:
        if not in_order:
            return np.asarray(model.encode(texts, show_progress_bar=False))
        parts = [model.encode(texts[i : i + 32], show_progress_bar=False) for i in range(0, len(texts), 32)]
        return np.concatenate(parts)

    return embed


def pipeline(folder: Path, batch: int) -> Embed:
    """Means of the states of every text, as a user computes them from what the pipeline returns."""
    import transformers

    run = transformers.pipeline(
        "feature-extraction", str(folder), device="cpu", batch_size=batch, trust_remote_code=False
    )
    longest = longest_text(folder)

    def embed(texts: list[str]) -> Vectors:
        how = {"truncation": True, "max_length": longest}
        states = run(texts, return_tensors=True, tokenize_kwargs=how)
        lengths = [len(ids) for ids in run.tokenizer(texts, **how)["input_ids"]]  # of a padded batch all are as long
        means = torch.stack([one[0, :length].mean(0) for one, length in zip(states, lengths, strict=True)])
        return torch.nn.functional.normalize(means, dim=-1).numpy()

    return embed


def longest_text(folder: Path) -> int:
    """Returns the number of tokens at which sentence-transformers cuts a text."""
    from sentence_transformers import SentenceTransformer

    return int(SentenceTransformer(str(folder), device="cpu", trust_remote_code=False).max_seq_length or 512)


def fastembed(folder: Path, graph: Path, width: int) -> Embed:
    """On the float32 graph that leanformer keeps, beside the tokenizer's files."""
    from fastembed import TextEmbedding
    from fastembed.common.model_description import ModelSource, PoolingType

    name = "benchmark/model"
    for path in (*folder.glob("*.json"), *folder.glob("vocab.txt")):
        shutil.copy(path, graph.parent / path.name)
    TextEmbedding.add_custom_model(
        model=name,
        pooling=PoolingType.MEAN,
        normalization=True,
        sources=ModelSource(url="file://unused"),
        dim=width,
        model_file=graph.name,
    )
    model = TextEmbedding(name, specific_model_path=str(graph.parent), threads=torch.get_num_threads())
    return lambda texts: np.stack(list(model.embed(texts)))


def candidates(folder: Path, converted: Path) -> dict[str, Callable[[], Embed]]:
    """Returns what makes each candidate, in the order of their turns."""
    made: dict[str, Callable[[], Embed]] = {REFERENCE: partial(sentence_transformers, folder)}
    made["sentence-transformers file"] = partial(sentence_transformers, folder, in_order=True)
    made["sentence-transformers onnx"] = partial(sentence_transformers, folder, backend="onnx")
    for own in OURS:
        made[f"leanformer {own}"] = partial(leanformer, converted, *own.split())
    made["pipeline"] = partial(pipeline, folder, 1)
    made["pipeline 32"] = partial(pipeline, folder, 32)
    width = int(SentenceEncoder.open(converted).width)
    made["fastembed"] = partial(fastembed, folder, converted / "onnx" / "encoder" / "graph.onnx", width)
    return made


def measure(embed: Embed, texts: list[str]) -> tuple[float, float]:
    """Returns the seconds of the clock and those of the process."""
    clock, process = time.perf_counter(), time.process_time()
    embed(texts)
    return time.perf_counter() - clock, time.process_time() - process


def compare(
    folder: Path, texts: list[str], rounds: int, names: list[str] | None, threads: int | None
) -> dict[str, Any]:
    """Returns the record of all candidates, or of those named."""
    prepare_cpu(threads)
    ready: dict[str, Embed] = {}
    left_out: dict[str, str] = {}
    rows: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as place:
        converted = Path(place) / "model"
        convert(folder, converted)
        expected = None
        for name, make in candidates(folder, converted).items():
            if names is not None and name not in names and name != REFERENCE:
                continue
            try:
                embed = make()
                found = embed(texts)  # warm-up
            except Exception as error:  # of any of these packages
                left_out[name] = reason(error)
                continue
            expected = found if expected is None else expected
            ready[name], rows[name] = embed, accuracy(found, expected)
            print(f"{name}: ready", file=sys.stderr)
        lengths = SentenceEncoder.open(converted).encoded(texts).lengths
        clock: dict[str, list[float]] = {name: [] for name in ready}
        process: dict[str, list[float]] = {name: [] for name in ready}
        for _ in range(rounds):
            for name, embed in ready.items():
                wall, own = measure(embed, texts)
                clock[name].append(wall)
                process[name].append(own)
    for name, row in rows.items():
        row |= {"seconds": clock[name], "process_seconds": process[name]}
        row["sentences_per_second"] = spread([len(texts) / seconds for seconds in clock[name]])
        row["speed_to_reference"] = ratio(clock[REFERENCE], clock[name])
        row["process_speed_to_reference"] = ratio(process[REFERENCE], process[name])
    return {
        "schema": 1,
        "kind": "benchmark_inference",
        "reference": REFERENCE,
        "sentences": len(texts),
        "tokens": {"mean": float(lengths.mean()), "largest": int(lengths.max())},
        "rounds": rounds,
        "hardware": describe(torch.device("cpu"), 1, None) | {"flags": flags()},
        "versions": versions(),
        "candidates": rows,
        "left_out": left_out,
    }


def accuracy(found: Vectors, expected: Vectors) -> dict[str, Any]:
    """Returns how far the vectors are from the expected ones."""
    norms = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    cosines = (found * expected).sum(1) / norms
    difference = float(np.abs(found - expected).max())
    return {"largest_difference": difference, "smallest_cosine": float(cosines.min())}


def reason(error: Exception) -> str:
    """Returns what failed in one line, without paths of this machine."""
    text = re.sub(r" ?\(/[^)]*\)", "", " ".join(str(error).split()))
    return f"{type(error).__name__}: {text[:200]}"


def flags() -> list[str]:
    """Returns which of the vector extensions that matter here the CPU has."""
    cpuinfo = Path("/proc/cpuinfo")
    known = cpuinfo.read_text().split() if cpuinfo.is_file() else []
    return [flag for flag in FLAGS if flag in known]


def versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def table(record: dict[str, Any]) -> str:
    """Returns the candidates with their speed as a multiple of the reference's, the fastest first."""
    lines = [
        "| candidate | speed to the reference | by process time | largest difference |",
        "|---|---:|---:|---:|",
    ]
    rows = sorted(record["candidates"].items(), key=lambda row: -row[1]["process_speed_to_reference"]["median"])
    for name, row in rows:
        cells = ["{median:.2f}, from {low:.2f} to {high:.2f}".format(**row[key])
                 for key in ("speed_to_reference", "process_speed_to_reference")]  # fmt: skip
        lines.append(f"| {name} | {cells[0]} | {cells[1]} | {row['largest_difference']:.1e} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("texts", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sentences", type=int, default=2000)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--candidates", help="names, joined by commas; default: all")
    asked = parser.parse_args(arguments)
    texts = asked.texts.read_text(encoding="utf-8").splitlines()[: asked.sentences]
    names = None if asked.candidates is None else asked.candidates.split(",")
    record = compare(asked.model, texts, asked.rounds, names, asked.threads)
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(asked.out, record)
    print(table(record))


if __name__ == "__main__":
    main()
