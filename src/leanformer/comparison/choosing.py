"""The choice of every arm's learning rate: by validation on tuning seeds, before any reported run starts.

It is a function of the records of the tuning runs (`report.sweep`), so it is the same whenever it is made again.
"""

from dataclasses import replace
from pathlib import Path

from leanformer.comparison.continuing import earlier
from leanformer.comparison.plan import Plan, PlannedRun, default_tuning_seeds
from leanformer.reporting.records import sweep
from leanformer.reporting.records.runs import Run, read_run
from leanformer.settings import TrainingSettings
from leanformer.training.run.record import RunDirectory


def with_choice(out: Path, plan: Plan) -> Plan:
    """The plan with the learning rate of every arm, if the tuning runs are done."""
    if not plan.tuning_runs or not all(is_settled(out, run) for run in plan.tuning_runs):
        return plan
    tried = [_tried(out, run) for run in plan.tuning_runs]
    best = [rate for v in plan.variants for rate in sweep.rates(tried, v.label) if rate.chosen and rate.losses]
    return replace(plan, chosen={rate.attention: rate.learning_rate for rate in best if rate.learning_rate})


def _tried(out: Path, run: PlannedRun) -> Run:
    return read_run(out, run.path, run.variant.label, run.seed, run.learning_rate, tuning=True)


def is_settled(out: Path, run: PlannedRun) -> bool:
    """Whether there is no more to do for it: a tuning run that diverged has told what it was for."""
    if run.tuning:
        return _tried(out, run).status in ("finished", "diverged")
    return RunDirectory(out / run.path).finished


def choice(plan: Plan) -> list[str]:
    """What was chosen, one line per arm."""
    lines = []
    for label in (variant.label for variant in plan.variants):
        rate = plan.chosen.get(label)
        said = "diverged at every learning rate and is not run" if rate is None else f"has learning rate {rate:g}"
        lines.append(f"{label} {said}")
    return lines


def tuning_seeds_of(out: Path, seeds: list[int], rates: list[float] | None, given: list[int] | None) -> list[int]:
    """Returns the seeds of the option, else those that the comparison was started with, else the default."""
    if rates is None:
        if given is not None:
            raise ValueError("--tuning-seeds are for choosing a learning rate: add --learning-rates, or leave it out")
        return []
    before = earlier(out) or {}
    tuning = given or before.get("tuning_seeds") or default_tuning_seeds(seeds)
    if both := sorted(set(tuning) & set(seeds)):
        raise ValueError(
            f"seed {both[0]} is reported and used for tuning, so its choice would favour its result: give other "
            f"numbers with --tuning-seeds, for example {max(seeds) + 1}-{max(seeds) + 2}"
        )
    return tuning


def tuning_tokens_of(out: Path, settings: TrainingSettings, rates: list[float] | None, given: int | None) -> int | None:
    """The tokens of a tuning run: those of the option, else those that the comparison was started with, else None, for
    as many as a reported run has."""
    before = earlier(out) or {}
    tokens = before.get("tuning_tokens") if given is None else given
    if tokens is None:
        return None
    if rates is None:
        raise ValueError("--tuning-tokens is for choosing a learning rate: add --learning-rates, or leave it out")
    if settings.max_tokens is None or not 0 < tokens <= settings.max_tokens:
        raise ValueError(
            f"--tuning-tokens {tokens}: a tuning run is a part of training.max_tokens = {settings.max_tokens}; set "
            "that to a number at least as large, or leave the option out"
        )
    return tokens
