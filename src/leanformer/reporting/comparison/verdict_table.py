"""The table of verdicts, which a reader sees first: every arm against the baseline in final loss, the best first."""

import math
from collections.abc import Callable

from leanformer.reporting.analysis.comparison import LOSS, Comparison, Findings
from leanformer.reporting.comparison.tables import bare_p, fixed_nats
from leanformer.reporting.figures.pareto import parameters, training_flops
from leanformer.reporting.numbers.margins import margin_of
from leanformer.reporting.numbers.quantities import NONE, signed
from leanformer.reporting.records.study import Study
from leanformer.reporting.render.document import Interval, IntervalPlot, Table

Cost = Callable[[Study, str], float | None]

HEADER = ["Attention", "Difference [95 % CI]", "Parameters", "FLOPs of a run", "Holm p", "p of equivalence", "Verdict"]


def verdicts(findings: Findings) -> Table:
    """Returns the table in the order of the results; the baseline stands at its difference, which is zero."""
    study = findings.study
    family: list[Comparison | None] = [None, *findings.of(LOSS)]
    order = sorted(family, key=_result)
    caption = (
        f"Final loss {study.wording.validation} in nats, mechanism minus {study.baseline}, paired by seed; negative is "
        "better. Point and line: the mean and its 95 % interval, which is not corrected for the number of mechanisms; "
        "shaded: the margin. Parameters, and training FLOPs of a whole run: more or fewer than the baseline's. Holm p: "
        f"of no difference, and of one of {margin_of(study.plan):g} nats or more; the verdict rests on them at 0.05."
    )
    plot = IntervalPlot([_interval(c, study) for c in order], margin_of(study.plan))
    return Table(HEADER, [_row(c, study) for c in order], "lrrrrrl", caption, plot)


def _result(c: Comparison | None) -> float:
    """The place in the order: what says nothing about attention, or has no number, comes last."""
    if c is None:
        return 0.0
    return c.difference.mean if c.informative and c.difference.mean is not None else math.inf


def _row(c: Comparison | None, study: Study) -> list[str]:
    if c is None:
        return [study.baseline or "", "0", NONE, NONE, "", "", "baseline"]
    d = c.difference
    amount = NONE if d.mean is None else fixed_nats(d.mean, d.ci95)
    costs = [_relative(study, c.attention, cost) for cost in (parameters, training_flops)]
    return [c.attention, amount, *costs, bare_p(d.p_value_holm), bare_p(d.p_equivalence_holm), c.shown_verdict]


def _relative(study: Study, name: str, cost: Cost) -> str:
    ours, theirs = cost(study, name), cost(study, study.baseline or "")
    return NONE if ours is None or not theirs else f"{signed(100 * (ours / theirs - 1), 1)} %"


def _interval(c: Comparison | None, study: Study) -> Interval | None:
    if c is None:
        return Interval(0.0, None, "baseline", f"{study.baseline}: the baseline, at zero")
    d = c.difference
    if not c.informative or d.mean is None:
        return None
    return Interval(d.mean, d.ci95, c.verdict, f"{c.attention}: {fixed_nats(d.mean, d.ci95)} nats, {c.shown_verdict}")
