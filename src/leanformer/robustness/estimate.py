"""What a study will take, told before it starts: seconds from a short measurement, bytes of the models that are kept.

Training steps of the first model are timed on this machine; others cost in proportion to their FLOPs, a test a third of
training on as many tokens.
"""

import torch

from leanformer.comparison.estimate import Estimate, seconds_of_a_step, words_to_tokens
from leanformer.data import tasks
from leanformer.data.examples import Examples, load
from leanformer.finetuning.classifier import load_classifier
from leanformer.models import saved
from leanformer.models.cost import ledger
from leanformer.report.records.runs import Run
from leanformer.report.records.study import Study
from leanformer.robustness.plan import SIZES, TRANSFER, Plan, Point
from leanformer.robustness.training_data import few_settings
from leanformer.settings import FinetuningSettings
from leanformer.training.machine.hardware import prepare_cpu

MEASURED_LENGTH = 32
PIECE_SECONDS = 1.0
"""Loading a model and writing it."""


def estimate(study: Study, plan: Plan, pieces: list[tuple[Run, str, Point | None]]) -> Estimate:
    """Of these fine-tunings with their tests, one after the other."""
    first, task, _ = pieces[0]
    settings = plan.settings.finetuning_for(task)
    flops_per_second = _measure(study, first, task, settings)
    read = {name: _Reading(plan, name) for name in dict.fromkeys(task for _, task, _ in pieces)}
    seconds, size = PIECE_SECONDS * len(pieces), 0
    for run, task, condition in pieces:
        seconds += read[task].tokens(condition) * _ledger(study, run)["flops_per_token"]["training"] / flops_per_second
        size += 4 * _ledger(study, run)["parameters"]["total"] if condition is None else 0
    return Estimate(seconds, size, len(pieces))


class _Reading:
    """How much a fine-tuning on a task reads, in tokens of training."""

    def __init__(self, plan: Plan, task: str) -> None:
        self.settings = settings = plan.settings.finetuning_for(task)

        def tokens(examples: Examples) -> float:
            return words_to_tokens(examples.texts, settings.max_length)

        def scored(name: str) -> float:
            parts = load(tasks.task(name), plan.task_data)[1].values()
            return sum(tokens(part.subset(settings.max_eval_examples)) for part in parts)

        train = load(tasks.task(task), plan.task_data)[0].subset(settings.max_train_examples)
        self.examples, self.each = len(train.labels), tokens(train) / len(train.labels)
        self.clean = scored(task)
        tests = plan.tests(task)
        noisy = self.clean * sum(point.axis != TRANSFER for point in tests)
        self.tests = noisy + sum(scored(str(point.at)) for point in tests if point.axis == TRANSFER)

    def tokens(self, condition: Point | None) -> float:
        examples, settings = self.examples, self.settings
        if condition is not None and condition.axis == SIZES:
            examples = int(condition.at)
            settings = few_settings(settings, examples, self.examples)
        read = settings.epochs * examples * self.each + self.clean / 3
        return read + self.tests / 3 if condition is None else read


def _measure(study: Study, run: Run, task: str, settings: FinetuningSettings) -> float:
    """Training FLOPs a second of the model of `run`."""
    prepare_cpu(settings.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    folder = saved.locate(study.directory / run.path)
    model: torch.nn.Module = load_classifier(folder, tasks.task(task), 1)
    model.to(device).train()
    ids = torch.full((settings.batch_size, min(MEASURED_LENGTH, settings.max_length)), 1, device=device)
    elapsed = seconds_of_a_step(lambda: model(input_ids=ids).logits.float().square().sum(), settings.precision, device)
    return ids.numel() * _ledger(study, run)["flops_per_token"]["training"] / elapsed


def _ledger(study: Study, run: Run) -> dict:
    return ledger(saved.config_of(saved.locate(study.directory / run.path)), MEASURED_LENGTH, 0)
