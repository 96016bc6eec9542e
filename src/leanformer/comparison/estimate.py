"""What a comparison will take, told before it starts: seconds from a short measurement, bytes from closed forms.

A step of the baseline is timed on this machine; other variants cost in proportion to their training FLOPs.
"""

import math
import time
from dataclasses import dataclass
from functools import cached_property

import torch

from leanformer.comparison.plan import Plan, PlannedRun
from leanformer.comparison.variants import Variant
from leanformer.data.examples import load
from leanformer.data.masking import count
from leanformer.data.tasks import Task
from leanformer.data.tasks import task as find_task
from leanformer.models import LeanformerConfig, LeanformerForMaskedLM
from leanformer.models.cost import ledger
from leanformer.settings import Settings
from leanformer.training.hardware import autocast_dtype

PROCESS_SECONDS = 8.0
"""Starting Python with torch and transformers, and writing the results."""
TOKENS_PER_WORD = 1.6
"""Word pieces in running English, special tokens included: only the estimate of fine-tuning rests on it."""
MEASURED_STEPS = 3


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

    def __init__(self, plan: Plan, vocab_size: int, workers: int, threads: int) -> None:
        self.plan, self.vocab_size, self.workers = plan, vocab_size, workers
        baseline = next((v for v in plan.variants if v.label == plan.baseline), plan.variants[0])
        self.flops_per_second = self._measure(baseline, threads)

    def of(self, runs: list[PlannedRun], finetunings: list[tuple[PlannedRun, str]]) -> Estimate:
        seconds = sum(map(self.pretraining_seconds, runs)) + sum(self.finetuning_seconds(*pair) for pair in finetunings)
        copies = 1 + 3 * self.plan.settings.training.keep_checkpoints  # model; weights and two moments a checkpoint
        size = sum(4 * self._parameters(run.variant) * copies for run in runs)
        slowest = max([*map(self.pretraining_seconds, runs), 0.0])
        return Estimate(max(seconds / self.workers, slowest), size, len(runs) + len(finetunings))

    def pretraining_seconds(self, run: PlannedRun) -> float:
        training = self.plan.settings.training
        if training.max_seconds is not None:
            return training.max_seconds + PROCESS_SECONDS
        assert training.total_steps is not None
        flops = self._flops_per_token(run.variant, training.sequence_length, training.mask_rate)
        return training.total_steps * training.tokens_per_step * flops / self.flops_per_second + PROCESS_SECONDS

    def finetuning_seconds(self, run: PlannedRun, task: str) -> float:
        flops = self._flops_per_token(run.variant, 32, 0.0)
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
        tokens = settings.epochs * _tokens(train.subset(settings.max_train_examples).texts, longest)
        scored = [split.subset(settings.max_eval_examples).texts for split in validation.values()]
        return tokens + sum(_tokens(texts, longest) for texts in scored) / 3

    def _config(self, variant: Variant) -> LeanformerConfig:
        settings: Settings = PlannedRun(variant=variant, seed=1, learning_rate=1.0, path="").settings(
            self.plan.settings
        )
        return LeanformerConfig.from_settings({**settings.model, "vocab_size": self.vocab_size})

    def _parameters(self, variant: Variant) -> int:
        return ledger(self._config(variant), self.plan.settings.training.sequence_length)["parameters"]["total"]

    def _flops_per_token(self, variant: Variant, length: int, mask_rate: float) -> float:
        masked = count(mask_rate, length) if mask_rate else 0
        return ledger(self._config(variant), length, masked)["flops_per_token"]["training"]

    def _measure(self, variant: Variant, threads: int) -> float:
        """Training FLOPs a second of the model of `variant`, with small batches of the training's own length."""
        training = self.plan.settings.training
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        batch, length = min(training.batch_size, 32), training.sequence_length
        masked = count(training.mask_rate, length)
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            with device:
                model = LeanformerForMaskedLM(self._config(variant)).train()
            tokens = torch.randint(self.vocab_size, (batch, length), device=device)
            positions = torch.arange(masked, device=device).expand(batch, masked)
            labels = tokens[:, :masked]
            bf16 = autocast_dtype(training.precision, device) is not None
            for step in range(1 + MEASURED_STEPS):
                if step == 1:
                    start = time.perf_counter()
                with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                    loss = model(tokens, masked_positions=positions, labels=labels).loss
                loss.backward()
                loss.item()
            elapsed = time.perf_counter() - start
        finally:
            torch.set_num_threads(before)
        flops = self._flops_per_token(variant, length, training.mask_rate)
        return flops * batch * length * MEASURED_STEPS / elapsed


def _tokens(texts: list[tuple[str, ...]], max_length: float) -> float:
    return sum(min(max_length, TOKENS_PER_WORD * sum(len(text.split()) for text in row)) for row in texts)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def _size(size: int) -> str:
    return f"{size / 1e6:.0f} MB" if size < 1e9 else f"{size / 1e9:.1f} GB"
