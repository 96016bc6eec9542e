"""How soon has a recipe the validation loss that the peer reaches in so many minutes?

    python benchmarks/time_to_loss.py clock  --data DATA --out DIR --config RECIPE.toml
    python benchmarks/time_to_loss.py peer   --data DATA --out DIR --rate 1e-3 --minutes 20
    python benchmarks/time_to_loss.py recipe --data DATA --out DIR --config RECIPE.toml --minutes 2.5 --seed 1

The peer is `BertForMaskedLM` with `Trainer` in float32, a warm-up of 5 % and a linear decay: 32 sequences of `--length`
tokens, dropout 0.1. `clock` wants a quiet machine: peer and recipe take turns there, from new weights,
so many whole steps each, and the recipe is timed over its own budget of `--tokens`. `peer` and `recipe` turn minutes
into steps by these times, so they may run beside other things. Losses are on the frozen validation masks, in nats.
DIR/time_to_loss.json holds all that was measured; what is there is not measured again.
"""

import argparse
import json
import tempfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from leanformer.bench import trainer
from leanformer.bench.entry import Benchmark
from leanformer.bench.peers import Setup, candidate
from leanformer.bench.processes import Process
from leanformer.bench.sizes import size
from leanformer.data.corpus import Corpus
from leanformer.settings import Settings, read_settings
from leanformer.training.machine.hardware import prepare_cpu
from leanformer.training.objectives.masked_lm import MaskedLM
from leanformer.training.pretrain import pretrain

BATCH, SEQUENCES = 32, 512


def benchmark(options: argparse.Namespace, corpus: Corpus, steps: int) -> Benchmark:
    """`steps` counted ones, a multiple of 4, and a quarter as many before them."""
    how: dict[str, Any] = {"length": options.length, "batch": BATCH, "dropout": 0.1, "mask_rate": 0.15, "steps": steps}
    how |= {"sizes": size(options.size), "vocab_size": corpus.vocab_size, "device": torch.device("cpu")}
    return Benchmark(corpus=corpus, **how)


@torch.inference_mode()
def validation_loss(model: Any, corpus: Corpus, length: int) -> float:
    """Of a model of transformers, on the masks that leanformer's runs are validated with."""
    settings = replace(read_settings(None, ()).training, sequence_length=length, validation_sequences=SEQUENCES)
    objective = MaskedLM(corpus, settings)
    total, targets = 0.0, 0
    for batch in objective.validation_batches(0, 1):
        places = batch["masked_positions"][..., None].expand(-1, -1, corpus.vocab_size)
        scores = model.eval()(input_ids=batch["input_ids"]).logits.gather(1, places)
        total += float(cross_entropy(scores.flatten(0, 1), batch["labels"].flatten(), reduction="sum"))
        targets += objective.num_targets(batch)
    return total / targets


def trained(settings: Settings, data: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        return pretrain(settings, data, Path(folder) / "run", quiet=True)["results"]


def recipe(options: argparse.Namespace, tokens: int, **more: Any) -> Settings:
    settings = read_settings(options.config, [*(options.set or ()), f"training.sequence_length={options.length}"])
    training = replace(settings.training, max_tokens=tokens, validation_sequences=SEQUENCES, checkpoint_every=0, **more)
    return replace(settings, training=training)


def clock(options: argparse.Namespace, corpus: Corpus) -> dict[str, Any]:
    """In every round the seconds of a peer's step, and the recipe's tokens per second, validations aside."""
    rounds, counted = [], benchmark(options, corpus, 12)
    with closing(Process(candidate, "bert", counted, False, Setup())) as turn:  # as its users find it
        for _ in range(options.rounds):
            seconds = turn(counted.steps)
            own = trained(recipe(options, options.tokens, validate_every=10**9), options.data)
            rounds.append({"peer_step": seconds / counted.steps, "recipe_tokens_per_second": own["tokens_per_second"]})
    return {"tokens": options.tokens, "set": options.set or [], "rounds": rounds}


def peer(options: argparse.Namespace, corpus: Corpus, step: float) -> dict[str, Any]:
    steps = round(60 * options.minutes / step / 5) * 5
    how = {"learning_rate": options.rate, "warmup_steps": steps // 20}
    model, _ = trainer.train(benchmark(options, corpus, steps // 5 * 4), trainer.bert, bf16=False, **how)
    loss = validation_loss(model, corpus, options.length)
    return {"steps": steps, "tokens": steps * BATCH * options.length, "validation_loss": loss}


def ours(options: argparse.Namespace, speed: float) -> dict[str, Any]:
    results = trained(recipe(options, round(60 * options.minutes * speed), seed=options.seed), options.data)
    kept = {key: results[key] for key in ("steps", "tokens", "validations")}
    return kept | {"set": options.set or [], "validation_loss": results["final_loss"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("clock", "peer", "recipe"))
    for name in ("--data", "--out"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--config", type=Path, help="the recipe")
    parser.add_argument("--size", default="mini", help="the peer's: tiny, mini, small, ..., as of `leanformer bench`")
    parser.add_argument("--length", type=int, default=128, help="tokens a sequence, of both")
    parser.add_argument("--set", action="append", metavar="TABLE.KEY=VALUE", help="the recipe's")
    parser.add_argument("--rate", type=float, help="the peer's learning rate")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--minutes", type=float, help="of the machine that `clock` measured")
    parser.add_argument("--tokens", type=int, default=300_000, help="the recipe's budget in `clock`")
    options = parser.parse_args()

    file = options.out / "time_to_loss.json"
    record = json.loads(file.read_text()) if file.exists() else {}
    name = {
        "clock": f"{options.size} x {options.length}: clock {options.config}",
        "peer": f"{options.size} x {options.length}: peer {options.rate} {options.minutes} minutes",
        "recipe": f"{options.size} x {options.length}: {options.config} {options.minutes} minutes seed {options.seed}",
    }[options.what]
    if name in record:
        print(f"{file} has it: {record[name]}")
        return
    prepare_cpu(None)
    corpus = Corpus.open(options.data)
    if options.what == "clock":
        measured = clock(options, corpus)
    else:
        whose = f"{options.size} x {options.length}: clock"
        clocks = [record[key]["rounds"] for key in record if key.startswith(whose)]
        if not clocks:
            parser.error(f"{file} has no clock: measure it first")
        if options.what == "peer":
            measured = peer(options, corpus, min(r["peer_step"] for rounds in clocks for r in rounds))
        else:
            own = record[f"{options.size} x {options.length}: clock {options.config}"]["rounds"]
            measured = ours(options, sorted(r["recipe_tokens_per_second"] for r in own)[len(own) // 2])
    options.out.mkdir(parents=True, exist_ok=True)
    latest = json.loads(file.read_text()) if file.exists() else {}  # another call may have ended meanwhile
    file.write_text(json.dumps(latest | {name: measured}, indent=1) + "\n")
    print(json.dumps({name: measured}))


if __name__ == "__main__":
    main()
