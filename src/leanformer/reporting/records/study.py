"""The runs of a report: those of a comparison directory, or the one run of a run directory."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leanformer.records import reading, studies
from leanformer.reporting.numbers.statistics import Spread, spread
from leanformer.reporting.numbers.target import FRACTION, Target, target
from leanformer.reporting.records import sweep
from leanformer.reporting.records.arm_names import check_aliases, renamed
from leanformer.reporting.records.objective_words import MASKED_LM, WORDINGS, Wording
from leanformer.reporting.records.planned import WrittenPlan, read_plan
from leanformer.reporting.records.runs import FineTuning, Run, flat, read_run
from leanformer.reporting.records.sweep import Rate
from leanformer.spelling import suggest

LEARNED = 0.01
"""A run that ends less than this fraction below the no-context baseline counts as no better than it."""
ATTENTION_PAGE = "attention.html"
"""The name of the attention page in a comparison directory."""
DEFAULT_BASELINE = "dot_product"


@dataclass(frozen=True)
class Study:
    """A study; `runs` holds all planned runs, whatever their status, and `at` returns those to compare."""

    directory: Path
    plan: dict[str, Any]
    attention: tuple[str, ...]
    baseline: str | None
    runs: tuple[Run, ...]
    sweep: dict[str, list[Rate]]
    warnings: tuple[str, ...]
    written_plan: WrittenPlan | None = None
    """The plan from before the first run (plan.json); `plan` is comparison.json."""
    planned_baseline: str | None = None
    """The baseline that the comparison planned, where the report compares with another one."""

    @property
    def challengers(self) -> list[str]:
        return [name for name in self.attention if name != self.baseline] if self.baseline else []

    @property
    def definitions(self) -> dict[str, str]:
        """Alias -> what the arm is, for the arms that have an alias."""
        aliases = self.plan.get("aliases") or {}
        return {name: aliases[name] for name in self.attention if name in aliases}

    @property
    def seeds(self) -> list[int]:
        """The seeds of the reported runs."""
        return sorted({run.seed for run in self.runs if not run.tuning})

    @property
    def tuned(self) -> bool:
        """Whether learning rates were chosen on seeds of their own."""
        return any(run.tuning for run in self.runs)

    @property
    def swept(self) -> bool:
        return any(len(rates) > 1 for rates in self.sweep.values())

    @property
    def tasks(self) -> list[str]:
        found = {tuning.task for run in self.runs for tuning in run.finetunings}
        planned = [task for task in self.plan.get("tasks") or () if isinstance(task, str)]
        return [*planned, *sorted(found - set(planned))]

    def finetunings(self, task: str, attention: str | None = None) -> list[FineTuning]:
        """Returns the fine-tunings of the compared runs of one mechanism or of all."""
        names = self.attention if attention is None else (attention,)
        return [t for name in names for run in self.at(name) for t in run.finetunings if t.task == task]

    def chosen(self, attention: str) -> Rate:
        return next(rate for rate in self.sweep[attention] if rate.chosen)

    def at(self, attention: str) -> tuple[Run, ...]:
        return self.chosen(attention).finished

    def is_chosen(self, run: Run) -> bool:
        return run in self.chosen(run.attention).runs

    def spread(self, attention: str, quantity: str) -> Spread:
        """Returns the mean and spread over the seeds of one of `Run`'s numbers."""
        values = [getattr(run, quantity) for run in self.at(attention)]
        return spread([value for value in values if value is not None])

    @property
    def wording(self) -> Wording:
        """The wording of the runs' or the plan's objective; older records without an objective are of masked models."""
        planned = flat(self.plan.get("settings") or {})
        named = [settings.get("training.objective") for settings in (*(run.settings for run in self.runs), planned)]
        return WORDINGS.get(next(filter(None, named), ""), MASKED_LM)

    @property
    def floor(self) -> float | None:
        """The no-context baseline on the baseline's data, nats (`pairing` refuses runs with another)."""
        return self._first("floor")

    @property
    def unigram(self) -> float | None:
        return self._first("unigram")

    @property
    def curve_floor(self) -> float | None:
        return self._first("curve_floor")

    @property
    def curve_unigram(self) -> float | None:
        return self._first("curve_unigram")

    @property
    def other_parts(self) -> list[str]:
        """The further held-out texts on which the runs were scored."""
        parts = [part for name in self.attention for run in self.at(name) for part in run.scores]
        return [part for part in dict.fromkeys(parts) if part not in ("valid", "test")]

    def target(self, fraction: float = FRACTION) -> Target | None:
        """Returns the target, a loss on the scale of the curves."""
        return (
            target(self.curve_floor, self.spread(self.baseline, "curve_loss").mean, fraction) if self.baseline else None
        )

    def below_floor(self, attention: str) -> float | None:
        """Returns 1 - final loss / no-context baseline, with the mean loss over seeds."""
        mean = self.spread(attention, "final_loss").mean
        return None if mean is None or not self.floor else 1 - mean / self.floor

    def without_context(self, attention: str) -> list[Run]:
        """Returns the finished runs that learned nothing from context."""
        return [run for run in self.at(attention) if learned_nothing(run)]

    def _first(self, quantity: str) -> float | None:
        runs = [run for name in (self.baseline, *self.attention) if name for run in self.at(name)]
        return next((v for run in (*runs, *self.runs) if (v := getattr(run, quantity)) is not None), None)


def learned_nothing(run: Run) -> bool:
    return no_better(run.final_loss, run.floor)


def no_better(loss: float | None, baseline: float | None) -> bool:
    """Whether the loss is no better than the no-context baseline, both in nats."""
    return loss is not None and baseline is not None and loss > (1 - LEARNED) * baseline


def read_study(directory: Path, baseline: str | None = None, aliases: Mapping[str, str] | None = None) -> Study:
    """Returns the study in `directory`; raises a one-line `ValueError` or `FileNotFoundError` if there is none.

    `baseline` stands in for the planned one, and `aliases` (arm -> name) for the names of arms.
    """
    directory = Path(directory)
    if (directory / "comparison.json").is_file():
        return _comparison(directory, baseline, aliases or {})
    if not (directory / "run.json").is_file():
        known = "a comparison (comparison.json) nor a run (run.json)"
        raise FileNotFoundError(f"{directory} holds neither {known}: give a directory that compare or pretrain wrote")
    if baseline or aliases:
        raise ValueError(f"{directory} holds one run, not a comparison: leave out --baseline and --alias")
    run = read_run(directory, ".")
    if run.record.get("kind", "pretrain") != "pretrain":
        raise ValueError(
            f"{directory} holds a {run.record['kind']} run: report the pre-training run or comparison around it"
        )
    runs = {run.attention: sweep.rates([run], run.attention)}
    return Study(directory, {}, (run.attention,), None, (run,), runs, ())


def _comparison(directory: Path, asked: str | None, aliases: Mapping[str, str]) -> Study:
    file, written = directory / "comparison.json", read_plan(directory)
    plan = reading.read(file, studies.Comparison, "restore it, or compare again")
    if aliases:
        check_aliases(aliases, dict.fromkeys([*plan["attention"], *(run["attention"] for run in plan["runs"])]))
        plan = renamed(plan, aliases)
        written = written and WrittenPlan(renamed(written.record, aliases))
    attention = tuple(dict.fromkeys(plan["attention"]))
    entries = [
        (r["attention"], r["seed"], r.get("learning_rate"), r["path"], r.get("tuning", False)) for r in plan["runs"]
    ]
    if not entries:
        raise ValueError(f"{file} plans no runs: there is nothing to report")
    for entry in entries:
        if [e[:3] for e in entries].count(entry[:3]) > 1:
            raise ValueError(f"{file} plans {entry[0]} with seed {entry[1]} twice: a seed can be compared once only")
    runs = tuple(
        read_run(directory, path, name, seed, rate, tuning=tuning) for name, seed, rate, path, tuning in entries
    )
    attention += tuple(dict.fromkeys(r.attention for r in runs if r.attention not in attention))
    runs_of = {name: sweep.rates(runs, name) for name in attention}
    unplanned = [name for name, rates in runs_of.items() if not rates]
    if unplanned:
        raise ValueError(f"{file} names {unplanned[0]}, but plans no run of it: compare again with --resume")
    planned, warnings = _baseline(plan.get("baseline"), attention)
    baseline = _other_baseline(aliases.get(asked, asked), attention) if asked else planned
    warnings += sweep.doubts(runs_of)
    instead_of = None if baseline == planned else planned
    return Study(directory, plan, attention, baseline, runs, runs_of, tuple(warnings), written, instead_of)


def _other_baseline(asked: str, attention: tuple[str, ...]) -> str:
    if asked not in attention:
        raise ValueError(f"--baseline {asked}: no such arm; {suggest(asked, attention)}")
    return asked


def _baseline(named: Any, attention: tuple[str, ...]) -> tuple[str, list[str]]:
    if named in attention:
        return named, []
    instead = DEFAULT_BASELINE if DEFAULT_BASELINE in attention else attention[0]
    why = f"The baseline {named} is not among the mechanisms" if named else "No baseline is named"
    return instead, [f"{why}: {instead} stands in for it."]
