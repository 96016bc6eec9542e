"""What the long experiments share: their options, how they begin and end, and the speed that estimates rest on."""

import argparse
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from leanformer.data.corpus import Corpus
from leanformer.files import write_json
from leanformer.models.cost import ledger
from leanformer.settings import Settings
from leanformer.study.estimate import training_speed
from leanformer.training.machine.hardware import autocast_dtype, describe
from leanformer.training.objectives.masked_lm import MaskedLM
from leanformer.training.objectives.table import model_config


@dataclass(frozen=True, kw_only=True)
class Experiment:
    out: Path
    data: Path
    task_data: str
    settings: Settings
    """Of the models that are pre-trained."""
    seeds: int
    jobs: int
    """At a time."""
    threads: int
    """Of a job; one that runs alone has all that `jobs` of them have."""

    @cached_property
    def corpus(self) -> Corpus:
        return Corpus.open(self.data)

    def place(self, path: str) -> dict[str, Any]:
        """Of a job: its name, which is its folder in OUT, and its log."""
        return {"name": path, "directory": self.out / path, "log": self.out / "logs" / f"{slug(path)}.log"}

    def flops_per_second(self, threads: int) -> float:
        """Of training a model of the settings on this machine for its whole budget, optimizer's steps too."""
        training, config = self.settings.training, model_config(self.settings, self.corpus)
        objective = MaskedLM(self.corpus, training)
        assert objective.total_steps is not None
        speed, update = training_speed(config, objective, training, threads)
        tokens = objective.tokens(objective.total_steps)
        flops = ledger(config, training.sequence_length, objective.scored)["flops_per_token"]["training"]
        return tokens * flops / (tokens / speed + objective.total_steps * update)

    def hardware(self) -> dict[str, Any]:
        """That jobs run on, so many at a time, and the precision that they train in."""
        cpu = torch.device("cpu")
        return describe(cpu, self.jobs, autocast_dtype(self.settings.training.precision, cpu))


def parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """The options that all of them have."""
    made = argparse.ArgumentParser(
        prog=f"python -m experiments.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--out", type=Path, required=True)
    made.add_argument("--data", type=Path)
    made.add_argument("--task-data", type=Path, metavar="TASKS")
    made.add_argument("--set", action="append", metavar="TABLE.KEY=VALUE", help="of the config")
    made.add_argument("--seeds", type=int, default=3)
    made.add_argument("--jobs", type=int, default=2, help="jobs at a time")
    made.add_argument("--dry-run", action="store_true")
    return made


def ending(page: str, missing: Sequence[str], out: Path) -> int:
    """The exit status, after a line on the tables and one on what they lack."""
    print(page)
    if missing:
        print(f"{len(missing)} pieces failed or could not start, {missing[0]} first: logs are in {out / 'logs'}")
    return bool(missing)


def slug(label: str) -> str:
    """A name of a folder."""
    return re.sub(r"[^\w.+=-]+", "-", label).strip("-")


def require_same(file: Path, written: dict[str, Any], what: str) -> None:
    """ValueError if the protocol was begun with another of `what` this record says; else the file says it."""
    if file.exists() and json.loads(file.read_text(encoding="utf-8")) != written:
        raise ValueError(f"{file} was begun with other {what}: repeat them, or choose another --out")
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, written)


def in_tokens(settings: Settings) -> Settings:
    """The pieces have budgets of tokens; another one of the config would be a second."""
    return replace(settings, training=replace(settings.training, max_steps=None, max_seconds=None))


def sets(settings: list[str]) -> tuple[str, ...]:
    return tuple(argument for setting in settings for argument in ("--set", setting))
