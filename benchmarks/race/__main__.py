"""How soon `fast` reaches the loss of the strongest rivals, each with a learning rate tuned by the same effort.

    python -m benchmarks.race clock  --data DATA --out DIR                 # alone on the machine
    python -m benchmarks.race tune   --data DATA --out DIR                 # resumable, beside other programs
    python -m benchmarks.race run    --data DATA --out DIR
    python -m benchmarks.race report --out DIR

`clock` times full steps of all candidates in turns, each in a process of its own with leanformer's memory settings.
The other stages convert minutes into steps or tokens by the medians. `tune` trains for a quarter of the minutes with a
seed of its own and doubles or halves the rate until the best lies between two others, at most six rates. `run` trains
every rival for all of the minutes, and `fast` for a half and for all of them, with each seed. Losses are in nats on the
same held-out sequences and masks. DIR/race.json holds the plan, which the first command writes, and every measurement;
what is there is not repeated.
"""

import argparse
import json
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import mean, median
from typing import Any

import torch

from benchmarks.race.rivals import RIVALS
from benchmarks.race.training import VALIDATION, train, turn, validation_loss
from benchmarks.time_to_loss import trained
from leanformer import recipes
from leanformer.bench.entry import Benchmark
from leanformer.bench.processes import Process
from leanformer.bench.rounds import alternate
from leanformer.bench.sizes import of_size, size
from leanformer.data.corpus import Corpus
from leanformer.files import write_json
from leanformer.reporting.numbers.statistics import paired_difference
from leanformer.settings import Settings, read_settings
from leanformer.training.machine.hardware import autocast_dtype, describe, prepare_cpu
from leanformer.training.run.record import versions

FAST, RATES = "fast", (5e-4, 1e-3, 2e-3)
MOST_RATES, TUNING_SEED, STEPS, TOKENS = 6, 101, 12, 300_000


@dataclass(frozen=True)
class Race:
    """A race on `corpus` whose record is `file`."""

    data: Path
    corpus: Corpus
    file: Path
    plan: dict[str, Any]

    @property
    def record(self) -> dict[str, Any]:
        return json.loads(self.file.read_text()) if self.file.exists() else {"plan": self.plan}

    def keep(self, table: str, name: str, key: str, value: Any) -> None:
        """Adds one measurement to the record, which another process may have changed."""
        record = self.record
        record.setdefault(table, {}).setdefault(name, {})[key] = value
        self.file.parent.mkdir(parents=True, exist_ok=True)
        write_json(self.file, record)
        print(f"{table}: {name} {key}: {value}", flush=True)

    @property
    def benchmark(self) -> Benchmark:
        how = {key: self.plan[key] for key in ("length", "batch")} | {"dropout": 0.0, "mask_rate": 0.15, "steps": 4}
        how |= {"sizes": size(self.plan["size"]), "vocab_size": self.corpus.vocab_size, "device": torch.device("cpu")}
        return Benchmark(corpus=self.corpus, **how)

    def fast(self, rate: float, tokens: int, seed: int) -> Settings:
        """Returns the recipe at the size, length and budget of the race."""
        sizes, found = size(self.plan["size"]), read_settings(recipes.path(FAST), ())
        model = sizes | of_size(found.model, sizes) | {"max_position_embeddings": self.plan["length"]}
        training = replace(
            found.training,
            max_tokens=tokens,
            learning_rate=rate,
            seed=seed,
            sequence_length=self.plan["length"],
            batch_size=self.plan["batch"],
            checkpoint_every=0,
            validation_sequences=VALIDATION,
            score_targets=0,
        )
        return replace(found, model=model, training=training)

    def clock(self, rounds: int) -> None:
        names = [name for name in (*RIVALS, FAST) if name not in self.record.get("clock", {})]
        with ExitStack() as stack:
            turns: dict[str, Callable[[], float]] = {}
            for name in names:
                made = (recipe_speed, self) if name == FAST else (rival_speed, name, self.benchmark)
                turns[name] = partial(stack.enter_context(closing(Process(*made))), TOKENS if name == FAST else STEPS)
            for name, values in alternate(turns, rounds, lambda: None).items():
                self.keep("clock", name, "tokens_per_second" if name == FAST else "seconds_per_step", values)

    def loss(self, name: str, rate: float, minutes: float, seed: int) -> dict[str, Any]:
        clock = self.record["clock"][name]
        if name == FAST:
            tokens = round(60 * minutes * median(clock["tokens_per_second"]))
            results = trained(self.fast(rate, tokens, seed), self.data)
            return {"loss": results["final_loss"], "tokens": results["tokens"], "steps": results["steps"]}
        rival = RIVALS[name]
        whole = 0.5 * (rival.first_batch + 1) / 2 + 0.5  # of a batch, on average
        steps = round(60 * minutes / median(clock["seconds_per_step"]) / whole)
        found = train(rival, self.benchmark, rate, seed, steps)
        loss = validation_loss(rival, found.model, self.corpus, self.plan["length"])
        return {"loss": loss, "tokens": found.tokens, "steps": steps}

    def tune(self, name: str) -> None:
        while (rate := next_rate(self.tried(name), RATES if name == FAST else RIVALS[name].rates)) is not None:
            self.keep(
                "tuning", name, f"{rate:g}", self.loss(name, rate, self.plan["minutes"] / 4, self.plan["tuning_seed"])
            )

    def tried(self, name: str) -> dict[float, float]:
        return {float(rate): row["loss"] for rate, row in self.record.get("tuning", {}).get(name, {}).items()}

    def run(self, name: str) -> None:
        tried = self.tried(name)
        if not tried or next_rate(tried, ()) is not None:
            raise ValueError(f"{name} is not tuned: python -m benchmarks.race tune")
        rate = min(tried, key=tried.__getitem__)
        for share in (0.5, 1.0) if name == FAST else (1.0,):
            label = f"{name}, half of the time" if share < 1 else name
            for seed in self.plan["seeds"]:
                if str(seed) not in self.record.get("runs", {}).get(label, {}):
                    row = self.loss(name, rate, share * self.plan["minutes"], seed)
                    self.keep("runs", label, str(seed), row | {"rate": rate})


def next_rate(tried: dict[float, float], first: tuple[float, ...]) -> float | None:
    """Returns the rate to try next, or None if the best lies between two others or there are enough."""
    for rate in first:
        if rate not in tried:
            return rate
    best, rates = min(tried, key=tried.__getitem__), sorted(tried)
    if len(rates) >= MOST_RATES or best not in (rates[0], rates[-1]):
        return None
    return best / 2 if best == rates[0] else best * 2


def rival_speed(name: str, benchmark: Benchmark) -> Callable[[int], float]:
    """Returns a function that gives the seconds of a step, over so many."""
    prepare_cpu(None)
    return turn(benchmark, RIVALS[name])


def recipe_speed(race: Race) -> Callable[[int], float]:
    """Returns a function that gives the recipe's tokens per second, over so many."""
    prepare_cpu(None)

    def speed(tokens: int) -> float:
        settings = race.fast(RATES[1], tokens, 1)
        alone = replace(settings, training=replace(settings.training, validate_every=10**9))
        return trained(alone, race.data)["tokens_per_second"]

    return speed


def table(record: dict[str, Any]) -> str:
    """Returns the losses as Markdown, with the difference of `fast` to every rival, paired by seed."""
    runs, minutes = record["runs"], record["plan"]["minutes"]
    lines = ["| candidate | minutes | learning rate | tokens | loss |", "|---|---:|---:|---:|---:|"]
    for name, rows in runs.items():
        row = next(iter(rows.values()))
        spent = minutes / 2 if "half" in name else minutes
        loss = mean(each["loss"] for each in rows.values())
        lines.append(f"| {name} | {spent:g} | {row['rate']:g} | {row['tokens'] / 1e6:.2f} M | {loss:.3f} |")
    for own in (f"{FAST}, half of the time", FAST):
        for name in RIVALS:
            if own in runs and name in runs:
                pairs = [runs[own][seed]["loss"] - runs[name][seed]["loss"] for seed in runs[own]]
                found = paired_difference(pairs)
                low, high = found.ci95 or ("?", "?")
                lines.append(f"\n{own} minus {name}: {found.mean:+.3f} nats [{low:+.3f}, {high:+.3f}]")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("clock", "tune", "run", "report"))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", action="append", choices=(*RIVALS, FAST), help="these candidates alone")
    parser.add_argument("--size", default="mini", help="as of `leanformer bench`")
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--minutes", type=float, default=20, help="of the machine that `clock` measured")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    file = options.out / "race.json"
    if options.what == "report":
        print(table(json.loads(file.read_text())))
        return
    if options.data is None:
        parser.error("--data is needed")
    prepare_cpu(None)
    corpus = Corpus.open(options.data)
    device = torch.device("cpu")
    plan = {key: getattr(options, key) for key in ("size", "length", "batch", "minutes")}
    plan |= {"seeds": list(range(1, options.seeds + 1)), "tuning_seed": TUNING_SEED, "data": corpus.hash}
    if file.exists():
        plan = json.loads(file.read_text())["plan"]
        if plan["data"] != corpus.hash:
            parser.error(f"{file} was made with other data")
    race = Race(options.data, corpus, file, plan)
    if not file.exists():
        options.out.mkdir(parents=True, exist_ok=True)
        machine = describe(device, 1, autocast_dtype("auto", device))
        write_json(file, {"plan": plan, "machine": machine, "versions": versions()})
    if options.what == "clock":
        race.clock(options.rounds)
    for name in options.only or (*RIVALS, FAST):
        if options.what == "tune":
            race.tune(name)
        elif options.what == "run":
            race.run(name)


if __name__ == "__main__":
    main()
