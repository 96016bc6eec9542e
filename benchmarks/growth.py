"""How cost grows: measured against length, width, depth, vocabulary, documents and runs, beside what the formula says.

    python -m benchmarks.growth DIR
    python -m benchmarks.growth DIR --axis length --axis depth

axis         points                     measured                                              formula
length       128 to 8,192 tokens        a training step, inference; bytes of a decoder's      FLOPs; 2 E L numbers a
                                        cache                                                 layer
width        64 to 512                  a training step, inference                            FLOPs
depth        2 to 16 layers             the same                                              FLOPs
vocabulary   1,024 to 65,536            the same                                              FLOPs
documents    1,000 to 16,000            `prepare`                                             the documents
runs         4 to 16                    `compare` of tiny runs, and its `report`              the runs

A model of the size `mini` changes along one axis; a batch has 2,048 tokens, but at least one sequence. Times are CPU
seconds of the process, so other programs have little effect; a step's is the median of five turns, in which the points
of an axis alternate. The slope is that of log cost against log size over the upper half of the points, by least
squares; 1 is linear. A cost that grows faster than its formula by 0.15 and more is marked. DIR/growth.json holds all
measurements, and an axis that is there is not repeated; DIR/growth.md and growth.svg are made from it.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

import leanformer as lf
from leanformer.bench.rounds import alternate, repeats, turn
from leanformer.bench.sizes import config, size
from leanformer.bench.step import Model, costs
from leanformer.data.readers import documents
from leanformer.files import write_json
from leanformer.models import LeanformerForCausalLM
from leanformer.reporting.figures.frame import Frame
from leanformer.reporting.render.style import drawing, series
from leanformer.training.machine.hardware import autocast_dtype, describe, prepare_cpu
from leanformer.training.run.record import versions

CPU = torch.device("cpu")
TOKENS, VOCABULARY, ROUNDS = 2048, 8192, 5
FASTER = 0.15
"""A slope that is so much larger than the formula's is worth a look."""
POINTS: dict[str, tuple[int, ...]] = {
    "length": (128, 256, 512, 1024, 2048, 4096, 8192),
    "width": (64, 128, 256, 512),
    "depth": (2, 4, 8, 16),
    "vocabulary": (1024, 4096, 16384, 65536),
    "documents": (1000, 2000, 4000, 8000, 16000),
    "runs": (4, 8, 16),
}
MODEL_AXES = ("length", "width", "depth", "vocabulary")
SETTING = {"width": "hidden_size", "depth": "num_hidden_layers", "vocabulary": "vocab_size"}

Rows = list[dict[str, Any]]
Costs = dict[str, dict[str, list[float]]]
"""By quantity, the `measured` costs at all points and those of the `formula`, if there is one."""


def model_settings(axis: str, point: int) -> tuple[dict[str, Any], int]:
    """Returns [model] and the sequence length at a point of an axis."""
    length = point if axis == "length" else 128
    given = size("mini") | {"vocab_size": VOCABULARY, "max_position_embeddings": length, "positions": "rotary"}
    given |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    if axis in SETTING:
        given[SETTING[axis]] = point
    if axis == "width":
        given |= {"num_attention_heads": max(1, point // 64), "intermediate_size": 4 * point}
    return given, length


def of_models(axis: str, points: tuple[int, ...]) -> Costs:
    found: Costs = {}
    dtype, placed = autocast_dtype("auto", CPU), [model_settings(axis, point) for point in points]
    batches = [max(1, TOKENS // length) for _, length in placed]
    formulas = [costs(config(given), length)["flops_per_token"] for given, length in placed]
    for kind in ("training", "inference"):
        models = [
            Model(config(given), length, batch, CPU, dtype)
            for (given, length), batch in zip(placed, batches, strict=True)
        ]
        steps = [model.train if kind == "training" else model.infer for model in models]
        turns = {str(i): turn(step, repeats(step, CPU), CPU) for i, step in enumerate(steps)}
        taken = alternate(turns, ROUNDS, lambda: None)
        tokens = [batch * length for batch, (_, length) in zip(batches, placed, strict=True)]
        seconds = [median(taken[str(i)]) / tokens[i] for i in range(len(points))]
        found[f"{kind}, seconds a token"] = {"measured": seconds, "formula": [each[kind] for each in formulas]}
    if axis == "length":
        found["cache, bytes a sequence"] = of_caches(points)
    return found


@torch.inference_mode()
def of_caches(lengths: tuple[int, ...]) -> dict[str, list[float]]:
    """Returns the bytes of a decoder's cache in float32, and 2 E L numbers a layer."""
    measured, formula = [], []
    for length in lengths:
        given, _ = model_settings("length", length)
        model = LeanformerForCausalLM(config(given)).eval()
        cache = model(torch.zeros(1, length, dtype=torch.long), use_cache=True).past_key_values
        tensors = [tensor for layer in cache.layers for tensor in (layer.keys, layer.values)]
        measured.append(float(sum(tensor.numel() * tensor.element_size() for tensor in tensors)))
        formula.append(4.0 * 2 * given["hidden_size"] * length * given["num_hidden_layers"])
    return {"measured": measured, "formula": formula}


def of_documents(numbers: tuple[int, ...]) -> Costs:
    """Measure `prepare` of so many documents: the shipped novels, cut into pieces of 100 words and repeated."""
    words = " ".join(documents("shipped:novels")).split()
    pieces = [" ".join(words[i : i + 100]) for i in range(0, len(words) - 99, 100)]
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        for number in numbers:
            texts = [f"{pieces[i % len(pieces)]} {i}" for i in range(number)]
            prepare = partial(lf.prepare, texts, out=Path(folder) / str(number), vocab_size=2000, quiet=True)
            seconds.append(cpu_seconds(prepare))
    return {"prepare, seconds": {"measured": seconds, "formula": [float(number) for number in numbers]}}


def of_runs(numbers: tuple[int, ...]) -> Costs:
    """Measure `compare` of so many runs of a few steps, half of them with another attention, and `report`."""
    tiny: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "batch_size": 4}
    tiny |= {"intermediate_size": 64, "max_position_embeddings": 64, "sequence_length": 64, "max_steps": 20}
    tiny |= {"validation_sequences": 16, "score_targets": 512, "checkpoint_every": 0, "validate_every": 5}
    compared, reported = [], []
    with tempfile.TemporaryDirectory() as folder:
        data = lf.prepare("shipped:novels", out=Path(folder) / "data", algorithm="characters", quiet=True)
        for number in numbers:
            out = Path(folder) / str(number)
            arms: dict[str, Any] = {"attention": ["dot_product", "symmetric"], "seeds": number // 2}
            compared.append(cpu_seconds(partial(lf.compare, data, out=out, **arms, **tiny, quiet=True)))
            reported.append(cpu_seconds(partial(lf.report, out)))
    formula = [float(number) for number in numbers]
    return {
        "compare, seconds": {"measured": compared, "formula": formula},
        "report, seconds": {"measured": reported, "formula": formula},
    }


def cpu_seconds(call: Callable[[], object]) -> float:
    """Returns the CPU seconds of a call, with those of processes it started and waited for."""
    before = sum(_times())
    call()
    return sum(_times()) - before


def _times() -> tuple[float, ...]:
    spent = os.times()
    return spent.user, spent.system, spent.children_user, spent.children_system


def slope(points: list[int], values: list[float]) -> float:
    """Returns d log value / d log point over the upper half of the points, by least squares."""
    upper = min(len(points) // 2, len(points) - 2)
    return float(np.polyfit(np.log(points[upper:]), np.log(values[upper:]), 1)[0])


def table(record: Mapping[str, Any]) -> str:
    lines = [
        "| axis | cost | from | to | slope | formula's slope | |",
        "|---|---|---:|---:|---:|---:|---|",
    ]
    for axis, found in record["axes"].items():
        points = found["points"]
        for name, values in found["costs"].items():
            measured, formula = slope(points, values["measured"]), slope(points, values["formula"])
            mark = "faster than its formula" if measured - formula >= FASTER else ""
            first, last = values["measured"][0], values["measured"][-1]
            ends = f"{first:.3g} at {points[0]:,} | {last:.3g} at {points[-1]:,}"
            lines.append(f"| {axis} | {name} | {ends} | {measured:.2f} | {formula:.2f} | {mark} |")
    return "\n".join(lines) + "\n"


def picture(record: Mapping[str, Any], file: Path) -> None:
    """Draw one panel per axis: every cost relative to its first point, solid as measured, dotted by its formula."""
    with drawing():
        frame, panels = Frame(9.6), record["axes"]
        columns, height = 3, 2.7 * -(-len(panels) // 3)
        figure = frame.figure(height)
        for i, (axis, found) in enumerate(panels.items()):
            axes = figure.add_subplot(-(-len(panels) // columns), columns, i + 1)
            for number, (name, values) in enumerate(found["costs"].items(), 1):
                look = series(number)
                for key, style in (("measured", "-"), ("formula", (0, (1, 1.5)))):
                    relative = np.array(values[key]) / values[key][0]
                    label = name.partition(",")[0] if key == "measured" else None
                    axes.plot(found["points"], relative, color=look["color"], linestyle=style, label=label)
            axes.set_xscale("log", base=2)
            axes.set_yscale("log", base=2)
            axes.xaxis.set_major_formatter("{x:,.0f}")
            axes.yaxis.set_major_formatter("{x:g}")
            axes.set_title(axis)
            axes.legend(frameon=False, loc="upper left")
        figure.subplots_adjust(left=0.06, right=0.98, top=1 - 0.3 / height, bottom=0.35 / height, hspace=0.45)
        figure.savefig(file)


MEASURE: dict[str, Callable[[tuple[int, ...]], Costs]] = {axis: partial(of_models, axis) for axis in MODEL_AXES}
MEASURE |= {"documents": of_documents, "runs": of_runs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="DIR")
    parser.add_argument("--axis", action="append", choices=POINTS, help="these alone")
    options = parser.parse_args()
    file = options.out / "growth.json"
    prepare_cpu(1)
    options.out.mkdir(parents=True, exist_ok=True)
    for axis in options.axis or POINTS:
        record = json.loads(file.read_text()) if file.exists() else {"axes": {}}
        if axis not in record["axes"]:
            began = time.perf_counter()
            record |= {"machine": describe(CPU, 1, autocast_dtype("auto", CPU)), "versions": versions()}
            record["axes"][axis] = {"points": list(POINTS[axis]), "costs": MEASURE[axis](POINTS[axis])}
            write_json(file, record)
            print(f"{axis}: {time.perf_counter() - began:.0f} seconds", flush=True)
    record = json.loads(file.read_text())
    (options.out / "growth.md").write_text(table(record))
    picture(record, options.out / "growth.svg")
    print(table(record))


if __name__ == "__main__":
    main()
