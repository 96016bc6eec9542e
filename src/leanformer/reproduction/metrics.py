"""What is measured beside a published number: a mechanism's value, the baseline's, and the difference with its verdict.

    parameters        exact count of the table's model (`part` of it; without one, all)       closed form, no study
    final_loss        validation loss at the end of the budget, nats                          of a comparison
    perplexity        its exponential                                                         of a comparison
    steps_to_target   steps to 95 % (`fraction`) of what the baseline learns from context     of a comparison
    score             of a task (`task`), or task_average, x 100                              of a comparison
    robustness        score x 100 on noisy or foreign texts (`axis`), mean over its levels    of a study of robustness
    speed             seconds of a training step, beside the baseline's of the same round     of a race

Verdicts are those of the study's own report: over seeds, Holm-corrected over its mechanisms. A race has no seeds: its
verdict asks that every round says the same. Where a run never arrives at a target, the pairs' exact sign test decides.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from scipy.stats import binomtest

from leanformer.comparison.variants import parse_variants
from leanformer.models import LeanformerConfig
from leanformer.models.cost import ledger
from leanformer.reporting.analysis.comparison import LOSS, Findings, find
from leanformer.reporting.analysis.ratios import corrected, ratios
from leanformer.reporting.numbers.statistics import ALPHA, Interval, Spread, spread
from leanformer.reporting.numbers.target import FRACTION
from leanformer.reporting.records.study import Study
from leanformer.reproduction.published import Row, Table, effect
from leanformer.robustness.findings import Findings as RobustnessFindings

PERCENT = 100.0


@dataclass(frozen=True)
class Measured:
    """`effect` in the table's kind; `verdict` is better, worse, equivalent, undecided, or None for what this scale
    cannot tell, and then `note` says why."""

    own: Spread = Spread(0)
    baseline: Spread = Spread(0)
    effect: float | None = None
    ci95: Interval | None = None
    seeds: tuple[int, ...] = ()
    verdict: str | None = None
    note: str = ""


@dataclass(frozen=True)
class Measurements:
    """What the studies left, by name; a study that was not made says why in `missing`."""

    comparisons: dict[str, Study] = field(default_factory=dict)
    robustness: dict[str, RobustnessFindings] = field(default_factory=dict)
    races: dict[str, dict[str, Any]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    _found: dict[tuple[str, str], Findings] = field(default_factory=dict)

    def findings(self, name: str, baseline: str) -> Findings:
        if (name, baseline) not in self._found:
            self._found[name, baseline] = find(replace(self.comparisons[name], baseline=baseline))
        return self._found[name, baseline]


class NotMeasured(Exception):
    """Raised where nothing was measured that stands beside the number; the text says why."""


def measure(table: Table, row: Row, mechanism: str, measurements: Measurements) -> Measured:
    try:
        return METRICS[table.measure](table, row, mechanism, measurements)
    except NotMeasured as why:
        return Measured(note=str(why))


def _parameters(table: Table, row: Row, mechanism: str, measurements: Measurements) -> Measured:
    def count(attention: str) -> int:
        (variant,) = parse_variants(attention)
        config = LeanformerConfig(attention=variant.mechanism, attention_options=variant.options, **table.model)
        return ledger(config, 128, head=table.head)["parameters"][row.key.get("part", "total")]

    own, baseline = count(mechanism), count(row.baseline)
    said = "better" if own < baseline else "worse" if own > baseline else "undecided"
    return Measured(Spread(1, own), Spread(1, baseline), effect(table.effect, own, baseline), verdict=said)


def _loss(table: Table, row: Row, mechanism: str, measurements: Measurements) -> Measured:
    findings = _comparison(table, row, mechanism, measurements)
    losses = [[run.final_loss or math.nan for run in findings.study.at(name)] for name in (mechanism, row.baseline)]
    if table.measure == "final_loss":
        return _compared(findings, LOSS, mechanism, spread(losses[0]), spread(losses[1]))
    own, baseline = (spread([math.exp(loss) for loss in of]) for of in losses)
    found = _compared(findings, LOSS, mechanism, own, baseline)
    ratio = None if found.effect is None else math.exp(found.effect)
    return replace(found, effect=ratio, ci95=found.ci95 and (math.exp(found.ci95[0]), math.exp(found.ci95[1])))


def _steps(table: Table, row: Row, mechanism: str, measurements: Measurements) -> Measured:
    findings = _comparison(table, row, mechanism, measurements)
    target = findings.study.target(row.key.get("fraction", FRACTION))
    if target is None or findings.study.without_context(row.baseline):
        raise NotMeasured(f"{row.baseline} learned nothing from context, so there is no target")
    steps = [r for r in ratios(findings.study, findings.pairs, [target]) if r.resource == "steps"]
    found = next((r for r in corrected(steps) if r.attention == mechanism), None)
    if found is None:
        raise NotMeasured("no pair of finished runs")
    own, baseline = (spread([pair[side][0] for pair in found.costs if len({*pair[side]}) == 1]) for side in (0, 1))
    if found.ratio is None:
        names, of = (mechanism, row.baseline), len(found.seeds)
        arrived = ", ".join(f"{n} of {of} runs of {name}" for n, name in zip(found.arrived, names, strict=True))
        least, most = found.bounds
        bound = f"ratio above {least:.2f}" if least > 0 else f"ratio below {most:.2f}" if most < math.inf else ""
        note = ", ".join(filter(None, [f"censored: {arrived} arrive", bound]))
        return Measured(own, baseline, seeds=found.seeds, verdict=_signs(found.costs), note=note)
    said = None if found.log.p_value is None else found.log.verdict(higher_is_better=False)
    return Measured(own, baseline, found.ratio, found.ci95, found.seeds, said, found.log.note)


def _signs(costs: Sequence[tuple[Interval, Interval]]) -> str | None:
    """The exact sign test of the pairs, each with costs between two numbers; None for one pair, or an unknown order."""
    less = [ours[1] < theirs[0] for ours, theirs in costs]
    if not all(below or ours[0] > theirs[1] for below, (ours, theirs) in zip(less, costs, strict=True)):
        return None
    if len(less) < 2:
        return None
    if binomtest(sum(less), len(less)).pvalue >= ALPHA:
        return "undecided"
    return "better" if 2 * sum(less) > len(less) else "worse"


def _score(table: Table, row: Row, mechanism: str, measurements: Measurements) -> Measured:
    findings, tasks = _comparison(table, row, mechanism, measurements), row.key["task"]
    task = next((task for task in ([tasks] if isinstance(tasks, str) else tasks) if findings.of(task)), None)
    values = next((c.values for c in findings.of(task or "") if c.attention == mechanism), ())
    if task is None or not values:
        raise NotMeasured("no score at this scale")
    own, baseline = (spread([PERCENT * pair[side] for pair in values]) for side in (0, 1))
    found = _compared(findings, task, mechanism, own, baseline, PERCENT)
    for name in (mechanism, row.baseline):
        if findings.study.without_context(name):
            return replace(found, verdict=None, note=f"{name} learned nothing from context in pre-training")
    return found


def _robustness(table: Table, row: Row, mechanism: str, measurements: Measurements) -> Measured:
    found = _made(table, measurements.robustness, measurements)
    _require(mechanism, row, found.study.attention)
    task, axis = found.plan.tasks[0], row.key["axis"]
    e = next((e for e in found.of(task, axis, None, "score") if e.attention == mechanism), None)
    if e is None or e.difference.mean is None:
        raise NotMeasured(f"{axis} was not measured")
    points, ci, tested = found.axes(task)[axis], e.difference.ci95, e.difference.p_value is not None
    note = e.difference.note if e.informative else "no better on clean text than one and the same answer"
    own, baseline = (_hundredfold(found.spread(task, name, points)) for name in (mechanism, row.baseline))
    return Measured(
        own,
        baseline,
        PERCENT * e.difference.mean,
        ci and (PERCENT * ci[0], PERCENT * ci[1]),
        e.seeds,
        e.verdict if e.informative and tested else None,
        note,
    )


def _speed(table: Table, row: Row, mechanism: str, measurements: Measurements) -> Measured:
    raced = {found["attention"]: found for found in _made(table, measurements.races, measurements)["rows"]}
    _require(mechanism, row, raced)
    own, baseline = (Spread(1, raced[name]["training"]["seconds"]["median"]) for name in (mechanism, row.baseline))
    speed = raced[mechanism]["training"]["speed"]
    median, low, high = (effect(table.effect, 1 / speed[key], 1.0) for key in ("median", "high", "low"))
    said = "better" if speed["low"] > 1 else "worse" if speed["high"] < 1 else "undecided"
    where = "size {size}, length {length}; in brackets the least and the greatest round".format(**raced[mechanism])
    return Measured(own, baseline, median, (low, high), (), said, where)


METRICS: dict[str, Callable[[Table, Row, str, Measurements], Measured]] = {
    "parameters": _parameters,
    "final_loss": _loss,
    "perplexity": _loss,
    "steps_to_target": _steps,
    "score": _score,
    "robustness": _robustness,
    "speed": _speed,
}


def _comparison(table: Table, row: Row, mechanism: str, measurements: Measurements) -> Findings:
    _require(mechanism, row, _made(table, measurements.comparisons, measurements).attention)
    return measurements.findings(str(table.study), row.baseline)


def _made(table: Table, studies: dict[str, Any], measurements: Measurements) -> Any:
    if table.study not in studies:
        raise NotMeasured(measurements.missing.get(str(table.study), "no such study at this scale"))
    return studies[table.study]


def _require(mechanism: str, row: Row, measured: Sequence[str] | dict[str, Any]) -> None:
    for name in (mechanism, row.baseline):
        if name not in measured:
            raise NotMeasured(f"{name} is not in the study at this scale")


def _compared(
    findings: Findings, metric: str, mechanism: str, own: Spread, baseline: Spread, scale: float = 1.0
) -> Measured:
    c = next(c for c in findings.of(metric) if c.attention == mechanism)
    d = c.difference
    if d.mean is None or d.p_value is None:
        return Measured(own, baseline, seeds=c.seeds, note=c.note or "too few pairs of runs")
    ci = d.ci95 and (scale * d.ci95[0], scale * d.ci95[1])
    if not c.informative:
        return Measured(own, baseline, scale * d.mean, ci, c.seeds, None, c.note)
    return Measured(own, baseline, scale * d.mean, ci, c.seeds, c.verdict, c.note)


def _hundredfold(of: Spread) -> Spread:
    mean, sd = (None if value is None else PERCENT * value for value in (of.mean, of.sd))
    return Spread(of.n, mean, sd)
