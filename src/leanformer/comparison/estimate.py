"""What a comparison will take, told before it starts: seconds from a short measurement, bytes from closed forms.

A step of the baseline is timed on this machine. Other variants cost in proportion to their training FLOPs, and as much
for the optimizer's step, which small batches feel: Muon's takes as long as 700 tokens of a model of 4 x 256 do.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from leanformer.comparison.plan import Plan, PlannedRun
from leanformer.comparison.variants import Variant
from leanformer.data.corpus import Prepared
from leanformer.data.examples import load
from leanformer.data.pairs import PairCorpus
from leanformer.data.tasks import Task
from leanformer.data.tasks import task as find_task
from leanformer.models import LeanformerConfig
from leanformer.models.cost import ledger
from leanformer.settings import TrainingSettings
from leanformer.training.machine import timing
from leanformer.training.machine.hardware import autocast_dtype
from leanformer.training.objectives.protocol import PretrainingObjective
from leanformer.training.objectives.table import OBJECTIVES, model_config
from leanformer.training.optimizers.parameter_groups import make_optimizer
from leanformer.training.run.scores import plans

PROCESS_SECONDS = 8.0
"""Starting Python with torch and transformers, and writing the results."""
TOKENS_PER_WORD = 1.6
"""Word pieces in running English, special tokens included: only the estimate of fine-tuning rests on it."""
MEASURED_STEPS, MEASURED_SEQUENCES = 3, 32
GENERATION = 20
"""Times a forward pass over the reference: four beams, token by token in small products."""


@dataclass(frozen=True)
class Estimate:
    """Wall-clock seconds and bytes on disk of what is still to do."""

    seconds: float
    bytes: int
    runs: int

    def sentence(self) -> str:
        return f"{self.runs} runs to go: about {_duration(self.seconds)} and {_size(self.bytes)} of disk"


class Estimator:
    """Costs of a plan's runs on this machine, `workers` of them at a time with `threads` threads each."""

    def __init__(
        self, plan: Plan, corpus: Prepared, objective: PretrainingObjective, workers: int, threads: int
    ) -> None:
        self.plan, self.corpus, self.objective, self.workers = plan, corpus, objective, workers
        baseline = next((v for v in plan.variants if v.label == plan.baseline), plan.variants[0])
        self.flops_per_second, self.update_seconds = self._measure(baseline, threads)

    def of(self, runs: list[PlannedRun], finetunings: list[tuple[PlannedRun, str]]) -> Estimate:
        after = self.generation_seconds if self.plan.generates else self.finetuning_seconds
        seconds = sum(map(self.pretraining_seconds, runs)) + sum(after(*pair) for pair in finetunings)
        copies = 1 + 3 * self.plan.settings.training.keep_checkpoints  # model; weights and two moments a checkpoint
        size = sum(4 * self._ledger(run.variant)["parameters"]["total"] * copies for run in runs)
        slowest = max([*map(self.pretraining_seconds, runs), 0.0])
        return Estimate(max(seconds / self.workers, slowest), size, len(runs) + len(finetunings))

    def pretraining_seconds(self, run: PlannedRun) -> float:
        seconds = run.settings(self.plan.settings).training.max_seconds
        if seconds is not None:
            return seconds + self.scoring_seconds(run.variant) + PROCESS_SECONDS
        objective = objective_of(run, self.plan, self.corpus)
        assert objective.total_steps is not None
        read = objective.tokens(objective.total_steps) * self._flops_per_token(run.variant) / self.flops_per_second
        return read + objective.total_steps * self.update_seconds + self.scoring_seconds(run.variant) + PROCESS_SECONDS

    def scoring_seconds(self, variant: Variant) -> float:
        """The forward passes over held-out text take these seconds, at every score point and when a run is done."""
        training = self.plan.settings.training
        asked = plans(self.objective, training.score_targets)
        tokens = training.sequence_length * sum(len(ids) * draws for _, _, ids, draws in asked)
        times = 1 + sum(number != training.max_tokens for number in training.score_at or [])
        return times * tokens * self._ledger(variant)["flops_per_token"]["forward"] / self.flops_per_second

    def finetuning_seconds(self, run: PlannedRun, task: str) -> float:
        flops = ledger(self._config(run.variant), 32, 0)["flops_per_token"]["training"]
        return self.plan.task_seeds * self.task_tokens[task] * flops / self.flops_per_second + PROCESS_SECONDS

    @cached_property
    def task_tokens(self) -> dict[str, float]:
        """What one fine-tuning on each task reads, in tokens of training: scoring costs a third."""
        return {name: self._task_tokens(find_task(name)) for name in self.plan.tasks}

    def _task_tokens(self, task: Task) -> float:
        assert self.plan.task_data is not None
        settings = self.plan.settings.finetuning_for(task.name)
        longest = math.inf if task.kind == "span" else settings.max_length  # windows read all of a context
        train, validation = load(task, self.plan.task_data)
        tokens = settings.epochs * words_to_tokens(train.subset(settings.max_train_examples).texts, longest)
        scored = [split.subset(settings.max_eval_examples).texts for split in validation.values()]
        return tokens + sum(words_to_tokens(texts, longest) for texts in scored) / 3

    def generation_seconds(self, run: PlannedRun, task: str) -> float:
        assert isinstance(self.corpus, PairCorpus)
        _, lengths = self.corpus.splits[self.corpus.test].lengths(self.plan.settings.training.sequence_length)
        forward = self._ledger(run.variant)["flops_per_token"]["forward"]
        return GENERATION * float(lengths.sum()) * forward / self.flops_per_second + PROCESS_SECONDS

    def _config(self, variant: Variant) -> LeanformerConfig:
        run = PlannedRun(variant=variant, seed=1, learning_rate=1.0, path="")
        return model_config(run.settings(self.plan.settings), self.corpus)

    def _ledger(self, variant: Variant) -> dict[str, Any]:
        training = self.plan.settings.training
        return ledger(self._config(variant), training.sequence_length, self.objective.scored, training.objective)

    def _flops_per_token(self, variant: Variant) -> float:
        return self._ledger(variant)["flops_per_token"]["training"]

    def _measure(self, variant: Variant, threads: int) -> tuple[float, float]:
        """FLOPs a second of forward and backward passes of the model of `variant`, on a part of the first batch; and
        seconds of the optimizer's step."""
        training = self.plan.settings.training
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        first = self.objective.micro_batches(0, 0, 1)[0]
        batch = {name: tensor[:MEASURED_SEQUENCES].to(device) for name, tensor in first.items()}
        with device:
            model = OBJECTIVES[training.objective].model(self._config(variant)).train()
        elapsed, update = step_seconds(model, self.objective, batch, training, threads, device)
        tokens = self.objective.tokens(1) * len(batch["labels"]) / (training.first_batch_size or training.batch_size)
        return self._flops_per_token(variant) * tokens / elapsed, update


def step_seconds(
    model: nn.Module,
    objective: PretrainingObjective,
    batch: dict[str, Tensor],
    training: TrainingSettings,
    threads: int,
    device: torch.device,
) -> tuple[float, float]:
    """Of the passes over a batch, and of the optimizer's step."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        passes = seconds_of_a_step(lambda: objective.loss_sum(model, batch), training.precision, device)
        return passes, seconds_of_an_update(model, training, device)
    finally:
        torch.set_num_threads(before)


def seconds_of_a_step(loss: Callable[[], Tensor], precision: str, device: torch.device) -> float:
    """What a forward and a backward pass take, the mean of some after one that is not counted."""
    bf16 = autocast_dtype(precision, device) is not None

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            found = loss()
        found.backward()

    step()
    return timing.seconds(step, MEASURED_STEPS, device)


def seconds_of_an_update(model: nn.Module, training: TrainingSettings, device: torch.device) -> float:
    """What the optimizer's step takes, by the gradients that the model has, after one that makes its state."""
    optimizer = make_optimizer(model, training)
    optimizer.step()
    return timing.seconds(optimizer.step, MEASURED_STEPS, device)


def objective_of(run: PlannedRun, plan: Plan, corpus: Prepared) -> PretrainingObjective:
    """That of this run: an arm may have a budget and a batch of its own."""
    training = run.settings(plan.settings).training
    return OBJECTIVES[training.objective].objective(corpus, training, 1)


def words_to_tokens(texts: list[tuple[str, ...]], max_length: float) -> float:
    return sum(min(max_length, TOKENS_PER_WORD * sum(len(text.split()) for text in row)) for row in texts)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def _size(size: int) -> str:
    return f"{size / 1e6:.0f} MB" if size < 1e9 else f"{size / 1e9:.1f} GB"
