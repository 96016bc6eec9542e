"""Early advice in a run that learns nothing.

    constant = the loss of the best answer that ignores the input (for classes, the entropy of their shares)
    flat     = the mean loss over the last third of the steps so far is at least 0.98 constant

This is looked at once, when three quarters of the first epoch are over, and not before step LEAST: a shorter time says
little.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from leanformer.data.tasks import Task
from leanformer.finetuning.chosen_method import BALANCED
from leanformer.finetuning.objective import TaskObjective
from leanformer.settings import FinetuningSettings
from leanformer.training.run.callback import Callback

LEAST = 30
PART, LAST, FLAT = 0.75, 1 / 3, 0.98
RISEN = 1.1
"""The multiple of the constant answer's loss above which training goes up rather than nowhere."""
RATE, WIDTH, HIGHEST = 5e-5, 768, 1e-3
"""The learning rate that suits BERT-base, its width, and the highest rate that is advised because of a small width."""


class CollapseWatch(Callback):
    """A callback that calls `say` with advice if the training loss is no lower than that of a constant answer."""

    name = "watch"

    def __init__(
        self,
        objective: TaskObjective,
        constant: float,
        task: Task,
        settings: FinetuningSettings,
        width: int,
        say: Callable[[str], None],
    ) -> None:
        self.objective, self.constant, self.say = objective, constant, say
        self.task, self.settings, self.width = task, settings, width
        epoch = len(objective.lengths) / settings.batch_size
        self.due = max(LEAST, math.ceil(PART * epoch))
        self.first = self.due - math.ceil(LAST * self.due)
        self.losses: list[Tensor] = []

    def after_step(self, step: int) -> None:
        if self.first <= step < self.due and self.objective.latest is not None:
            self.losses.append(self.objective.latest.mean())
        if step + 1 == self.due and self.losses:
            loss = float(torch.stack(self.losses).mean())
            if loss >= FLAT * self.constant:
                remedy = advice(self.task, self.settings, self.width, rising=loss > RISEN * self.constant)
                self.say(
                    f"after {self.due} steps the training loss is {loss:.3f}, and an answer that ignores the text has "
                    f"{self.constant:.3f}: nothing is learned so far; if it stays so, {remedy}"
                )


def advice(task: Task, settings: FinetuningSettings, width: int, rising: bool = False) -> str:
    """Returns what to try if a run has learned nothing: the learning rate first, since that is most often the cause.

    A rate that is too low is tripled, or raised to what suits the width: RATE (WIDTH / width)^2, at most HIGHEST.
    """
    suited = min(RATE * max(1.0, WIDTH / width) ** 2, HIGHEST)
    rate = settings.learning_rate / 3 if rising else max(settings.learning_rate * 3, suited)
    direction = "lower" if rising else "higher"
    more = [f"a {direction} learning rate (--set finetuning.learning_rate={rate:.1g})"]
    more.append(f"more epochs (--set finetuning.epochs={3 * settings.epochs:g})")
    if settings.loss == "mean" and task.kind in BALANCED:
        more.append("--class-weights balanced if a class is rare")
    return f"try {more[0]}, {', '.join(more[1:])}, or a model that was pre-trained longer"
