"""Every mechanism against the baseline, in every metric.

    final_loss          validation loss, nats a target, at the end of the budget              lower is better
    tokens_to_target    see `target`                                                         lower is better
    a task's name       its score (a fraction), mean over the fine-tuning seeds both have    higher is better
    task_average        plain mean over all tasks                                            higher is better

A difference is mechanism minus baseline, paired by pre-training seed; Holm's family is all mechanisms in one metric.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain

import numpy as np

from leanformer.report.examples import ExampleTest, example_tests
from leanformer.report.pairing import Pairs, paired_finetunings, pairs
from leanformer.report.ratios import Ratio, curve_targets, ratios, table_targets
from leanformer.report.runs import Run
from leanformer.report.statistics import (
    ALPHA,
    PairedDifference,
    Verdict,
    detectable_difference,
    paired_difference,
    with_holm,
)
from leanformer.report.study import Study, is_stuck
from leanformer.report.target import FRACTIONS, Target

LOSS, TOKENS, AVERAGE = "final_loss", "tokens_to_target", "task_average"

STUCK = "runs that are not below the context-free floor take part, so it tells nothing about attention"

Values = tuple[float, float] | None
"""(mechanism, baseline) of one pair."""


@dataclass(frozen=True)
class Comparison:
    attention: str
    metric: str
    difference: PairedDifference
    seeds: tuple[int, ...] = ()
    values: tuple[tuple[float, float], ...] = ()
    """(mechanism, baseline), a pair for each seed."""
    planned: int = 0
    note: str = ""
    informative: bool = True
    """False where a run on the context-free floor takes part: then the losses say nothing about attention."""
    target: Target | None = None
    arrived: int | None = None
    baseline_arrived: int | None = None

    @property
    def higher_is_better(self) -> bool:
        return self.metric not in (LOSS, TOKENS)

    @property
    def verdict(self) -> Verdict:
        return self.difference.verdict(higher_is_better=self.higher_is_better)

    @property
    def shown_verdict(self) -> str:
        """The verdict as people should read it."""
        if self.censored:
            return "censored"
        return self.verdict if self.informative or self.difference.n == 0 else "says nothing"

    @property
    def censored(self) -> bool:
        return self.arrived is not None and min(self.arrived, self.baseline_arrived or 0) < len(self.seeds)


@dataclass(frozen=True)
class Findings:
    """A study's comparisons, and what about them must not go unsaid."""

    study: Study
    comparisons: tuple[Comparison, ...]
    pairs: dict[str, Pairs]
    sensitivity: tuple[Comparison, ...]
    """Tokens to target for every fraction of `target.FRACTIONS`."""
    ratios: tuple[Ratio, ...] = ()
    """At the targets of the table."""
    ratio_curve: tuple[Ratio, ...] = ()
    """At the targets of the picture that no run has reached at its first validation."""
    without_collapsed: tuple[Comparison, ...] = ()
    """Every task of which a fine-tuning collapsed, once more without these."""
    examples: tuple[ExampleTest, ...] = ()

    def of(self, metric: str) -> list[Comparison]:
        return [c for c in self.comparisons if c.metric == metric]

    @property
    def detectable(self) -> float | None:
        """Nats of final loss that this design finds with probability 0.8, at the first and strictest step of Holm's."""
        return self._detectable(len(self._tested))

    @property
    def detectable_alone(self) -> float | None:
        """The same for a single mechanism, without Holm's correction."""
        return self._detectable(1)

    @property
    def _tested(self) -> list[PairedDifference]:
        return [c.difference for c in self.of(LOSS) if c.difference.standard_error]

    def _detectable(self, family: int) -> float | None:
        """With the root mean square of the standard errors and the fewest degrees of freedom."""
        if not self._tested:
            return None
        error = math.sqrt(float(np.mean([(d.standard_error or 0.0) ** 2 for d in self._tested])))
        return detectable_difference(error, min(d.df or 0.0 for d in self._tested), ALPHA / family)


def find(study: Study) -> Findings:
    paired = {name: pairs(study, name) for name in study.challengers}
    comparisons = _family(study, paired, LOSS, lambda a, b: _both(a.final_loss, b.final_loss))
    sensitivity = []
    for fraction in FRACTIONS:
        target = study.target(fraction)
        if target is not None:
            sensitivity += _arrivals(study, paired, target)
    main = study.target()
    comparisons += [c for c in sensitivity if c.target == main]
    sound = []
    for task in study.tasks:
        comparisons += _family(study, paired, task, partial(task_scores, task=task))
        if any(tuning.collapsed for tuning in study.finetunings(task)):
            sound += _family(study, paired, task, partial(task_scores, task=task, collapsed=False))
    if len(study.tasks) > 1:
        comparisons += _family(study, paired, AVERAGE, partial(average_scores, tasks=study.tasks))
    curve = (ratios(study, paired, [target]) for target in curve_targets(study))
    late = [of for of in curve if not any(ratio.early for ratio in of)]
    return Findings(
        study,
        tuple(comparisons),
        paired,
        tuple(sensitivity),
        ratios=tuple(ratios(study, paired, table_targets(study))),
        ratio_curve=tuple(chain.from_iterable(late)),
        without_collapsed=tuple(sound),
        examples=example_tests(study, paired),
    )


def task_scores(run: Run, other: Run, task: str, *, collapsed: bool = True) -> Values:
    """Means over the fine-tuning seeds that both runs finished, collapsed ones included unless told otherwise."""
    both = paired_finetunings(run, other, task, collapsed=collapsed)
    scores = [[tuning.score or 0.0 for tuning in pair] for pair in both]
    return tuple(np.mean(scores, axis=0).tolist()) if scores else None  # type: ignore[return-value]


def average_scores(run: Run, other: Run, tasks: list[str]) -> Values:
    scores = [task_scores(run, other, task) for task in tasks]
    complete = [pair for pair in scores if pair is not None]
    return tuple(np.mean(complete, axis=0).tolist()) if len(complete) == len(tasks) else None  # type: ignore[return-value]


def _both(ours: float | None, theirs: float | None) -> Values:
    return None if ours is None or theirs is None else (ours, theirs)


def _family(
    study: Study, paired: dict[str, Pairs], metric: str, measure: Callable[[Run, Run], Values]
) -> list[Comparison]:
    family = []
    for name, of in paired.items():
        measured = [(run.seed, values) for run, other in of.pairs if (values := measure(run, other)) is not None]
        difference = paired_difference([ours - theirs for _, (ours, theirs) in measured])
        stuck = metric == LOSS and any(is_stuck(run) for pair in of.pairs for run in pair)
        family.append(
            Comparison(
                name,
                metric,
                difference,
                seeds=tuple(seed for seed, _ in measured),
                values=tuple(values for _, values in measured),
                planned=len(study.seeds),
                note="; ".join(filter(None, [difference.note, STUCK if stuck else ""])),
                informative=not stuck,
            )
        )
    return _corrected(family)


def _arrivals(study: Study, paired: dict[str, Pairs], target: Target) -> list[Comparison]:
    family = []
    for name, of in paired.items():
        crossings = [tuple(run.descent.first_crossing(target.loss) for run in pair) for pair in of.pairs]
        both = [(ours, theirs) for ours, theirs in crossings if ours is not None and theirs is not None]
        arrived, theirs = (sum(crossing[side] is not None for crossing in crossings) for side in (0, 1))
        difference = paired_difference([a - b for a, b in both])
        if len(both) < len(crossings):
            reach = f"{arrived} of {len(crossings)} runs of {name} and {theirs} of {study.baseline} reach the target"
            difference = PairedDifference(len(both), note=f"censored: {reach} within the budget")
        family.append(
            Comparison(
                name,
                TOKENS,
                difference,
                seeds=tuple(run.seed for run, _ in of.pairs),
                values=tuple(both),
                planned=len(study.seeds),
                note=difference.note,
                target=target,
                arrived=arrived,
                baseline_arrived=theirs,
            )
        )
    return _corrected(family)


def _corrected(family: list[Comparison]) -> list[Comparison]:
    corrected = with_holm([c.difference for c in family])
    return [replace(c, difference=d) for c, d in zip(family, corrected, strict=True)]
