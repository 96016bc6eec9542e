"""The fraction of the budget that is spent, and the learning rate at that point.

    rate(p) = peak * min(1, p / warmup, tail(p))        p in [0, 1]: fraction of the budget
    tail:   linear               (1 - p) / (1 - warmup)
            warmup_stable_decay  (1 - p) / decay
            constant             1

p is the fraction of the tokens, also where steps differ in size (`batch_ramp.py`). An update uses the rate at its
middle, so neither the first nor the last update has a rate of zero. For a budget in seconds, p is the time elapsed.
"""

import math
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass

from leanformer.settings import TrainingSettings

VALIDATIONS = 20
"""The number of validations in a run, unless the settings give the steps between them."""


@dataclass(frozen=True)
class Budget:
    """A budget in steps or in seconds; exactly one of the two is None."""

    steps: int | None
    seconds: float | None = None
    tokens: Callable[[int], int] = int
    """The number of tokens in the first so many steps."""

    def fraction(self, step: float, seconds: float) -> float:
        """Returns the spent fraction of the budget; `step` + 0.5 is the middle of the next step."""
        if self.steps is not None:
            done = (self.tokens(math.floor(step)) + self.tokens(math.ceil(step))) / 2
            return min(1.0, done / self.tokens(self.steps))
        assert self.seconds is not None
        return min(1.0, seconds / self.seconds)

    def spent(self, step: int, seconds: float) -> bool:
        return self.fraction(step, seconds) >= 1


def learning_rate(settings: TrainingSettings, fraction: float) -> float:
    rising = _ratio(fraction, settings.warmup)
    return settings.learning_rate * min(1.0, rising, _tail(settings, fraction))


def fork(settings: TrainingSettings, steps: int | None) -> int | None:
    """The number of first steps that are the same in a run with a larger budget and equally many warm-up steps.

    A checkpoint of that step can be extended. At least one step remains after it. None if the learning rate, the batch
    size or the masking rate depends on the budget from the first step on.
    """
    depends = (
        settings.schedule == "linear" or settings.first_batch_size is not None or settings.final_mask_rate is not None
    )
    if steps is None or depends:
        return None
    budget = Budget(steps)
    stable = bisect_left(range(steps), True, key=lambda step: _tail(settings, budget.fraction(step + 0.5, 0.0)) < 1)
    return min(stable, steps - 1) or None


def _tail(settings: TrainingSettings, fraction: float) -> float:
    return {
        "linear": _ratio(1 - fraction, 1 - settings.warmup),
        "warmup_stable_decay": _ratio(1 - fraction, settings.decay),
        "constant": 1.0,
    }[settings.schedule]


def validation_due(settings: TrainingSettings, step: int, before: float, after: float) -> bool:
    """Whether to validate after this step, which took the spent fraction of the budget from `before` to `after`."""
    if settings.validate_every is not None:
        return step % settings.validate_every == 0
    return math.floor(VALIDATIONS * after) > math.floor(VALIDATIONS * before)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 1.0
