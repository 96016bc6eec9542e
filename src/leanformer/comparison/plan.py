"""The plan of a comparison: every run it takes, written to `comparison.json` before the first one starts."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from leanformer.comparison.controls import control
from leanformer.comparison.variants import Variant
from leanformer.settings import Settings

SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """One pre-training run: a variant, a seed, a learning rate, and its directory inside the comparison's."""

    variant: Variant
    seed: int
    learning_rate: float
    path: str

    def settings(self, common: Settings) -> Settings:
        """The comparison's settings with what is this run's own."""
        options: dict[str, Any] = {"attention": self.variant.mechanism}
        if self.variant.options:
            options["attention_options"] = {**common.model.get("attention_options", {}), **self.variant.options}
        own = {**self.variant.training, "seed": self.seed, "learning_rate": self.learning_rate}
        training = common.training.updated(own)
        model = {**common.model, **options}
        for key, value in self.variant.model.items():
            model[key] = {**model.get(key, {}), **value} if isinstance(value, dict) else value
        return replace(common, model=model, training=training)

    def overrides(self) -> list[str]:
        """The same as `--set` arguments: with `settings.json` they repeat this run by hand."""
        values: dict[str, Any] = {"model.attention": self.variant.mechanism}
        values |= {f"model.attention_options.{key}": value for key, value in self.variant.options.items()}
        for key, value in self.variant.model.items():
            if isinstance(value, dict):  # a table such as mixer_options: its entries join the common ones
                values |= {f"model.{key}.{name}": each for name, each in value.items()}
            else:
                values[f"model.{key}"] = value
        values |= {f"training.{key}": value for key, value in self.variant.training.items()}
        values |= {"training.seed": self.seed, "training.learning_rate": self.learning_rate}
        return [f"{key}={'none' if value is None else json.dumps(value)}" for key, value in values.items()]

    def record(self) -> dict[str, Any]:
        return {
            "attention": self.variant.label,
            "seed": self.seed,
            "learning_rate": self.learning_rate,
            "path": self.path,
        }


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Variants x seeds x learning rates, and the tasks each chosen run is fine-tuned on, or writes for."""

    settings: Settings
    variants: list[Variant]
    seeds: list[int]
    learning_rates: list[float] | None
    tasks: list[str]
    task_seeds: int
    task_data: str | None
    data: dict[str, Any]
    plugin: str | None
    command: str

    @property
    def runs(self) -> list[PlannedRun]:
        """Seeds outermost, so that a comparison cut short is still balanced."""
        return list(self._runs())

    @property
    def generates(self) -> bool:
        """Whether `tasks` are answered in words by the models as they are, not by fine-tuned ones."""
        return self.settings.training.objective == "seq2seq"

    @property
    def baseline(self) -> str:
        labels = [variant.label for variant in self.variants]
        return "dot_product" if "dot_product" in labels else labels[0]

    def record(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "attention": [variant.label for variant in self.variants],
            "controls": {variant.label: what for variant in self.variants if (what := control(variant))},
            "baseline": self.baseline,
            "seeds": self.seeds,
            "learning_rates": self.learning_rates,
            "tasks": self.tasks,
            "task_seeds": self.task_seeds,
            "task_data": self.task_data,
            "settings": self.settings.to_dict(),
            "data": self.data,
            "plugin": self.plugin,
            "command": self.command,
            "runs": [run.record() for run in self.runs],
        }

    def _runs(self) -> Iterator[PlannedRun]:
        rates: list[float] | list[None] = self.learning_rates or [None]
        for seed, swept, variant in product(self.seeds, rates, self.variants):
            rate = swept or variant.training.get("learning_rate", self.settings.training.learning_rate)
            folder = variant.label if self.learning_rates is None else f"{variant.label}-lr{rate:g}"
            yield PlannedRun(variant=variant, seed=seed, learning_rate=rate, path=f"runs/{folder}/seed-{seed}")
