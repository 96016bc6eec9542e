"""Readers of the records of runs: run.json, curve.jsonl and the fine-tunings of a pre-training run.

A run that is missing, unfinished, failed or diverged is a `Run` with that status: it is listed and never left out.
A record that cannot be read raises a one-line `ValueError` that names the file.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from leanformer.records import reading
from leanformer.records import run as records
from leanformer.reporting.numbers.target import Descent
from leanformer.reporting.records.collapse import collapsed
from leanformer.reporting.records.record_files import read_lines, read_record

SCHEMA = reading.SCHEMA
Status = Literal["finished", "unfinished", "failed", "diverged", "missing"]


@dataclass(frozen=True)
class FineTuning:
    """A fine-tuning of one pre-trained model on one task with one seed. `score` is a fraction; 1 is perfect."""

    task: str
    seed: int
    path: str
    status: Status
    problem: str = ""
    score: float | None = None
    collapsed: bool = False
    """Whether its answer is always the same or its Matthews correlation is 0: a failed training, kept and marked."""
    record: dict[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Run:
    """A pre-training run. Losses are in nats; `flops_per_token` counts training (forward and backward)."""

    attention: str
    seed: int
    learning_rate: float | None
    path: str
    status: Status
    problem: str = ""
    record: dict[str, Any] = field(default_factory=dict, repr=False)
    curve: tuple[tuple[float, float], ...] = field(default=(), repr=False)
    """(tokens, validation loss) of every validation."""
    clock: tuple[tuple[float, float, float], ...] = field(default=(), repr=False)
    """(tokens, steps, seconds) of every logged step, starting at 0; the seconds include validation."""
    finetunings: tuple[FineTuning, ...] = field(default=(), repr=False)
    tuning: bool = False
    """Whether the run is used only to choose a learning rate, and enters no mean, interval or verdict."""

    @cached_property
    def descent(self) -> Descent:
        return Descent(self.curve)

    @cached_property
    def columns(self) -> NDArray[np.float64]:
        return np.array([(0.0, 0.0, 0.0), *self.clock]).T.copy()

    def _number(self, *keys: str) -> float | None:
        value: Any = self.record
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        return value if isinstance(value, int | float) and math.isfinite(value) else None

    @property
    def parameters(self) -> float | None:
        return self._number("ledger", "parameters", "total")

    @property
    def flops_per_token(self) -> float | None:
        return self._number("ledger", "flops_per_token", "training")

    @property
    def tokens(self) -> float | None:
        return self._number("results", "tokens")

    @property
    def steps(self) -> float | None:
        return self._number("results", "steps")

    @property
    def seconds(self) -> float | None:
        return self._number("results", "seconds")

    @property
    def tokens_per_second(self) -> float | None:
        return self._number("results", "tokens_per_second")

    @property
    def mfu(self) -> float | None:
        """Model FLOPs utilization: training FLOP/s over those of the machine's matrix products."""
        mfu = self._number("results", "mfu")
        return self._number("results", "share_of_peak") if mfu is None else mfu

    @property
    def energy_joules(self) -> float | None:
        return self._number("results", "energy_joules")

    @property
    def energy_source(self) -> str:
        """The counters of the joules, or the reason why there are none."""
        return str((self.record.get("results") or {}).get("energy_source") or "an unnamed counter")

    @property
    def joules_per_million_tokens(self) -> float | None:
        joules, tokens = self.energy_joules, self.tokens
        return None if joules is None or not tokens else 1e6 * joules / tokens

    @property
    def scores(self) -> dict[str, dict[str, Any]]:
        """The scores of the held-out parts by name; a run that was not scored after its training has none."""
        return (self.record.get("results") or {}).get("scores") or {}

    @property
    def points(self) -> dict[int, dict[str, Any]]:
        """The scores during training, by the requested number of tokens."""
        return {point["score_at"]: point for point in self.record.get("scores_at") or []}

    @property
    def part(self) -> str | None:
        """The held-out part on which the final loss is measured."""
        return next((part for part in ("test", "valid") if part in self.scores), None)

    @property
    def final_loss(self) -> float | None:
        """The loss on the test part, else on the validation part; for an older run, its last validation."""
        return self.curve_loss if self.part is None else self.loss_on(self.part)

    def loss_on(self, part: str) -> float | None:
        return self._number("results", "scores", part, "loss")

    @property
    def curve_loss(self) -> float | None:
        """The last validation loss of training, which curves, targets and their costs use."""
        return self._number("results", "final_loss")

    @property
    def selection_loss(self) -> float | None:
        """The validation loss, by which learning rates are chosen."""
        validation = self.loss_on("valid")
        return self.curve_loss if validation is None else validation

    @property
    def best_loss(self) -> float | None:
        return self._number("results", "best_loss")

    @property
    def floor(self) -> float | None:
        """The no-context baseline on the targets of the final loss, nats."""
        scored = None if self.part is None else self._number("results", "scores", self.part, "context_free")
        return self.curve_floor if scored is None else scored

    @property
    def unigram(self) -> float | None:
        scored = None if self.part is None else self._number("results", "scores", self.part, "unigram")
        return self._number("floor", "unigram") if scored is None else scored

    @property
    def curve_floor(self) -> float | None:
        """The no-context baseline on the targets of the curve's validations, nats."""
        return self._number("floor", "context_free")

    @property
    def curve_unigram(self) -> float | None:
        return self._number("floor", "unigram")

    @property
    def settings(self) -> dict[str, Any]:
        return flat(self.record.get("settings", {}))


def flat(tables: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"model": {"hidden_size": 8}} -> {"model.hidden_size": 8}."""
    out: dict[str, Any] = {}
    for key, value in tables.items():
        out |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) and value else {f"{prefix}{key}": value}
    return out


def read_run(
    directory: Path,
    path: str,
    attention: str | None = None,
    seed: int | None = None,
    rate: float | None = None,
    *,
    tuning: bool = False,
) -> Run:
    """Returns the run at `directory`/`path`; the plan's label, seed and rate override those of its record."""
    folder = directory / path
    file = folder / "run.json"
    if not file.is_file():
        absent = "planned, but it has no run.json"
        return Run(attention or "", seed or 0, rate, path, "missing", absent, tuning=tuning)
    record = read_record(file)
    results = record.get("results") or {}
    logged = _logged(folder / "curve.jsonl")
    validations = tuple((tokens, loss) for tokens, loss in results.get("validations") or ())
    curve = validations or tuple(_columns(logged, "tokens", "validation_loss"))
    return Run(
        attention=attention or _label(record),
        seed=(record.get("seed") or 0) if seed is None else seed,
        learning_rate=rate,
        path=path,
        **_status(record, results.get("final_loss"), curve),
        record=record,
        curve=curve,
        clock=tuple(_columns(logged, "tokens", "step", "seconds")),
        finetunings=tuple(_finetunings(directory, folder)),
        tuning=tuning,
    )


def _finetunings(directory: Path, folder: Path) -> Iterator[FineTuning]:
    for place in sorted(folder.glob("tasks/*/seed-*"), key=lambda p: (p.parent.name, len(p.name), p.name)):
        path = place.relative_to(directory).as_posix()
        file = place / "run.json"
        if not file.is_file():
            number = place.name.removeprefix("seed-")
            if number.isdigit():
                yield FineTuning(place.parent.name, int(number), path, "missing", "it has no run.json")
            continue
        record = read_record(file)
        results = record.get("results") or {}
        score = results.get("score")
        yield FineTuning(
            task=record.get("task") or place.parent.name,
            seed=record.get("seed") or 0,
            path=path,
            **_status(record, score),
            score=score if score is not None and math.isfinite(score) else None,
            collapsed=collapsed(results, place / "predictions.jsonl"),
            record=record,
        )


def _logged(path: Path) -> list[dict[str, Any]]:
    """Returns the lines of a curve."""
    return list(read_lines(path, records.CurveLine)) if path.is_file() else []


def _columns(lines: list[dict[str, Any]], *keys: str) -> Iterator[tuple[Any, ...]]:
    """Yields these values of the lines that have all of them."""
    rows = zip(*([line.get(key) for line in lines] for key in keys), strict=True)
    return (row for row in rows if None not in row)


def _status(
    record: dict[str, Any], result: float | None, curve: tuple[tuple[float, float], ...] = ()
) -> dict[str, Any]:
    """Returns {"status", "problem"}: the record's status, checked against the loss that it should hold."""
    said = record.get("status")
    reason = str(record.get("error") or record.get("problem") or "").strip()
    first = reason.splitlines()[0] if reason else ""
    if result is not None and not math.isfinite(result) or any(not math.isfinite(loss) for _, loss in curve):
        return {"status": "diverged", "problem": first or "its loss is not a finite number"}
    if said == "failed":
        numeric = any(
            word in reason.lower()
            for word in ("nan", "not finite", "non-finite", "diverged", "infinite", " is inf", " is -inf")
        )
        return {"status": "diverged" if numeric else "failed", "problem": first or "it ended with an error"}
    if said == "finished":
        return {"status": "finished"} if result is not None else {"status": "failed", "problem": "it has no result"}
    reached = f" after {curve[-1][0]:,.0f} tokens" if curve else ""
    return {"status": "unfinished", "problem": f"{said or 'its status is unknown'}{reached}: resume it"}


def _label(record: dict[str, Any]) -> str:
    options = ",".join(f"{k}={v}" for k, v in (record.get("attention_options") or {}).items())
    return f"{record.get('attention', 'unnamed')}[{options}]" if options else str(record.get("attention", "unnamed"))
