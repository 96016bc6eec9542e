"""What a study of robustness will take: seconds from a short measurement, bytes of the models that are kept.

Training steps of the first model are timed on this machine; others cost in proportion to their FLOPs.
"""

from collections.abc import Callable

import torch

from leanformer.data import tasks
from leanformer.finetuning.classifier import load_classifier
from leanformer.models import saved
from leanformer.models.cost import ledger
from leanformer.reporting.records.runs import Run
from leanformer.reporting.records.study import Study
from leanformer.robustness.plan import SIZES, TRANSFER, Plan, Point
from leanformer.robustness.training_data import few_settings
from leanformer.settings import FinetuningSettings
from leanformer.study.estimate import Estimate, reading
from leanformer.training.machine.hardware import prepare_cpu
from leanformer.training.machine.timing import seconds_of_a_step

MEASURED_LENGTH = 32
JOB_SECONDS = 1.0
"""Loading a model and writing it."""


def estimate(study: Study, plan: Plan, jobs: list[tuple[Run, str, Point | None]]) -> Estimate:
    """Of these fine-tunings with their tests, one after the other."""
    first, task, _ = jobs[0]
    settings = plan.settings.finetuning_for(task)
    flops_per_second = _measure(study, first, task, settings)
    tokens = {name: _tokens(plan, name) for name in dict.fromkeys(task for _, task, _ in jobs)}
    seconds, size = JOB_SECONDS * len(jobs), 0
    for run, task, condition in jobs:
        seconds += tokens[task](condition) * _ledger(study, run)["flops_per_token"]["training"] / flops_per_second
        size += 4 * _ledger(study, run)["parameters"]["total"] if condition is None else 0
    return Estimate(seconds, size, len(jobs))


def _tokens(plan: Plan, task: str) -> Callable[[Point | None], float]:
    """What a fine-tuning on the task under a condition reads, its tests too, in tokens of training."""
    settings, tests = plan.settings.finetuning_for(task), plan.tests(task)
    own = reading(tasks.task(task), plan.task_data, settings)
    noisy = own.scored * sum(point.axis != TRANSFER for point in tests)
    others = [tasks.task(str(point.at)) for point in tests if point.axis == TRANSFER]
    tested = noisy + sum(reading(other, plan.task_data, settings).scored for other in others)

    def tokens(condition: Point | None) -> float:
        if condition is None:
            return own.training(settings.epochs) + tested / 3
        if condition.axis != SIZES:
            return own.training(settings.epochs)
        share = int(condition.at) / own.examples
        return own.training(share * few_settings(settings, int(condition.at), own.examples).epochs)

    return tokens


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
