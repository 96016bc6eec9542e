"""The comparison of every mechanism with the baseline, in every metric.

    final_loss      nats per target at the end of the budget, on the test part (`Run.part`)  lower is better
    a task's name   its score (a fraction), mean over the fine-tuning seeds both have        higher is better
    task_average    plain mean over all tasks                                                higher is better

A difference is mechanism minus baseline, paired by pre-training seed. `families` describes which tests Holm's method
corrects together; the cost of reaching a loss is in `ratios`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain

import numpy as np

from leanformer.reporting.analysis.chance import at_chance
from leanformer.reporting.analysis.examples import ExampleTest, example_tests
from leanformer.reporting.analysis.held_out import Scores
from leanformer.reporting.analysis.pairing import Pairs, paired_finetunings, pairs
from leanformer.reporting.analysis.ratios import Ratio, corrected, curve_targets, ratios, table_targets
from leanformer.reporting.numbers.crossed import Crossed
from leanformer.reporting.numbers.margins import margin_of, task_margin_of
from leanformer.reporting.numbers.statistics import (
    ALPHA,
    PairedDifference,
    Verdict,
    detectable_difference,
    paired_difference,
    with_holm,
)
from leanformer.reporting.records.runs import Run
from leanformer.reporting.records.study import Study, learned_nothing

LOSS, AVERAGE = "final_loss", "task_average"

LEARNED_NOTHING = "a run that learned nothing from context takes part, so the losses say nothing about attention"

Values = tuple[float, float] | None
"""(mechanism, baseline) of one pair."""


@dataclass(frozen=True)
class Comparison:
    attention: str
    metric: str
    difference: PairedDifference
    seeds: tuple[int, ...] = ()
    values: tuple[tuple[float, float], ...] = ()
    """(mechanism, baseline) of each seed."""
    planned: int = 0
    note: str = ""
    informative: bool = True
    """False where the numbers show nothing about attention and are not tested: a run learned nothing from context, or
    neither side is above chance on the task."""
    exploratory: bool = False
    """Whether it is not among the main contrasts that the plan names, or against another baseline than planned."""

    @property
    def higher_is_better(self) -> bool:
        return not self.metric.startswith(LOSS)

    @property
    def verdict(self) -> Verdict:
        if not self.informative and self.difference.n:
            return "not testable"
        return self.difference.verdict(higher_is_better=self.higher_is_better)

    @property
    def direction(self) -> str:
        """Whether the mean is better or worse, however uncertain."""
        return "better" if ((self.difference.mean or 0.0) > 0) == self.higher_is_better else "worse"

    @property
    def shown_verdict(self) -> str:
        """The verdict for readers, which marks a difference within the margin and a contrast that was not planned."""
        measurable = self.verdict == "equivalent" and self.difference.differs
        though = f" (though measurably {self.direction})" if measurable else ""
        return f"{self.verdict}{though}" + (", exploratory" if self.exploratory else "")


@dataclass(frozen=True)
class Findings:
    """The comparisons of a study, with the doubts that a report must mention."""

    study: Study
    comparisons: tuple[Comparison, ...]
    pairs: dict[str, Pairs]
    ratios: tuple[Ratio, ...] = ()
    """The ratios at the targets of the table, corrected together."""
    ratio_curve: tuple[Ratio, ...] = ()
    """The ratios at the targets of the picture that no run reached by its first validation; they are not tested."""
    without_collapsed: tuple[Comparison, ...] = ()
    """The comparisons without collapsed fine-tunings, for every task that has some."""
    examples: tuple[ExampleTest, ...] = ()
    crossed: dict[str, Crossed] = field(default_factory=dict)
    """The analyses of seeds and text for the differences in final loss, by mechanism, where the records allow it."""
    other_texts: tuple[Comparison, ...] = ()
    """The losses on further held-out texts, a family of their own; the metric is `on_text` of the part's name."""

    def of(self, metric: str) -> list[Comparison]:
        return [c for c in self.comparisons if c.metric == metric]

    @property
    def detectable(self) -> float | None:
        """The difference in final loss, nats, that is found with probability 0.8 at the strictest step of Holm's."""
        return self._detectable(len(self._tested))

    @property
    def detectable_alone(self) -> float | None:
        """The same difference for a single mechanism, without Holm's correction."""
        return self._detectable(1)

    @property
    def _tested(self) -> list[PairedDifference]:
        """Returns the main contrasts if the study has some, else all."""
        family = self.of(LOSS)
        main = [c for c in family if not c.exploratory] or family
        return [c.difference for c in main if c.difference.p_value_holm is not None]

    def _detectable(self, family: int) -> float | None:
        """Returns the detectable difference, from the standard errors' root mean square and the smallest df."""
        if not self._tested:
            return None
        error = math.sqrt(float(np.mean([(d.standard_error or 0.0) ** 2 for d in self._tested])))
        return detectable_difference(error, min(d.df or 0.0 for d in self._tested), ALPHA / family)


def find(study: Study) -> Findings:
    paired = {name: pairs(study, name) for name in study.challengers}
    scores = Scores(study)
    found = {name: scores.crossed(of.pairs) for name, of in paired.items()}
    losses = [
        with_text(c, found[c.attention])
        for c in measured(study, paired, LOSS, lambda a, b: both(a.final_loss, b.final_loss))
    ]
    tasks: list[Comparison] = []
    sound: list[Comparison] = []
    for task in study.tasks:
        tasks += measured(study, paired, task, partial(task_scores, task=task))
        if any(tuning.collapsed for tuning in study.finetunings(task)):
            sound += measured(study, paired, task, partial(task_scores, task=task, collapsed=False))
    if len(study.tasks) > 1:
        tasks += measured(study, paired, AVERAGE, partial(average_scores, tasks=study.tasks))
    curve = (ratios(study, paired, [target]) for target in curve_targets(study))
    late = [of for of in curve if not any(ratio.early for ratio in of)]
    return Findings(
        study,
        (*contrasts(study, losses), *family(tasks)),
        paired,
        ratios=tuple(corrected(ratios(study, paired, table_targets(study)))),
        ratio_curve=tuple(chain.from_iterable(late)),
        without_collapsed=tuple(family(sound)),
        examples=example_tests(study, paired),
        crossed={name: one for name, one in found.items() if one is not None},
        other_texts=tuple(family(_on_other_texts(study, paired, scores))),
    )


def task_scores(run: Run, other: Run, task: str, *, collapsed: bool = True) -> Values:
    """Returns the means over the fine-tuning seeds that both runs finished; `collapsed` includes collapsed ones."""
    matched = paired_finetunings(run, other, task, collapsed=collapsed)
    scores = [[tuning.score or 0.0 for tuning in pair] for pair in matched]
    return tuple(np.mean(scores, axis=0).tolist()) if scores else None  # type: ignore[return-value]


def average_scores(run: Run, other: Run, tasks: list[str]) -> Values:
    scores = [task_scores(run, other, task) for task in tasks]
    complete = [pair for pair in scores if pair is not None]
    return tuple(np.mean(complete, axis=0).tolist()) if len(complete) == len(tasks) else None  # type: ignore[return-value]


def both(ours: float | None, theirs: float | None) -> Values:
    return None if ours is None or theirs is None else (ours, theirs)


def measured(
    study: Study,
    paired: dict[str, Pairs],
    metric: str,
    measure: Callable[[Run, Run], Values],
    nothing_at: Callable[[Run], bool] = learned_nothing,
) -> list[Comparison]:
    """Returns the comparison of every mechanism in one metric, not yet corrected.

    The loss of a pair with a run for which `nothing_at` is true shows nothing about attention.
    """
    loss = metric.startswith(LOSS)
    margin = margin_of(study.plan) if loss else task_margin_of(study.plan)
    out = []
    for name, arm in paired.items():
        blind = "" if metric == LOSS else at_chance(study, metric, name)
        values_of = [(run.seed, values) for run, other in arm.pairs if (values := measure(run, other)) is not None]
        difference = paired_difference([ours - theirs for _, (ours, theirs) in values_of], margin=margin)
        nothing = loss and any(nothing_at(run) for pair in arm.pairs for run in pair)
        out.append(
            Comparison(
                name,
                metric,
                difference,
                seeds=tuple(seed for seed, _ in values_of),
                values=tuple(values for _, values in values_of),
                planned=len(study.seeds),
                note="; ".join(filter(None, [difference.note, LEARNED_NOTHING if nothing else "", blind])),
                informative=not (nothing or blind),
                exploratory=study.planned_baseline is not None,
            )
        )
    return out


def with_text(c: Comparison, found: Crossed | None) -> Comparison:
    """Returns the same difference with the standard error of both sources; the bootstrap includes only the seeds."""
    if found is None or c.difference.standard_error is None or len(found.per_seed) != c.difference.n:
        return c
    difference = replace(c.difference, standard_error=found.standard_error, df=found.df, bootstrap95=None)
    return replace(c, difference=difference)


def on_text(part: str) -> str:
    """Returns the name of the metric for the loss on a further held-out text."""
    return f"{LOSS} on {part}"


def _on_other_texts(study: Study, paired: dict[str, Pairs], scores: Scores) -> list[Comparison]:
    def losses(run: Run, other: Run, part: str) -> Values:
        return both(run.loss_on(part), other.loss_on(part))

    return [
        with_text(c, scores.crossed(paired[c.attention].pairs, part))
        for part in study.other_parts
        for c in measured(study, paired, on_text(part), partial(losses, part=part))
    ]


def contrasts(study: Study, losses: list[Comparison]) -> list[Comparison]:
    """Returns the same comparisons in the order of the study, with corrected p-values.

    The main contrasts, which the plan may name, are one family, and the exploratory ones another.
    """
    named = study.plan.get("main")
    main = named if isinstance(named, list) else study.challengers
    main = [] if study.planned_baseline else main
    marked = [replace(c, exploratory=c.attention not in main) for c in losses]
    families = [[c for c in marked if c.exploratory == other] for other in (False, True)]
    return sorted(chain.from_iterable(map(family, families)), key=lambda c: study.challengers.index(c.attention))


def family(comparisons: list[Comparison]) -> list[Comparison]:
    """Returns the same comparisons; the p-values of those that can be tested are corrected together."""
    corrected = iter(with_holm([c.difference for c in comparisons if c.informative]))
    return [replace(c, difference=next(corrected)) if c.informative else c for c in comparisons]
