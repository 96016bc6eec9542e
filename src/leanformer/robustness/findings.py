"""Every mechanism against the baseline, under noise and on poorer data.

    score     of a fine-tuned model, a fraction; higher is better
    drop      its score on clean text, trained on all the clean data, minus the score here; lower is better

A difference is mechanism minus baseline, paired by pre-training seed, of the means over the fine-tuning seeds that both
have. Each axis is judged by the mean over its points (Holm's family: all mechanisms and axes of a task in one measure)
and point by point (family: all mechanisms and points of the axis).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from leanformer.records.run import Scored
from leanformer.reporting.analysis.pairing import Pairs, pairs
from leanformer.reporting.numbers.statistics import (
    PairedDifference,
    Spread,
    Verdict,
    paired_difference,
    spread,
    with_holm,
)
from leanformer.reporting.records.record_files import read_record
from leanformer.reporting.records.runs import Run
from leanformer.reporting.records.study import Study
from leanformer.robustness.plan import Plan, Point, directory
from leanformer.robustness.trials import read_tests

Measure = Literal["score", "drop"]
INFORMED = 0.01
"""A mechanism whose clean score is less than this above that of one and the same answer has nothing to lose."""
MEASURES: tuple[Measure, ...] = ("score", "drop")
CLEAN = "clean"


@dataclass
class Scores:
    """The scores of one pre-trained run on one task, by fine-tuning seed."""

    clean: dict[int, float] = field(default_factory=dict)
    points: dict[Point, dict[int, float]] = field(default_factory=dict)
    collapsed: list[Point | None] = field(default_factory=list)
    """Fine-tunings (not tests) that answer the same whatever they read; None is a clean one."""

    def mean(self, points: Sequence[Point], measure: Measure, seeds: Iterable[int]) -> float:
        values = [self.points[point][seed] for seed in seeds for point in points] if points else [*self._at(seeds)]
        return float(np.mean([*self._at(seeds)]) - np.mean(values)) if measure == "drop" else float(np.mean(values))

    def seeds(self, points: Sequence[Point]) -> set[int]:
        """Returns the seeds with a score at all of the points, and a clean one."""
        return set.intersection(set(self.clean), *(set(self.points.get(point, ())) for point in points))

    def _at(self, seeds: Iterable[int]) -> list[float]:
        return [self.clean[seed] for seed in seeds]


@dataclass(frozen=True)
class Effect:
    """A mechanism's difference from the baseline; `at` is None for the mean over the axis."""

    task: str
    attention: str
    axis: str
    at: float | str | None
    measure: Measure
    difference: PairedDifference
    seeds: tuple[int, ...]
    informative: bool = True
    """False where the mechanism or the baseline scores as if it always gave one answer."""

    @property
    def verdict(self) -> Verdict:
        """Returns the verdict, not testable where the mechanism or the baseline has nothing to lose."""
        if not self.informative and self.difference.n:
            return "not testable"
        return self.difference.verdict(higher_is_better=self.measure == "score")


@dataclass(frozen=True)
class Findings:
    study: Study
    plan: Plan
    scores: dict[tuple[str, str, int], Scores]
    """By task, mechanism and pre-training seed."""
    changed: dict[tuple[str, Point], float]
    """By task: the share of words that really differ, mean over the seeds."""
    effects: tuple[Effect, ...]
    pairs: dict[str, Pairs]
    constant: dict[str, float]
    """By task: the score of the best constant answer."""
    failed: tuple[str, ...]

    def informed(self, task: str, attention: str) -> bool:
        """Whether the mechanism, on clean text, does better than one and the same answer."""
        clean, constant = self.spread(task, attention, []).mean, self.constant.get(task)
        return clean is None or constant is None or clean > constant + INFORMED

    def spread(self, task: str, attention: str, points: Sequence[Point], measure: Measure = "score") -> Spread:
        """Returns the spread over the pre-training seeds; of no points, that of the clean score."""
        runs = [of for (at, name, _), of in self.scores.items() if (at, name) == (task, attention)]
        return spread([of.mean(points, measure, seeds) for of in runs if (seeds := sorted(of.seeds(points)))])

    def axes(self, task: str) -> dict[str, list[Point]]:
        """The points that have a score, by axis, in the plan's order."""
        axes: dict[str, list[Point]] = {}
        for point in self.plan.points(task):
            if any(point in of.points for (at, _, _), of in self.scores.items() if at == task):
                axes.setdefault(point.axis, []).append(point)
        return axes

    def of(self, task: str, axis: str, at: float | str | None, measure: Measure) -> list[Effect]:
        return [e for e in self.effects if (e.task, e.axis, e.at, e.measure) == (task, axis, at, measure)]


def find(study: Study, out: Path, plan: Plan, constant: dict[str, float], failed: Sequence[str] = ()) -> Findings:
    scores: dict[tuple[str, str, int], Scores] = {}
    changed: dict[tuple[str, Point], list[float]] = {}
    for task in plan.tasks:
        for name in study.attention:
            for run in study.at(name):
                scores[task, name, run.seed] = _scores(out, run, task, plan, changed)
    paired = {name: pairs(study, name) for name in study.challengers}
    means = {key: float(np.mean(shares)) for key, shares in changed.items()}
    bare = Findings(study, plan, scores, means, (), paired, constant, tuple(failed))
    return replace(bare, effects=tuple(effect for task in plan.tasks for effect in _effects(bare, task)))


def _scores(out: Path, run: Run, task: str, plan: Plan, changed: dict[tuple[str, Point], list[float]]) -> Scores:
    found = Scores()
    for condition in plan.conditions():
        for seed in range(1, plan.seeds + 1):
            folder = directory(out, run.attention, run.seed, task, condition, seed)
            results = _results(folder / "run.json")
            if results is None:
                continue
            found.collapsed += [condition] if results["collapsed"] else []
            if condition is not None:
                found.points.setdefault(condition, {})[seed] = results["score"]
                continue
            found.clean[seed] = results["score"]
            tests = read_tests(folder)
            for point in plan.tests(task):
                if point in tests:
                    found.points.setdefault(point, {})[seed] = tests[point]["score"]
                    changed.setdefault((task, point), []).append(tests[point]["changed"])
    return found


def _results(file: Path) -> dict[str, Any] | None:
    record = read_record(file, Scored) if file.is_file() else {}
    return record["results"] if record.get("status") == "finished" else None


def _effects(findings: Findings, task: str) -> list[Effect]:
    axes = findings.axes(task)
    clean = [_effect(findings, task, name, CLEAN, None, [], "score") for name in findings.study.challengers]
    effects = _corrected(clean)
    for measure in MEASURES:
        means = [
            _effect(findings, task, name, axis, None, points, measure)
            for axis, points in axes.items()
            for name in findings.study.challengers
        ]
        effects += _corrected(means)
        for axis, points in axes.items():
            family = [
                _effect(findings, task, name, axis, point.at, [point], measure)
                for point in points
                for name in findings.study.challengers
            ]
            effects += _corrected(family)
    return effects


def _effect(
    findings: Findings,
    task: str,
    name: str,
    axis: str,
    at: float | str | None,
    points: Sequence[Point],
    measure: Measure,
) -> Effect:
    informative = all(findings.informed(task, of) for of in (name, findings.study.baseline or name))
    differences = {}
    for ours, theirs in findings.pairs[name].pairs:
        a, b = (findings.scores[task, run.attention, run.seed] for run in (ours, theirs))
        if seeds := sorted(a.seeds(points) & b.seeds(points)):
            differences[ours.seed] = a.mean(points, measure, seeds) - b.mean(points, measure, seeds)
    return Effect(
        task, name, axis, at, measure, paired_difference(list(differences.values())), tuple(differences), informative
    )


def _corrected(family: list[Effect]) -> list[Effect]:
    corrected = with_holm([effect.difference for effect in family])
    return [replace(effect, difference=d) for effect, d in zip(family, corrected, strict=True)]
