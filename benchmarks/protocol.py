"""The base of the long protocols: stages of commands, which are skipped if finished and resumed if begun."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from leanformer.comparison.estimate import step_seconds
from leanformer.comparison.runner import Job, run_jobs
from leanformer.data.corpus import Corpus
from leanformer.files import write_json
from leanformer.models import LeanformerForMaskedLM
from leanformer.models.cost import ledger
from leanformer.settings import Settings, TrainingSettings
from leanformer.training.machine.hardware import autocast_dtype, describe
from leanformer.training.objectives.masked_lm import MaskedLM
from leanformer.training.objectives.table import model_config

Runner = Callable[[list[Job], int, Callable[..., None]], dict[Job, str]]
"""A function with the signature of `run_jobs`."""


def status(record: Path) -> str | None:
    """Returns the status in a run.json; None if there is none."""
    return json.loads(record.read_text(encoding="utf-8")).get("status") if record.is_file() else None


def slug(label: str) -> str:
    """Returns the label as the name of a folder."""
    return re.sub(r"[^\w.+=-]+", "-", label).strip("-")


def require_same(file: Path, written: dict[str, Any], what: str) -> None:
    """Raises ValueError if `file` records another `what`; writes the file if there is none."""
    if file.exists() and json.loads(file.read_text(encoding="utf-8")) != written:
        raise ValueError(f"{file} was begun with other {what}: repeat them, or choose another --out")
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, written)


def in_tokens(settings: Settings) -> Settings:
    """Returns the settings without other budgets, since the jobs have budgets of tokens."""
    return replace(settings, training=replace(settings.training, max_steps=None, max_seconds=None))


def sets(settings: list[str]) -> tuple[str, ...]:
    return tuple(argument for setting in settings for argument in ("--set", setting))


def run_stage(
    name: str,
    jobs: list[Job],
    workers: int,
    runner: Runner = run_jobs,
    finished: Callable[[Job], None] = lambda job: None,
) -> list[str]:
    """Run the jobs, print one line per finished job, and call `finished` if it succeeded; returns failed names."""
    told: set[Job] = set()

    def show(running: Any, done: list[Job], failed: dict[Job, str]) -> None:
        for each in [*done, *failed]:
            if each not in told:
                told.add(each)
                if each in done:
                    finished(each)
                outcome = f"failed: {failed[each]}" if each in failed else "finished"
                print(f"{name} [{len(told)}/{len(jobs)}] {each.name} {outcome}", flush=True)

    return [each.name for each in runner(jobs, workers, show)] if jobs else []


def hardware(training: TrainingSettings, jobs: int) -> dict[str, Any]:
    """That pieces run on, so many at a time, and the precision that they train in."""
    cpu = torch.device("cpu")
    return describe(cpu, jobs, autocast_dtype(training.precision, cpu))


def training_speed(settings: Settings, corpus: Corpus, threads: int) -> float:
    """Returns the training FLOP/s of the settings' model on this machine, with the optimizer's steps."""
    training = settings.training
    objective, config = MaskedLM(corpus, training), model_config(settings, corpus)
    assert objective.total_steps is not None
    batch = objective.micro_batches(0, 0, 1)[0]
    model = LeanformerForMaskedLM(config).train()
    passes, update = step_seconds(model, objective, batch, training, threads, torch.device("cpu"))
    tokens = objective.tokens(objective.total_steps)
    seconds = tokens / batch["input_ids"].numel() * passes + objective.total_steps * update
    return tokens * ledger(config, training.sequence_length, objective.scored)["flops_per_token"]["training"] / seconds
