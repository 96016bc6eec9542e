"""The batch size of each step, constant or growing, and the examples that each step reads.

With `first_batch_size` the batch grows as the budget is spent. In multiples of u = gcd(first_batch_size, batch_size),

    size = first_batch_size + u floor(n e / (batch_ramp E)),   at most batch_size,   n = (batch_size - first) / u

after e of the budget's E examples: n stages of about equally many examples each, then batches of full size. The number
of processes divides every multiple of u if it divides both ends. Early in training the gradient has little noise, so a
small batch loses little (McCandlish et al., 2018, "An Empirical Model of Large-Batch Training") and gives more updates.

A budget of steps is converted to the smallest number of examples that takes so many steps.
"""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, replace
from math import ceil, gcd
from typing import NamedTuple

from leanformer.settings import TrainingSettings


class Stage(NamedTuple):
    """From `step` on, which starts at global example `example`, every step reads `size` examples."""

    step: int
    example: int
    size: int


@dataclass(frozen=True)
class Batches:
    stages: tuple[Stage, ...]
    """The stages in order; the batches of the last stage are of full size."""
    steps: int | None
    """The number of steps in the budget, None if the budget is given in seconds."""

    def size(self, step: int) -> int:
        return self._stage(step).size

    def examples(self, steps: int) -> int:
        """Returns the number of examples in the first `steps` steps."""
        stage = self._stage(steps)
        return stage.example + (steps - stage.step) * stage.size

    def full(self, steps: int) -> float:
        """Returns the same number in batches of full size."""
        return self.examples(steps) / self.stages[-1].size

    def _stage(self, step: int) -> Stage:
        return self.stages[bisect_right(self.stages, step, key=lambda stage: stage.step) - 1]


def batches(settings: TrainingSettings) -> Batches:
    size = settings.batch_size
    steps = settings.steps(size * settings.sequence_length)
    if settings.first_batch_size is None:
        return Batches((Stage(0, 0, size),), steps)
    assert steps is not None, "a ramp over seconds: which examples a step reads must not depend on the clock"
    if settings.max_tokens is not None:
        return _ramp(settings, ceil(settings.max_tokens / settings.sequence_length))
    examples = bisect_left(range(steps * size), steps, key=lambda examples: _ramp(settings, examples).steps or 0)
    return replace(_ramp(settings, examples), steps=steps)


def _ramp(settings: TrainingSettings, examples: int) -> Batches:
    """Returns the ramp for a budget of `examples` examples."""
    assert settings.first_batch_size is not None
    first, last = settings.first_batch_size, settings.batch_size
    unit = gcd(first, last)
    ends = (last - first) // unit
    stages, step, example = [], 0, 0
    for number in range(ends + 1):
        stages.append(Stage(step, example, first + number * unit))
        end = examples if number == ends else settings.batch_ramp * examples * (number + 1) / ends
        steps = max(0, ceil((end - example) / stages[-1].size))
        step, example = step + steps, example + steps * stages[-1].size
    return Batches(tuple(stages), step)
