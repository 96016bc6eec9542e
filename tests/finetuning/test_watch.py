"""Advice comes once, in the first epoch, if the loss is no lower than that of a constant answer."""

import numpy as np
import pytest
import torch

from leanformer.data.tasks import Task
from leanformer.finetuning.objective import TaskObjective
from leanformer.finetuning.watch import CollapseWatch, advice
from leanformer.settings import FinetuningSettings

TASK = Task("x", ("text",), ("no", "yes"))


class Encoded:
    lengths = np.full(1000, 7)


def advised(losses, batch_size=20, **settings):
    """What the watch says of a run with these losses; a constant answer has 0.7."""
    objective, said = TaskObjective(Encoded(), batch_size, 3.0, 1), []
    settings = FinetuningSettings(batch_size=batch_size, **settings)
    watch = CollapseWatch(objective, 0.7, TASK, settings, 768, said.append)
    for step, loss in enumerate(losses):
        objective.latest = torch.full((batch_size,), loss)
        watch.after_step(step)
        if said:
            return step + 1, said
    return None, said


def test_flat():
    step, (text,) = advised([0.7] * 150, learning_rate=1e-4)
    assert step == 38  # three quarters of 50 steps
    assert text == (
        "after 38 steps the training loss is 0.700, and an answer that ignores the text has 0.700: nothing is learned "
        "so far; if it stays so, try a higher learning rate (--set finetuning.learning_rate=0.0003), more epochs "
        "(--set finetuning.epochs=9), --class-weights balanced if a class is rare, or a model that was pre-trained "
        "longer"
    )


def test_rising_and_falling():
    _, (text,) = advised([0.9] * 150, learning_rate=3e-3, loss="balanced")
    assert "try a lower learning rate (--set finetuning.learning_rate=0.001), more epochs" in text
    assert "balanced" not in text
    assert advised([0.7] * 20 + [0.5] * 130) == (None, [])


def test_short_epochs_wait():
    """An epoch of ten steps says little: the first thirty are looked at."""
    step, _ = advised([0.7] * 150, batch_size=100)
    assert step == 30
    assert advised([0.7] * 29, batch_size=100) == (None, [])


def test_the_mean_of_the_last_third_counts():
    assert advised([0.9] * 25 + [0.6] * 13 + [0.9] * 100) == (None, [])


def test_numbers_have_no_classes_to_weigh():
    assert "balanced" in advice(TASK, FinetuningSettings(), 768)
    assert "balanced" not in advice(Task("x", ("text",), metrics=("pearson",)), FinetuningSettings(), 768)


@pytest.mark.parametrize(
    ("width", "rate", "advised"),
    [(768, 5e-5, "0.0002"), (1024, 5e-5, "0.0002"), (256, 5e-5, "0.0005"), (64, 5e-5, "0.001"), (64, 1e-3, "0.003")],
)
def test_a_narrow_model_is_advised_a_rate_of_its_width(width, rate, advised):
    """5e-5 (768 / 256)^2 = 4.5e-4; never more than 1e-3 because of the width."""
    found = advice(TASK, FinetuningSettings(learning_rate=rate), width)
    assert f"learning_rate={advised})" in found
