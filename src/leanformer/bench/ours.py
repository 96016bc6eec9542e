"""leanformer's own turn: its loop, with the settings of a recipe if one is given."""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from leanformer.bench.entry import CLIP, RATE, SEED, Benchmark
from leanformer.bench.sizes import config, dropouts
from leanformer.models import LeanformerConfig, LeanformerForMaskedLM
from leanformer.settings import TrainingSettings
from leanformer.training.loop import fit
from leanformer.training.objectives.masked_lm import MaskedLM
from leanformer.training.run.curve import read_curve
from leanformer.training.run.record import RunDirectory


@dataclass(frozen=True, kw_only=True)
class Own:
    """`model` holds settings of [model] on top of the benchmark's sizes; batch and budget are the benchmark's, too."""

    model: dict[str, Any]
    training: TrainingSettings
    bf16: bool

    def config(self, benchmark: Benchmark) -> LeanformerConfig:
        last = {
            "max_position_embeddings": benchmark.length,
            "vocab_size": benchmark.vocab_size,
            "pad_token_id": benchmark.corpus.pad_id,
        }
        return config({**benchmark.sizes, **dropouts(benchmark.dropout), **self.model, **last})

    def settings(self, benchmark: Benchmark) -> TrainingSettings:
        return replace(
            self.training,
            max_steps=benchmark.all_steps + 1,  # the last step validates, so it is not counted
            max_tokens=None,
            max_seconds=None,
            batch_size=benchmark.batch,
            first_batch_size=None,
            micro_batch_size=None,
            sequence_length=benchmark.length,
            mask_rate=benchmark.mask_rate,
            final_mask_rate=None,
            learning_rate=RATE,
            clip_norm=CLIP,
            seed=SEED,
            precision="bf16" if self.bf16 else "fp32",
            compile=benchmark.compile,
            log_every=benchmark.warm_up,
            validate_every=10**9,
            validation_sequences=1,
            checkpoint_every=0,
            log_with=None,
        )


def turn(benchmark: Benchmark, own: Own) -> float:
    """Seconds of the counted steps."""
    settings = own.settings(benchmark)
    torch.manual_seed(SEED)
    model = LeanformerForMaskedLM(own.config(benchmark))
    with tempfile.TemporaryDirectory() as folder:
        run = RunDirectory(Path(folder))
        run.write({"status": "running"})
        AcceleratorState._reset_state(True)  # or the last Trainer's precision would be inherited
        accelerator = Accelerator(
            cpu=benchmark.device.type == "cpu", mixed_precision="no"
        )  # the loop has its own autocast
        fit(model, MaskedLM(benchmark.corpus, settings), settings, run, accelerator=accelerator, quiet=True)
        lines = {line["step"]: line for line in read_curve(run.curve)}
    return lines[benchmark.all_steps]["seconds"] - lines[benchmark.warm_up]["seconds"]
