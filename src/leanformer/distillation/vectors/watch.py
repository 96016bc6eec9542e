"""Progress as users measure it: the student's scores on held-out pairs of texts at some steps of a run."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from leanformer.evaluation.sentence_encoder import SentenceEncoder
from leanformer.evaluation.similarity import Pairs, measure
from leanformer.training.run.callback import Callback

TIMES = 4
"""The number of measurements between the first step and the last."""


class PairWatch(Callback):
    """A callback that measures the student on `pairs`, if there are any, before the first step and at some later ones.

    `steps` is the budget (None: one in seconds, which is measured at its ends alone). `rows` holds what was measured.
    """

    name = "pairs"

    def __init__(
        self, pairs: Pairs | None, student: SentenceEncoder, length: int, steps: int | None, say: Callable[[str], None]
    ) -> None:
        self.pairs, self.student, self.length, self.say = pairs, student, length, say
        self.due = set() if steps is None else {round(steps * part / (TIMES + 1)) for part in range(1, TIMES + 1)}
        self.rows: list[dict[str, Any]] = []

    def before_step(self, step: int) -> None:
        if step == 0:
            self.measure(0)

    def after_step(self, step: int) -> None:
        if step + 1 in self.due:
            self.measure(step + 1)

    def measure(self, step: int) -> None:
        """Measure the model after `step` updates."""
        if self.pairs is None or any(row["step"] == step for row in self.rows):
            return
        found = measure(self.pairs, lambda texts: self.student.vectors(texts, self.length))
        self.rows.append({"step": step, **found})
        self.say(f"step {step}: " + ", ".join(f"{name} {value:.4g}" for name, value in found.items()))

    def state(self) -> dict[str, Tensor]:
        return {
            f"{number}.{name}": torch.tensor(value, dtype=torch.float64)
            for number, row in enumerate(self.rows)
            for name, value in row.items()
        }

    def resume(self, state: dict[str, Tensor]) -> None:
        rows: dict[int, dict[str, Any]] = {}
        for key, value in state.items():
            number, _, name = key.partition(".")
            rows.setdefault(int(number), {})[name] = int(value) if name in ("step", "queries") else float(value)
        self.rows = [rows[number] for number in sorted(rows)]
