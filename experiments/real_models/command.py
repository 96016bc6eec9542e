"""What a trained sentence encoder keeps with another attention, and what recovery brings back.

    python -m experiments real-models MODEL --plan PLAN.toml --texts FILE --pairs stsb=FILE --pairs squad=FILE --out OUT
    python -m experiments real-models MODEL ... --only pairwise --only shared
    python -m experiments real-models MODEL ... --speed
    python -m experiments real-models --out OUT --report

MODEL is a folder of sentence-transformers or transformers. Each target of the plan is converted with a sample of the
texts in FILE (OUT/start), recovered by the original's vectors of all of them (OUT/recovered), and measured before and
after on the files of pairs, which are never trained on. --speed exports all of them and times them in turns. The same
command goes on where it was stopped. OUT/results.json holds every number, OUT/report.md the tables; --report makes
them anew.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import leanformer as lf
from experiments.protocol import read_result
from experiments.real_models.page import document
from experiments.real_models.plan import Plan, Target, read
from experiments.real_models.quality import FULL, quality
from experiments.real_models.speed import speeds
from leanformer.evaluation.similarity import Pairs, read_pairs
from leanformer.files import write_json
from leanformer.models.cost import ledger
from leanformer.models.saved import config_of, locate
from leanformer.reporting.write import write_document
from leanformer.training.machine.hardware import describe, prepare_cpu
from leanformer.training.run.record import versions

RECORD, ORIGINAL = "real-models.json", "original"
SENTENCES = 256
"""Number of sentences that the speed is measured on."""


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m experiments real-models",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", type=Path, nargs="?", metavar="MODEL")
    parser.add_argument("--plan", type=Path)
    parser.add_argument("--texts", type=Path, metavar="FILE", help="one text per line")
    parser.add_argument("--pairs", action="append", default=[], metavar="NAME=FILE", help="the first is the main one")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", action="append", metavar="TARGET", help="these targets alone")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--speed", action="store_true", help="export and time what has been recovered")
    parser.add_argument("--report", action="store_true", help="make the tables from the record alone")
    options = parser.parse_args(arguments)
    if not options.report:
        if options.model is None or options.plan is None or options.texts is None or not options.pairs:
            raise ValueError("MODEL, --plan, --texts and --pairs are needed")
        prepare_cpu(options.threads)
        plan, pairs = read(options.plan), dict(_pairs(each) for each in options.pairs)
        if unknown := set(options.only or ()) - {target.name for target in plan.target}:
            raise ValueError(f"--only {unknown.pop()}: the plan has no such target")
        study = Study(options.model, options.out, plan, options.texts, pairs, options.threads)
        study.measure_original()
        for target in plan.target:
            if not options.only or target.name in options.only:
                study.carry_out(target)
        if options.speed:
            study.measure_speed()
    found = read_result(options.out / RECORD)
    write_document(document(found), found, options.out)
    print(f"report: {options.out / 'report.md'}")
    return 0


def _pairs(given: str) -> tuple[str, Pairs]:
    name, _, path = given.partition("=")
    if not path:
        raise ValueError(f"--pairs {given}: write NAME=FILE")
    return name, read_pairs(path)


class Study:
    def __init__(
        self, model: Path, out: Path, plan: Plan, texts: Path, pairs: dict[str, Pairs], threads: int | None
    ) -> None:
        self.model, self.out, self.plan, self.texts, self.pairs, self.threads = model, out, plan, texts, pairs, threads
        self.main = next(iter(pairs))
        out.mkdir(parents=True, exist_ok=True)

    @property
    def record(self) -> dict[str, Any]:
        file = self.out / RECORD
        return read_result(file) if file.exists() else {"schema": 1, "kind": "real-models", "targets": {}}

    def keep(self, **changes: Any) -> None:
        write_json(self.out / RECORD, self.record | changes)

    def measure_original(self) -> None:
        place = self.out / ORIGINAL
        if not place.exists():
            lf.convert(self.model, out=place)
        if "original" not in self.record:
            sizes = {name: len(pairs.first) for name, pairs in self.pairs.items()}
            self.keep(
                main=self.main,
                pairs=sizes,
                versions=versions(),
                hardware=describe(_cpu(), 1, None),
                original=self.measured(place) | {"name": self.model.name},
            )

    def measured(self, place: Path) -> dict[str, Any]:
        """Returns the size of the model at `place`, and how good its vectors are."""
        config = config_of(locate(place))
        counts = ledger(config, 128, head="none")["parameters"]
        sizes = {"parameters": counts["total"] - counts["pooler"], "attention_qkv": counts["attention_qkv"]}
        return sizes | {"layers": config.num_hidden_layers, "quality": quality(place, self.pairs)}

    def carry_out(self, target: Target) -> None:
        """Convert, measure, recover and measure again; what is recorded is not done again."""
        start, recovered = self.out / "start" / target.name, self.out / "recovered" / target.name
        row = self.record["targets"].get(target.name, {"aims": [target.aim_start, target.aim_end]})
        if "start" not in row:
            began = time.process_time()
            if not start.exists():
                lf.convert(self.model, out=start, text=self.texts, **target.conversion)
            conversion = {"cpu_seconds": time.process_time() - began, **_fit(lf.Model(start).record)}
            row |= {"conversion": conversion, "start": self.measured(start)}
            self.note(target, row)
        if "end" not in row:
            settings = self.plan.settings(target)
            how: dict[str, Any] = {"training": {**settings.get("training", {}), "threads": self.threads}}
            run = lf.distill(
                start, teacher=self.out / ORIGINAL, data=self.texts, out=recovered, settings={**settings, **how},
                resume="auto",
            )  # fmt: skip
            record, results = run.record, run.record["results"]
            training = {
                key: record["settings"]["training"][key] for key in ("learning_rate", "batch_size", "precision")
            }
            spent = {key: results[key] for key in ("steps", "seconds", "tokens")}
            held_out = {key: results[key] for key in ("start", "end")}
            row |= {"recovery": spent | training | {"held_out": held_out}, "end": self.measured(recovered)}
            self.note(target, row)

    def note(self, target: Target, row: dict[str, Any]) -> None:
        self.keep(targets=self.record["targets"] | {target.name: row})
        for when in ("start", "end"):
            if when in row:
                print(f"{target.name}, {when}: {row[when]['quality'][FULL][self.main]}")

    def measure_speed(self) -> None:
        """Export the original and what was recovered, and time all of them."""
        models = {ORIGINAL: self.out / ORIGINAL}
        models |= {name: self.out / "recovered" / name for name, row in self.record["targets"].items() if "end" in row}
        graphs, sizes = {}, {}
        for name, place in models.items():
            graphs[name] = self.out / "onnx" / name
            if not graphs[name].exists():
                lf.export(place, out=graphs[name], format="onnx", int8=True)
            weights = locate(place) / "model.safetensors"
            sizes[name] = {"fp32": weights.stat().st_size}
            sizes[name] |= {file.name: file.stat().st_size for file in graphs[name].glob("*.onnx")}
        texts = list(dict.fromkeys(self.pairs[self.main].first))[:SENTENCES]
        self.keep(speed=speeds(self.model, models, graphs, texts), bytes=sizes, sentences=len(texts))


def _fit(record: dict[str, Any]) -> dict[str, Any]:
    """Returns what the conversion says of its fit, layer by layer."""
    return {key: record[key] for key in ("layers", "vectors_cosine", "vectors_spearman") if key in record}


def _cpu() -> Any:
    import torch

    return torch.device("cpu")
