"""leanformer's own turn: its loop, with the settings of a recipe if one is given."""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from leanformer.bench.entry import CLIP, RATE, SEED, Race
from leanformer.bench.sizes import config, dropouts
from leanformer.models import LeanformerConfig, LeanformerForMaskedLM
from leanformer.settings import TrainingSettings
from leanformer.training.loop import fit
from leanformer.training.objectives.masked_lm import MaskedLM
from leanformer.training.run.curve import read_curve
from leanformer.training.run.record import RunDirectory


@dataclass(frozen=True, kw_only=True)
class Own:
    """`model` holds settings of [model] on top of the race's sizes; of `training` the race decides batch and budget."""

    model: dict[str, Any]
    training: TrainingSettings
    bf16: bool

    def config(self, race: Race) -> LeanformerConfig:
        last = {
            "max_position_embeddings": race.length,
            "vocab_size": race.vocab_size,
            "pad_token_id": race.corpus.pad_id,
        }
        return config({**race.sizes, **dropouts(race.dropout), **self.model, **last})

    def settings(self, race: Race) -> TrainingSettings:
        return replace(
            self.training,
            max_steps=race.all_steps + 1,  # the last step validates, so it is not counted
            max_tokens=None,
            max_seconds=None,
            batch_size=race.batch,
            first_batch_size=None,
            micro_batch_size=None,
            sequence_length=race.length,
            mask_rate=race.mask_rate,
            final_mask_rate=None,
            learning_rate=RATE,
            clip_norm=CLIP,
            seed=SEED,
            precision="bf16" if self.bf16 else "fp32",
            compile=race.compile,
            log_every=race.warm_up,
            validate_every=10**9,
            validation_sequences=1,
            checkpoint_every=0,
            log_with=None,
        )


def turn(race: Race, own: Own) -> float:
    """Seconds of the counted steps."""
    settings = own.settings(race)
    torch.manual_seed(SEED)
    model = LeanformerForMaskedLM(own.config(race))
    with tempfile.TemporaryDirectory() as folder:
        run = RunDirectory(Path(folder))
        run.write({"status": "running"})
        AcceleratorState._reset_state(True)  # or the last Trainer's precision would be inherited
        accelerator = Accelerator(cpu=race.device.type == "cpu", mixed_precision="no")  # the loop has its own autocast
        fit(model, MaskedLM(race.corpus, settings), settings, run, accelerator=accelerator, quiet=True)
        lines = {line["step"]: line for line in read_curve(run.curve)}
    return lines[race.all_steps]["seconds"] - lines[race.warm_up]["seconds"]
