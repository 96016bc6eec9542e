"""The plan of a comparison: every run it takes, written to `comparison.json` before it starts.

With learning rates to choose from a comparison has two phases. The tuning runs are every arm at every rate on the
tuning seeds; the reported runs are every arm at its chosen rate on the seeds. Otherwise all runs are reported ones.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

from leanformer.comparison.controls import control
from leanformer.comparison.variants import Variant
from leanformer.reporting.numbers.margins import MARGIN, TASK_MARGIN
from leanformer.settings import Settings

FIRST_TUNING_SEED = 1001
SEEDS_PER_TUNING_SEED = 3


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """One pre-training run: a variant, a seed, a learning rate, and its directory inside the comparison's."""

    variant: Variant
    seed: int
    learning_rate: float
    path: str
    tuning: bool = False
    """Whether the run serves the choice of a learning rate only, and is in no mean, interval or verdict."""
    budget: dict[str, Any] = field(default_factory=dict)
    """Settings of training in which a tuning run is shorter than the reported ones (`Plan.tuning_budget`)."""

    def settings(self, common: Settings) -> Settings:
        """The comparison's settings with what is this run's own."""
        options: dict[str, Any] = {"attention": self.variant.mechanism}
        if self.variant.options:
            options["attention_options"] = {**common.model.get("attention_options", {}), **self.variant.options}
        own = {**self.variant.training, **self.budget, "seed": self.seed, "learning_rate": self.learning_rate}
        training = common.training.updated(own)
        model = {**common.model, **options}
        for key, value in self.variant.model.items():
            model[key] = {**model.get(key, {}), **value} if isinstance(value, dict) else value
        return replace(common, model=model, training=training)

    def overrides(self) -> list[str]:
        """The same as `--set` arguments: with `settings.json` they repeat this run by hand."""
        values: dict[str, Any] = {"model.attention": self.variant.mechanism}
        values |= {f"model.attention_options.{key}": value for key, value in self.variant.options.items()}
        training = {**self.variant.training, **self.budget}
        for table, own in (("model", self.variant.model), ("training", training)):
            for key, value in own.items():
                if isinstance(value, dict):  # a table such as mixer_options: its entries join the common ones
                    values |= {f"{table}.{key}.{name}": each for name, each in value.items()}
                else:
                    values[f"{table}.{key}"] = value
        values |= {"training.seed": self.seed, "training.learning_rate": self.learning_rate}
        return [f"{key}={'none' if value is None else json.dumps(value)}" for key, value in values.items()]

    def record(self) -> dict[str, Any]:
        return {
            "attention": self.variant.label,
            "seed": self.seed,
            "learning_rate": self.learning_rate,
            "path": self.path,
            **({"tuning": True} if self.tuning else {}),
        }


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Variants x seeds, what chooses their learning rates, and the tasks each reported run is fine-tuned on, or writes
    for."""

    settings: Settings
    variants: list[Variant]
    seeds: list[int]
    learning_rates: list[float] | None
    tuning_seeds: list[int] = field(default_factory=list)
    """None but with `learning_rates`."""
    tuning_tokens: int | None = None
    """The budget of a tuning run; None: it is as long as a reported one."""
    chosen: dict[str, float] = field(default_factory=dict)
    """{label: the learning rate that the tuning runs chose}; empty until they are done."""
    margin: float = MARGIN
    task_margin: float = TASK_MARGIN
    named_baseline: str | None = None
    """The label of the baseline; None: dot_product, or the first arm where it is not compared."""
    main: list[str] | None = None
    """Labels of the arms of the main contrast; None: every arm but the baseline."""
    tasks: list[str]
    task_seeds: int
    task_data: str | None
    data: dict[str, Any]
    plugin: str | None
    command: str

    def tuning_budget(self, variant: Variant) -> dict[str, Any]:
        """Returns the settings of a shorter tuning run. Its warm-up takes as many tokens as that of the arm's reported
        run, whose beginning it is under a constant learning rate. ValueError for an arm whose own budget is smaller."""
        full, own = self.settings.training, variant.training
        tokens = own.get("max_tokens", full.max_tokens)
        if self.tuning_tokens is None or tokens is None:
            return {}
        if self.tuning_tokens > tokens:
            raise ValueError(
                f"--tuning-tokens {self.tuning_tokens}: {variant.label} is trained on {tokens} tokens; give no more"
            )
        warmup = min(1.0, own.get("warmup", full.warmup) * tokens / self.tuning_tokens)
        return {"max_steps": None, "max_tokens": self.tuning_tokens, "warmup": warmup, "score_at": None}

    @property
    def tuning_runs(self) -> list[PlannedRun]:
        return list(self._runs(self.tuning_seeds, self.learning_rates or [], tuning=True))

    @property
    def reported_runs(self) -> list[PlannedRun]:
        """The reported runs with a known learning rate: all, if there is nothing to choose, else those of `chosen`."""
        if self.learning_rates is None:
            return list(self._runs(self.seeds, [None]))
        runs = self._runs(self.seeds, self.learning_rates)
        return [run for run in runs if run.learning_rate == self.chosen.get(run.variant.label)]

    @property
    def runs(self) -> list[PlannedRun]:
        return [*self.tuning_runs, *self.reported_runs]

    @property
    def foreseen_runs(self) -> list[PlannedRun]:
        """`runs`, and before the rates are chosen as many reported ones as there will be: a rate costs what another
        one does."""
        if self.learning_rates is None or self.chosen:
            return self.runs
        return [*self.tuning_runs, *self._runs(self.seeds, self.learning_rates[:1])]

    @property
    def generates(self) -> bool:
        """Whether `tasks` are answered in words by the models as they are, not by fine-tuned ones."""
        return self.settings.training.objective == "seq2seq"

    @property
    def baseline(self) -> str:
        return self.named_baseline or default_baseline([variant.label for variant in self.variants])

    @property
    def aliases(self) -> dict[str, str]:
        """Alias -> definition, of the arms that have an alias."""
        return {v.label: v.definition for v in self.variants if v.label != v.definition}

    def record(self) -> dict[str, Any]:
        return {
            "attention": [variant.label for variant in self.variants],
            "controls": {variant.label: what for variant in self.variants if (what := control(variant))},
            "aliases": self.aliases,
            "baseline": self.baseline,
            "seeds": self.seeds,
            "learning_rates": self.learning_rates,
            "tuning_seeds": self.tuning_seeds,
            "tuning_tokens": self.tuning_tokens,
            "main": self.main,
            "margin": self.margin,
            "task_margin": self.task_margin,
            "tasks": self.tasks,
            "task_seeds": self.task_seeds,
            "task_data": self.task_data,
            "settings": self.settings.to_dict(),
            "data": self.data,
            "plugin": self.plugin,
            "command": self.command,
            "runs": [run.record() for run in self.runs],
        }

    def _runs(self, seeds: list[int], rates: Sequence[float | None], *, tuning: bool = False) -> Iterator[PlannedRun]:
        """Seeds outermost, so that a comparison cut short is still balanced."""
        for seed, variant, swept in product(seeds, self.variants, rates):
            rate = swept or variant.training.get("learning_rate", self.settings.training.learning_rate)
            folder = variant.label if swept is None else f"{variant.label}-lr{rate:g}"
            path = f"runs/{folder}/seed-{seed}"
            budget = self.tuning_budget(variant) if tuning else {}
            yield PlannedRun(variant=variant, seed=seed, learning_rate=rate, path=path, tuning=tuning, budget=budget)


def default_baseline(labels: list[str]) -> str:
    return "dot_product" if "dot_product" in labels else labels[0]


def default_tuning_seeds(seeds: list[int]) -> list[int]:
    """One tuning seed for every three reported ones, at least one, numbered from 1001."""
    return list(range(FIRST_TUNING_SEED, FIRST_TUNING_SEED + max(1, len(seeds) // SEEDS_PER_TUNING_SEED)))
