"""What a comparison will take: seconds from a short measurement, bytes from closed forms.

A step of the baseline is timed on this machine. Other variants cost in proportion to their training FLOPs, and as much
for the optimizer's step, which small batches feel: Muon's takes as long as 700 tokens of a model of 4 x 256 do.
"""

from dataclasses import replace
from functools import cached_property
from typing import Any

from leanformer.comparison.plan import Plan, PlannedRun
from leanformer.comparison.variants import Variant
from leanformer.data.corpus import Prepared
from leanformer.data.pairs import PairCorpus
from leanformer.data.tasks import task as find_task
from leanformer.models import LeanformerConfig
from leanformer.models.cost import ledger
from leanformer.settings import Settings
from leanformer.study.estimate import Estimate, process_seconds, reading
from leanformer.training.budget.pace import measure
from leanformer.training.objectives.protocol import PretrainingObjective
from leanformer.training.objectives.table import OBJECTIVES, model_config
from leanformer.training.run.scores import plans

GENERATION = 20
"""Times a forward pass over the reference: four beams, token by token in small products."""


class Estimator:
    """Costs of a plan's runs on this machine, `workers` of them at a time with `threads` threads each."""

    def __init__(
        self, plan: Plan, corpus: Prepared, objective: PretrainingObjective, workers: int, threads: int
    ) -> None:
        self.plan, self.corpus, self.objective, self.workers = plan, corpus, objective, workers
        baseline = next((v for v in plan.variants if v.label == plan.baseline), plan.variants[0])
        settings = self._settings(baseline)
        pace = measure(replace(settings, training=replace(settings.training, threads=threads)), corpus)
        self.flops_per_second, self.update_seconds = self._flops_per_token(baseline) / pace.token, pace.update

    def of(self, runs: list[PlannedRun], finetunings: list[tuple[PlannedRun, str]]) -> Estimate:
        seconds = self.work(runs, finetunings)
        copies = 1 + 3 * self.plan.settings.training.keep_checkpoints  # model; weights and two moments a checkpoint
        size = sum(4 * self._ledger(run.variant)["parameters"]["total"] * (copies + self._kept(run)) for run in runs)
        slowest = max([*map(self.pretraining_seconds, runs), 0.0])
        return Estimate(max(seconds / self.workers, slowest), size, len(runs) + len(finetunings))

    def work(self, runs: list[PlannedRun], finetunings: list[tuple[PlannedRun, str]]) -> float:
        """Returns the seconds of all of them, one after the other."""
        return sum(map(self.pretraining_seconds, runs)) + sum(self.task_seconds(*pair) for pair in finetunings)

    def _kept(self, run: PlannedRun) -> int:
        """Returns the number of models that the run keeps during training, 0 if its steps are unknown."""
        every = run.settings(self.plan.settings).training.keep_every
        return 0 if every is None else (objective_of(run, self.plan, self.corpus).total_steps or 0) // every

    def task_seconds(self, run: PlannedRun, task: str) -> float:
        return self.generation_seconds(run, task) if self.plan.generates else self.finetuning_seconds(run, task)

    def pretraining_seconds(self, run: PlannedRun) -> float:
        seconds = run.settings(self.plan.settings).training.max_seconds
        if seconds is not None:
            return seconds + self.scoring_seconds(run.variant) + process_seconds()
        objective = objective_of(run, self.plan, self.corpus)
        assert objective.total_steps is not None
        read = objective.tokens(objective.total_steps) * self._flops_per_token(run.variant) / self.flops_per_second
        return (
            read + objective.total_steps * self.update_seconds + self.scoring_seconds(run.variant) + process_seconds()
        )

    def scoring_seconds(self, variant: Variant) -> float:
        """The forward passes over held-out text take these seconds, at every score point and when a run is done."""
        training = self.plan.settings.training
        asked = plans(self.objective, training.score_targets)
        tokens = training.sequence_length * sum(len(ids) * draws for _, _, ids, draws in asked)
        times = 1 + sum(number != training.max_tokens for number in training.score_at or [])
        return times * tokens * self._ledger(variant)["flops_per_token"]["forward"] / self.flops_per_second

    def finetuning_seconds(self, run: PlannedRun, task: str) -> float:
        flops = ledger(self._config(run.variant), 32, 0)["flops_per_token"]["training"]
        return self.plan.task_seeds * self.task_tokens[task] * flops / self.flops_per_second + process_seconds()

    @cached_property
    def task_tokens(self) -> dict[str, float]:
        """What one fine-tuning on each task reads, in tokens of training."""
        settings, where = self.plan.settings, str(self.plan.task_data)
        read = {name: reading(find_task(name), where, settings.finetuning_for(name)) for name in self.plan.tasks}
        return {name: of.training(settings.finetuning_for(name).epochs) for name, of in read.items()}

    def generation_seconds(self, run: PlannedRun, task: str) -> float:
        assert isinstance(self.corpus, PairCorpus)
        _, lengths = self.corpus.splits[self.corpus.test].lengths(self.plan.settings.training.sequence_length)
        forward = self._ledger(run.variant)["flops_per_token"]["forward"]
        return GENERATION * float(lengths.sum()) * forward / self.flops_per_second + process_seconds()

    def _settings(self, variant: Variant) -> Settings:
        return PlannedRun(variant=variant, seed=1, learning_rate=1.0, path="").settings(self.plan.settings)

    def _config(self, variant: Variant) -> LeanformerConfig:
        return model_config(self._settings(variant), self.corpus)

    def _ledger(self, variant: Variant) -> dict[str, Any]:
        training = self.plan.settings.training
        return ledger(self._config(variant), training.sequence_length, self.objective.scored, training.objective)

    def _flops_per_token(self, variant: Variant) -> float:
        return self._ledger(variant)["flops_per_token"]["training"]


def objective_of(run: PlannedRun, plan: Plan, corpus: Prepared) -> PretrainingObjective:
    """Returns the objective of this run; an arm may have a budget and a batch of its own."""
    training = run.settings(plan.settings).training
    return OBJECTIVES[training.objective].objective(corpus, training, 1)
