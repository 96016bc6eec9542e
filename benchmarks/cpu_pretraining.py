"""Tokens per second of masked-LM pre-training on a CPU: leanformer against transformers' Trainer, in one process.

    python benchmarks/cpu_pretraining.py [--data DATA] [--rounds 3] [--steps 12] [--threads N] [--out results.json]

The peer is `BertForMaskedLM` + `Trainer` + `DataCollatorForLanguageModeling`. Both sides train the same architecture
(4 layers x 256, 4 heads, feed-forward 1024, length 128, batch 32, dropout 0.1, AdamW, clipping at 1) on the same
sequences of the same corpus with the same masks: the collator's random choice is replaced by leanformer's function of
(seed, epoch, example), everything else in it is stock. Contestants take turns, A B C ... A B C ..., so that a machine's
moods fall on all alike; within a turn the first steps are not counted. Printed are medians over the turns, and each
side's ratio to a peer taken within the same round, as median and range.
"""

import argparse
import json
import statistics
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import transformers
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from leanformer.attention import names
from leanformer.data.corpus import Corpus
from leanformer.data.masking import count, mask
from leanformer.data.order import permutation
from leanformer.models import LeanformerConfig, LeanformerForMaskedLM
from leanformer.settings import TrainingSettings
from leanformer.training.hardware import autocast_dtype, describe, prepare_cpu
from leanformer.training.loop import fit
from leanformer.training.masked_lm import MaskedLM
from leanformer.training.record import RunDirectory

SIZES = {
    "hidden_size": 256,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 1024,
    "max_position_embeddings": 128,
}
LENGTH, BATCH, RATE, WARM_UP = 128, 32, 1e-4, 3


class SameMasks(transformers.DataCollatorForLanguageModeling):
    """The stock collator with its coin tosses replaced by leanformer's masks."""

    corpus: Corpus

    def __call__(self, features: list[dict[str, Any]], return_tensors: str | None = None) -> dict[str, Any]:
        self.ids = [feature.pop("example") for feature in features]
        return super().__call__(features, return_tensors)

    def torch_mask_tokens(self, inputs: torch.Tensor, *_: Any, **__: Any) -> tuple[torch.Tensor, torch.Tensor]:
        masked = mask(
            inputs.numpy(), self.ids, seed=1, epoch=0, count=count(0.15, LENGTH), vocabulary=self.corpus.vocabulary
        )
        labels = torch.full_like(inputs, -100)
        labels.scatter_(1, torch.from_numpy(masked.positions), torch.from_numpy(masked.labels))
        return torch.from_numpy(masked.corrupted), labels


class Sequences(torch.utils.data.Dataset):
    """The training sequences in leanformer's order for seed 1."""

    def __init__(self, corpus: Corpus, size: int) -> None:
        self.corpus = corpus
        self.ids = permutation(range(size), corpus.train.sequences(LENGTH), seed=1, epoch=0)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> dict[str, Any]:
        example = int(self.ids[index])
        return {"input_ids": self.corpus.train.batch([example], LENGTH)[0], "example": example}


class Clock(transformers.TrainerCallback):
    """Seconds since the warm-up steps were over."""

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == WARM_UP:
            self.start = time.perf_counter()
        self.seconds = time.perf_counter() - getattr(self, "start", time.perf_counter())


def peer(corpus: Corpus, steps: int, bf16: bool) -> float:
    """Tokens per second of BertForMaskedLM + Trainer."""
    torch.manual_seed(1)
    model = transformers.BertForMaskedLM(transformers.BertConfig(vocab_size=corpus.vocab_size, **SIZES))
    tokenizer = transformers.AutoTokenizer.from_pretrained(corpus.path)
    collator = SameMasks(tokenizer=tokenizer, mlm=True, mlm_probability=0.15)
    collator.corpus = corpus
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        arguments = transformers.TrainingArguments(
            output_dir=folder,
            max_steps=WARM_UP + steps,
            per_device_train_batch_size=BATCH,
            learning_rate=RATE,
            lr_scheduler_type="linear",
            use_cpu=True,
            bf16=bf16,
            remove_unused_columns=False,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            train_sampling_strategy="sequential",
        )
        trainer = transformers.Trainer(
            model,
            arguments,
            data_collator=collator,
            train_dataset=Sequences(corpus, (WARM_UP + steps) * BATCH),
            callbacks=[clock],
        )
        trainer.remove_callback(transformers.PrinterCallback)
        trainer.train()
    return steps * BATCH * LENGTH / clock.seconds


def ours(corpus: Corpus, steps: int, precision: str, attention: str) -> float:
    """Tokens per second of leanformer's loop."""
    settings = TrainingSettings(
        max_steps=WARM_UP + steps,
        batch_size=BATCH,
        sequence_length=LENGTH,
        learning_rate=RATE,
        precision=precision,
        log_every=WARM_UP,
        validate_every=10**9,
        validation_sequences=1,
        checkpoint_every=0,
    )
    torch.manual_seed(1)
    config = LeanformerConfig(vocab_size=corpus.vocab_size, pad_token_id=corpus.pad_id, attention=attention, **SIZES)
    model = LeanformerForMaskedLM(config)
    with tempfile.TemporaryDirectory() as folder:
        run = RunDirectory(Path(folder))
        run.write({"status": "running"})
        AcceleratorState._reset_state(True)  # or the last Trainer's precision would be inherited
        accelerator = Accelerator(cpu=True, mixed_precision="no")  # the loop has its own autocast
        fit(model, MaskedLM(corpus, settings), settings, run, accelerator=accelerator, quiet=True)
        lines = [json.loads(line) for line in run.curve.read_text().splitlines()]
    # The last logged step includes a validation of one sequence; the one before it does not.
    first, last = lines[0], lines[-2]
    return (last["tokens"] - first["tokens"]) / (last["seconds"] - first["seconds"])


def contestants(corpus: Corpus, steps: int) -> dict[str, Any]:
    table = {
        "Trainer fp32": lambda: peer(corpus, steps, bf16=False),
        "Trainer bf16": lambda: peer(corpus, steps, bf16=True),
        "leanformer dot_product fp32": lambda: ours(corpus, steps, "fp32", "dot_product"),
    }
    for name in names():
        table[f"leanformer {name} bf16"] = lambda name=name: ours(corpus, steps, "bf16", name)
    return table


RATIOS = [
    ("leanformer dot_product bf16", "Trainer fp32"),
    ("leanformer dot_product fp32", "Trainer fp32"),
    ("leanformer dot_product bf16", "Trainer bf16"),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, help="data directory of `leanformer prepare --vocab-size 8192`")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=12, help="a multiple of 3, at least 6")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--out", type=Path, help="write the record here as JSON")
    options = parser.parse_args()
    prepare_cpu(options.threads)
    transformers.logging.set_verbosity_error()
    corpus = Corpus.open(options.data or shipped_text())
    runners = contestants(corpus, options.steps)
    rounds: list[dict[str, float]] = []
    for number in range(options.rounds):
        rounds.append({name: run() for name, run in runners.items()})
        print(f"round {number + 1}: " + ", ".join(f"{k} {v:,.0f}" for k, v in rounds[-1].items()), flush=True)
    ratios = [*RATIOS, *((f"leanformer {name} bf16", "leanformer dot_product bf16") for name in names()[1:])]
    record = {
        "vocab_size": corpus.vocab_size,
        "sizes": SIZES,
        "length": LENGTH,
        "batch": BATCH,
        "hardware": describe(torch.device("cpu"), 1, autocast_dtype("auto", torch.device("cpu"))),
        "versions": {name: version(name) for name in ("leanformer", "torch", "transformers", "accelerate")},
        "rounds": rounds,
        "ratios": {f"{a} / {b}": sorted(r[a] / r[b] for r in rounds) for a, b in ratios},
    }
    print(f"\n{'tokens per second':34}median of {len(rounds)} rounds")
    for name in runners:
        print(f"{name:34}{statistics.median(r[name] for r in rounds):10,.0f}")
    print("\nratio within a round, median (lowest to highest)")
    for name, values in record["ratios"].items():
        print(f"{name:62}{statistics.median(values):6.2f}  ({values[0]:.2f} to {values[-1]:.2f})")
    if options.out:
        options.out.write_text(json.dumps(record, indent=2) + "\n")


def shipped_text() -> Path:
    """The package's own text with a vocabulary of 8192, prepared once into the benchmark's cache."""
    from leanformer.data.prepare import prepare

    folder = Path(__file__).parent / ".cache" / "novels-8192"
    if not (folder / "data.json").exists():
        prepare(["shipped:novels"], folder, vocab_size=8192)
    return folder


if __name__ == "__main__":
    main()
