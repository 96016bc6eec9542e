"""The progress display of a run: a live bar on a terminal or in a notebook, else lines at intervals."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any, Self

from rich.progress import BarColumn, TextColumn

from leanformer.progress import bars, console, is_live
from leanformer.training.optimizers.schedule import Budget
from leanformer.training.run.checkpoint import Progress

PLAIN_EVERY = 10.0
"""Seconds between plain lines."""


class Display:
    def __init__(self, title: str, budget: Budget, tokens: Callable[[int], int], at: Progress, quiet: bool) -> None:
        self._budget, self._tokens, self._begin = budget, tokens, replace(at)
        self._console = console(quiet=quiet)
        self._live = not quiet and is_live(self._console)
        self._loss = self._validation = ""
        self._printed = time.monotonic()
        columns = (TextColumn("{task.description}", markup=False), BarColumn(None), TextColumn("{task.fields[text]}"))
        self._bar = bars(*columns, on=self._console, quiet=not self._live, refresh_per_second=4)
        self._task = self._bar.add_task(title, total=1.0, text="")

    def say(self, text: str) -> None:
        with suppress(OSError):  # the terminal was closed a moment ago: SIGHUP is on its way, and saves the work
            self._console.print(text)

    def step(self, step: int, seconds: float) -> None:
        """Update the display after a step; this is cheap."""
        if self._live:
            text = f"{self._loss}{self._validation}  {self._pace(step, seconds)}"
            self._bar.update(self._task, completed=self._budget.fraction(step, seconds), text=text)

    def log(self, line: dict[str, Any]) -> None:
        """Update the display after a line of the curve."""
        validated = "validation_loss" in line
        self._loss = f"step {line['step']:,}  loss {line['loss']:.4f}"
        if validated:
            self._validation = f"  validation {line['validation_loss']:.4f}"
        if not self._live and (validated or time.monotonic() - self._printed > PLAIN_EVERY):
            self._printed = time.monotonic()
            self.say(
                f"{self._loss}{self._validation if validated else ''}  {self._pace(line['step'], line['seconds'])}"
            )

    def _pace(self, step: int, seconds: float) -> str:
        """Returns the tokens per second since this process began, and the remaining time."""
        fraction, begin = self._budget.fraction(step, seconds), self._begin
        elapsed, done = seconds - begin.seconds, fraction - self._budget.fraction(begin.step, begin.seconds)
        if elapsed <= 0 or done <= 0:
            return ""
        pace = (self._tokens(step) - self._tokens(begin.step)) / elapsed
        return f"{pace:,.0f} tokens/s  {timedelta(seconds=round(elapsed / done * (1 - fraction)))} left"

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._bar.stop()
