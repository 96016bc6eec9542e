"""Settings from a TOML file and then `--set a.b=value`, checked and frozen.

    [model]        the names of `LeanformerConfig` (attention, hidden_size, ...), checked by that class
    [training]     `TrainingSettings`
    [distillation] `DistillationSettings`, read by `leanformer distill`
    [finetuning]   `FinetuningSettings`, with sub-tables of its own such as `[finetuning.absgd]`; any other sub-table is
                   named after a task, `[finetuning.rte]`, and overrides the settings for that task

An unknown key raises a `ValueError` that names the nearest known key, since ignoring a misspelt key would run a wrong
experiment.
"""

import json
import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from leanformer.records.models import Config
from leanformer.records.reading import problem
from leanformer.records.renamed import new_name, new_value, require_one_name, with_new_names
from leanformer.settings.distillation import DistillationSettings
from leanformer.settings.finetuning import FinetuningSettings
from leanformer.settings.table import Table
from leanformer.spelling import suggest

BUDGETS = ("max_steps", "max_tokens", "max_seconds")
"""The settings of [training] that end a run; at most one is given."""


@dataclass(frozen=True, kw_only=True)
class TrainingSettings(Table):
    """Settings of pre-training, by default BERT's. `batch_size` counts sequences (or pairs) over all processes."""

    objective: Literal["masked_lm", "causal_lm", "seq2seq"] = "masked_lm"
    """What is predicted: masked tokens, the next token, or the second text of a pair from the first."""
    max_steps: int | None = None
    """The budget, of which at most one of max_steps, max_tokens and max_seconds is given (none: 1,000,000 steps)."""
    max_tokens: int | None = None
    max_seconds: float | None = None
    """A wall-clock budget; such runs are neither paired nor repeatable bit for bit."""
    batch_size: int = 256
    first_batch_size: int | None = None
    """If given, the batch grows from this size to `batch_size`; None: every batch has `batch_size`."""
    batch_ramp: float = 0.5
    """The fraction of the budget in which the batch grows."""
    micro_batch_size: int | None = None
    """The sequences per forward pass of a process; gradients are accumulated over the batch. None: a single pass."""
    sequence_length: int = 128
    """The tokens per sequence; for seq2seq the most tokens of each side of a pair."""
    mask_rate: float = 0.15
    final_mask_rate: float | None = None
    """If given, the rate changes linearly from `mask_rate` to this rate; validation always masks 15 %."""
    document_mask: bool = False
    """masked_lm only: a token attends only to its own document, in training and validation."""
    optimizer: Literal["adamw", "stable_adamw", "muon"] = "adamw"
    learning_rate: float = 1e-4
    """The peak learning rate."""
    lr_multipliers: dict[str, float] = field(default_factory=dict)
    """Multiples of the learning rate by group of parameters; other groups have their own default multiple."""
    weight_decay: float = 0.01
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-6
    clip_norm: float | None = 1.0
    schedule: Literal["linear", "warmup_stable_decay", "constant"] = "linear"
    warmup: float = 0.01
    """The fraction of the budget in which the learning rate rises."""
    decay: float = 0.2
    """The fraction of the budget in which `warmup_stable_decay` falls to zero."""
    seed: int = 1
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """The precision of matrix products; auto: bf16 autocast where the hardware multiplies bf16 natively, else fp32."""
    compile: bool = False
    sharding: Literal["fsdp2"] | None = None
    """fsdp2: several processes divide parameters, gradients and moments among them; None: each has them all (DDP)."""
    activation_checkpointing: bool = False
    """Whether blocks compute their activations again in the backward pass, which saves memory."""
    threads: int | None = None
    """The CPU threads per process; None: all cores."""
    log_every: int = 10
    validate_every: int | None = None
    """The steps between validations; None: twenty validations per run."""
    validation_sequences: int | None = 512
    """The most held-out sequences for validation (None: all)."""
    score_targets: int = 65_536
    """The targets on which a finished run is scored (`training/run/scores.py`); a quarter for validation; 0: none."""
    score_at: list[int] | None = None
    """Numbers of tokens at which the run is scored in the same way during training (`training/run/score_points.py`)."""
    checkpoint_every: int = 1000
    """The steps between checkpoints; 0: only the checkpoint after a signal."""
    keep_checkpoints: int = 2
    keep_every: int | None = None
    """The steps between models that are kept in RUN/kept (`training/run/kept_models.py`); None: none is."""
    log_with: str | None = None
    """A tracker of accelerate (tensorboard, wandb, trackio), in addition to curve.jsonl."""

    def __post_init__(self) -> None:
        packed = self.objective == "masked_lm" or not self.document_mask
        self._require("document_mask", packed, 'is for training.objective = "masked_lm"')
        budgets = [k for k in BUDGETS if getattr(self, k) is not None]
        if len(budgets) > 1:
            raise ValueError(f"give one budget: training.{' and training.'.join(budgets)} are both set")
        for key in ("batch_size", "sequence_length", "log_every", "keep_checkpoints", "learning_rate", "epsilon"):
            self._require(key, getattr(self, key) > 0, "must be positive")
        self._require("batch_ramp", self.batch_ramp > 0, "must be positive")
        for group, multiplier in self.lr_multipliers.items():
            if multiplier <= 0:
                raise ValueError(f"training.lr_multipliers.{group} = {multiplier!r}: must be positive")
        for key in (*BUDGETS, "micro_batch_size", "threads", "clip_norm"):
            self._require(key, getattr(self, key) is None or getattr(self, key) > 0, "must be positive")
        for key in ("validate_every", "validation_sequences", "keep_every"):
            self._require(key, getattr(self, key) is None or getattr(self, key) > 0, "must be positive")
        for key in ("mask_rate", "final_mask_rate"):
            rate = getattr(self, key)
            self._require(key, rate is None or 0 < rate < 1, "must lie between 0 and 1, without the ends")
        for key in ("sharding", "activation_checkpointing"):
            self._require(
                key,
                not (getattr(self, key) and self.compile),
                "is not supported with training.compile: leave one of them out",
            )
        divisible = self.sharding is None or self.optimizer != "stable_adamw"
        self._require("sharding", divisible, 'is for training.optimizer = "adamw" or "muon"')
        self._require("score_targets", self.score_targets >= 0, "must not be negative")
        if self.score_at is not None:
            steps_up = all(a < b for a, b in zip([0, *self.score_at], self.score_at, strict=False))
            self._require("score_at", steps_up, "must be positive numbers of tokens, each larger than the one before")
            within = self.max_tokens is None or max(self.score_at, default=0) <= self.max_tokens
            self._require("score_at", within, f"must lie within training.max_tokens = {self.max_tokens}")
            self._require("score_at", self.score_targets > 0, "has no effect with training.score_targets = 0")
        for key in ("warmup", "decay", "batch_ramp"):
            self._require(key, 0 <= getattr(self, key) <= 1, "is a fraction of the budget, from 0 to 1")
        for key in ("beta1", "beta2"):
            self._require(key, 0 <= getattr(self, key) < 1, "must lie in [0, 1)")
        self._require("weight_decay", self.weight_decay >= 0, "must not be negative")
        self._require("checkpoint_every", self.checkpoint_every >= 0, "must not be negative")
        if self.first_batch_size is not None:
            whole = 0 < self.first_batch_size <= self.batch_size
            self._require("first_batch_size", whole, f"must be positive and at most batch_size = {self.batch_size}")
            pairs = self.objective == "seq2seq"
            self._require("first_batch_size", not pairs, "pairs meet in batches of one size: leave it out for seq2seq")
        changing = [k for k in ("first_batch_size", "final_mask_rate") if getattr(self, k) is not None]
        if self.max_seconds is not None and changing:
            raise ValueError(
                f"training.max_seconds = {self.max_seconds:g}: training.{' and training.'.join(changing)} change with "
                "the part of the tokens that is read: give --minutes instead, which finds the tokens for the time"
            )

    def steps(self, tokens_per_step: int) -> int | None:
        """Returns the steps of the budget, None if it is given in seconds."""
        if self.max_seconds is not None:
            return None
        if self.max_tokens is not None:
            return math.ceil(self.max_tokens / tokens_per_step)
        return 1_000_000 if self.max_steps is None else self.max_steps


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings on which a run depends besides its data."""

    model: dict[str, Any] = field(default_factory=dict)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    distillation: DistillationSettings = field(default_factory=DistillationSettings)
    finetuning: FinetuningSettings = field(default_factory=FinetuningSettings)
    tasks: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Overrides of `finetuning`, by task."""

    def finetuning_for(self, task: str) -> FinetuningSettings:
        return self.finetuning.updated(self.tasks.get(task, {}))

    def to_dict(self) -> dict[str, Any]:
        return {
            "model": dict(self.model),
            "training": asdict(self.training),
            "finetuning": self.finetuning.to_dict() | {k: dict(v) for k, v in self.tasks.items()},
        }


def read_settings(path: Path | None = None, overrides: Iterable[str] = ()) -> Settings:
    """Returns the settings of the file at `path`, if any, with the overrides `table.key=value` applied in order."""
    return settings_from(overridden({} if path is None else read_tables(Path(path)), overrides))


def overridden(tables: dict[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """Apply the overrides to the tables in place; returns the tables. A budget replaces a budget of another kind.
    ValueError for a setting under two names."""
    budgets = set()
    before: list[str] = []
    for override in overrides:
        names, value = parse_override(override)
        written = ".".join(names)
        try:
            require_one_name(written, before)
        except ValueError as error:
            raise ValueError(f"--set {override}: {error}") from None
        before.append(written)
        key, value = new_name(written).split("."), new_value(written, value)
        table = tables
        for name in key[:-1]:
            table = table.setdefault(name, {})
            if not isinstance(table, dict):
                raise ValueError(f"--set {override}: {name!r} is a value, not a table")
        table[key[-1]] = value
        if key[:-1] == ["training"] and key[-1] in BUDGETS and value is not None:
            budgets.add(key[-1])
    for other in BUDGETS:
        if budgets and other not in budgets:
            tables["training"].pop(other, None)
    return tables


def read_tables(path: Path) -> dict[str, Any]:
    """Returns the unchecked tables of a TOML file, or of a JSON file as a comparison writes it."""
    json_file = path.suffix.lower() == ".json"
    try:
        text = path.read_text(encoding="utf-8")
        tables = json.loads(text) if json_file else tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} is not a {'JSON' if json_file else 'TOML'} file: {reason}") from None
    if not isinstance(tables, dict):
        raise ValueError(f"{path} holds no tables of settings, such as [training]")
    return with_new_names(tables)


def settings_from(tables: Mapping[str, Any]) -> Settings:
    known = {"model", "training", "distillation", "finetuning"}
    for name, table in tables.items():
        if name not in known:
            raise ValueError(f"unknown table of settings [{name}]: {suggest(name, known)}")
        if not isinstance(table, Mapping):
            raise ValueError(f"setting {name} must be a table, such as [{name}] in TOML or --set {name}.key=value")
    tables = with_new_names(tables)
    finetuning = tables.get("finetuning", {})
    subtables = {f.name for f in fields(FinetuningSettings)}
    tasks = {k: dict(v) for k, v in finetuning.items() if isinstance(v, Mapping) and k not in subtables}
    if wrong := problem(dict(tables.get("model", {})), Config):
        raise ValueError(f"model.{wrong}")
    settings = Settings(
        model=dict(tables.get("model", {})),
        training=TrainingSettings.of(tables.get("training", {})),
        distillation=DistillationSettings.of(tables.get("distillation", {})),
        finetuning=FinetuningSettings.of({k: v for k, v in finetuning.items() if k not in tasks}),
        tasks=tasks,
    )
    for task in tasks:
        settings.finetuning_for(task)
    return settings


def parse_override(text: str) -> tuple[list[str], Any]:
    """`training.batch_size=64` -> (["training", "batch_size"], 64); the value is TOML, and a bare word is a string."""
    key, equals, value = text.partition("=")
    names = key.strip().split(".")
    if not equals or len(names) < 2 or not all(names):
        raise ValueError(f"--set {text}: write it as table.key=value, for example training.batch_size=64")
    try:
        return names, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return names, None if value.strip().lower() == "none" else value.strip()
