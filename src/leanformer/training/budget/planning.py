"""The plan of a run: a budget of seconds or tokens becomes settings with a budget in tokens.

The size, the batch, the learning rate and the warm-up follow the rule of `scaling.py`, and the time that of `pace.py`.
Only sizes that come into question are timed, each once. Given the times, the plan is determined. The run then has a
budget in tokens, so that its settings repeat it exactly, and schedules that depend on the fraction of the tokens work.
It is not cut short if the machine is slower later.
"""

import os
from bisect import bisect_right
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from leanformer.data.corpus import Corpus
from leanformer.models import LeanformerConfig
from leanformer.settings import BUDGETS, Settings, settings_from
from leanformer.training.budget import scaling
from leanformer.training.budget.forecast import expected_loss
from leanformer.training.budget.ladder import LADDER, SIZES, at_size
from leanformer.training.budget.pace import Pace, cost, held_out_tokens, measure
from leanformer.training.machine.timing import duration
from leanformer.training.objectives.protocol import PretrainingObjective
from leanformer.training.objectives.table import OBJECTIVES, model_config

EVALUATION = 0.1
"""The most that validations and scores may cost as a fraction of training, unless they are as small as they may get."""
LEAST_EVALUATION = {"validation_sequences": 32, "score_targets": 8192}
LEAST_STEPS = 50
"""Batches of full size below which a run is refused: a warm-up and twenty validations need some."""
GPU_MICRO_BATCH = 64
"""The fewest sequences per forward pass on a GPU, which the small passes of a recipe for CPUs would leave idle."""


@dataclass(frozen=True)
class Plan:
    settings: Settings
    """The settings of the run, with `training.max_tokens` as the only budget unless the budget was not planned."""
    sentence: str
    """What the run is and what it takes, in one line."""
    tokens: int
    seconds: float
    """Time from the first step to the last score, as measured on this machine."""
    parameters: int
    loss: float | None
    """The expected validation loss where our records allow a prediction (`forecast.py`), nats."""


def plan(
    settings: Settings,
    data: str | Path | Corpus,
    *,
    seconds: float | None = None,
    tokens: int | None = None,
    keep: Collection[str] = (),
) -> Plan:
    """Returns the plan for a budget of `seconds` or of `tokens`; with neither, that of the settings as they are.

    `settings` are those of a recipe. `keep` names settings that the plan must not change, such as model.hidden_size or
    training.batch_size; one size of [model] keeps them all. Raises ValueError for a budget that is too small, for two
    budgets, and for pairs, whose steps differ in length.
    """
    training = settings.training
    if training.objective == "seq2seq":
        raise ValueError(
            "--hours, --minutes, --tokens and --dry-run plan runs on text, not pairs: give training.max_steps"
        )
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError("a plan is made by one process: make it with --dry-run --json, and give torchrun its settings")
    if seconds is not None and tokens is not None:
        raise ValueError("a budget is in time or in tokens: leave one of the two out")
    for what, budget in (("time", seconds), ("tokens", tokens)):
        if budget is not None and not budget > 0:
            raise ValueError(f"a budget of {what} must be positive, not {budget:g}")
    corpus = data if isinstance(data, Corpus) else OBJECTIVES[training.objective].open(data)
    planner = _Planner(settings, corpus, frozenset(keep))
    if seconds is not None:
        return planner.for_seconds(seconds)
    return planner.as_it_is() if tokens is None else planner.for_tokens(tokens)


def as_recorded(recorded: Mapping[str, Any], settings: Settings, keep: Collection[str]) -> Settings:
    """Returns the recorded settings of a run or a comparison that goes on, with those of `settings` that `keep` names.

    A plan is made once, since another one, made at another time, would find other settings. Its budget stays.
    """
    tables, given = {name: dict(table) for name, table in recorded.items()}, settings.to_dict()
    for table, key in (name.split(".", 1) for name in keep):
        if table not in given or (table == "training" and key in BUDGETS):
            continue  # another command's settings, or a budget
        tables.setdefault(table, {})[key] = given.get(table, {}).get(key)
    return settings_from(tables)


class _Planner:
    def __init__(self, recipe: Settings, corpus: Corpus, keep: frozenset[str]) -> None:
        self.recipe, self.corpus, self.keep = recipe, corpus, keep
        self.length = recipe.training.sequence_length
        self.unique = len(corpus.train)
        self.paces = dict[int, Pace]()
        """The measured pace of every size that has been timed."""

    @cached_property
    def sizes(self) -> list[Settings]:
        """The recipe at every size that the plan may choose; a forward pass stays as large as the recipe's."""
        sized = [self.recipe]
        if not self.keep & {f"model.{key}" for key in SIZES}:
            sized = [replace(self.recipe, model=at_size(self.recipe.model, *size)) for size in LADDER]
        if "training.micro_batch_size" in self.keep or not self.plans_batch:
            return sized
        training = self.recipe.training
        micro = training.micro_batch_size or training.batch_size
        micro = max(GPU_MICRO_BATCH, micro) if torch.cuda.is_available() else micro
        return [replace(each, training=replace(each.training, micro_batch_size=micro)) for each in sized]

    @property
    def plans_batch(self) -> bool:
        """Whether the batch is set by the rule: not if the user gave a part of it, or the recipe has no tokens."""
        given = {"training.batch_size", "training.first_batch_size"} & self.keep
        return self.recipe.training.max_tokens is not None and not given

    @cached_property
    def costs(self) -> list[tuple[float, int]]:
        """FLOPs per token and parameters of every size."""
        return [cost(size, self.corpus) for size in self.sizes]

    def for_tokens(self, tokens: int) -> Plan:
        place = self._best([tokens] * len(self.sizes))
        settings = self.budgeted(place, tokens)
        least = LEAST_STEPS * self._step(settings)
        if tokens < least:
            raise ValueError(f"{tokens:,} tokens are fewer than {LEAST_STEPS} steps: give {least:,} or more")
        return self._plan(settings, measure(self.sizes[place], self.corpus))

    def for_seconds(self, seconds: float) -> Plan:
        """Times the smallest size, then the one that this makes the best, and so on until the best has been timed."""
        place = 0
        while place not in self.paces:
            self.paces[place] = measure(self.sizes[place], self.corpus)
            place = self._best([self.affordable(each, seconds) for each in range(len(self.sizes))])
        tokens, pace = self.affordable(place, seconds), self.paces[place]
        settings = self.budgeted(place, max(1, tokens))
        least = LEAST_STEPS * self._step(settings)
        if tokens < least:
            needed = duration(self.seconds(self.budgeted(place, least), pace))
            raise ValueError(f"{duration(seconds)}: {LEAST_STEPS} steps alone take about {needed} here; give more time")
        return self._plan(settings, pace, limited=tokens + self.length > scaling.most_tokens(self.unique))

    def as_it_is(self) -> Plan:
        if self.recipe.training.max_seconds is not None:
            raise ValueError("training.max_seconds is a budget without a plan: give --minutes instead")
        return self._plan(self.recipe, measure(self.recipe, self.corpus))

    def affordable(self, place: int, seconds: float) -> int:
        """Returns the tokens that a model of this size reads in the time, but no more than the text is good for."""
        nearest = min(self.paces, key=lambda timed: abs(timed - place))
        pace = self.paces[nearest].at(*self.costs[place])
        most = int(min(seconds / pace.token, scaling.most_tokens(self.unique)) / self.length)
        fitting = bisect_right(
            range(1, most + 1), seconds, key=lambda count: self.seconds(self.budgeted(place, count * self.length), pace)
        )
        return fitting * self.length

    def seconds(self, settings: Settings, pace: Pace) -> float:
        objective = self._objective(settings)
        assert objective.total_steps is not None
        steps = objective.total_steps
        return pace.seconds(objective.tokens(steps), steps, held_out_tokens(objective, settings))

    def budgeted(self, place: int, tokens: int) -> Settings:
        """Returns the settings of this size for a budget of so many tokens."""
        settings, training = self.sizes[place], self.recipe.training
        changes: dict[str, Any] = {}
        if self.plans_batch:
            assert training.max_tokens is not None
            sequences = self.corpus.train.sequences(self.length)
            size = scaling.batch_size(training.batch_size, training.max_tokens, tokens, sequences)
            changes["batch_size"] = size
            if training.first_batch_size is not None:
                first = scaling.first_batch_size(training.first_batch_size, training.batch_size, size)
                changes["first_batch_size"] = first
        widths = [each.model.get("hidden_size", LeanformerConfig.hidden_size) for each in (self.recipe, settings)]
        changes["learning_rate"] = scaling.learning_rate(training.learning_rate, *widths)
        steps = max(1, tokens // (changes.get("batch_size", training.batch_size) * self.length))
        changes["warmup"] = scaling.warmup(training.warmup, steps, training.beta2)
        changes = {key: value for key, value in changes.items() if f"training.{key}" not in self.keep}
        changes |= {"max_tokens": tokens, "max_steps": None, "max_seconds": None}
        return self._evaluated(replace(settings, training=settings.training.updated(changes)))

    def _evaluated(self, settings: Settings) -> Settings:
        """Returns the settings with validations and scores halved until they cost little beside the training."""
        training = settings.training
        while held_out_tokens(self._objective(settings), settings) / 3 > EVALUATION * (training.max_tokens or 0):
            sizes = {key: getattr(training, key) for key in LEAST_EVALUATION if f"training.{key}" not in self.keep}
            smaller = {key: max(LEAST_EVALUATION[key], size // 2) for key, size in sizes.items() if size}
            if all(smaller[key] >= sizes[key] for key in smaller):
                break
            training = replace(training, **{key: min(size, sizes[key]) for key, size in smaller.items()})
            settings = replace(settings, training=training)
        return settings

    def _best(self, tokens: list[int]) -> int:
        return scaling.best_size([count for _, count in self.costs], [max(1, each) for each in tokens], self.unique)

    def _step(self, settings: Settings) -> int:
        """Returns the tokens of a batch of full size."""
        return settings.training.batch_size * self.length

    def _objective(self, settings: Settings) -> PretrainingObjective:
        return OBJECTIVES[settings.training.objective].objective(self.corpus, settings.training, 1)

    def _plan(self, settings: Settings, pace: Pace, *, limited: bool = False) -> Plan:
        objective = self._objective(settings)
        assert objective.total_steps is not None
        tokens, seconds = objective.tokens(objective.total_steps), self.seconds(settings, pace)
        model, loss = model_config(settings, self.corpus), expected_loss(settings, self.corpus, tokens)
        parts = [
            f"{model.num_hidden_layers} layers of {model.hidden_size}",
            f"{pace.parameters / 1e6:.1f} M parameters",
            f"{_millions(tokens)} tokens ({tokens / self.unique:.2g} epochs)",
            f"batches of {settings.training.batch_size}",
            f"about {duration(seconds)} on this machine",
            *([] if loss is None else [f"expected loss about {loss:.1f}"]),
        ]
        end = "; the text, not the time, is the limit: more text would allow a larger model" if limited else ""
        return Plan(settings, ", ".join(parts) + end, tokens, seconds, pace.parameters, loss)


def _millions(tokens: int) -> str:
    return f"{tokens / 1e6:.1f} M" if tokens >= 1e6 else f"{tokens:,}"
