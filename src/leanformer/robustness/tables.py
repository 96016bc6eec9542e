"""The tables of a study of robustness, in points: score x 100, mean and sample standard deviation over seeds."""

from leanformer.reporting.comparison.tables import bare_p, signed_points
from leanformer.reporting.numbers.quantities import NONE, fixed
from leanformer.reporting.numbers.statistics import Spread
from leanformer.reporting.render.document import Table
from leanformer.robustness.findings import CLEAN, MEASURES, Effect, Findings
from leanformer.robustness.plan import SIZES, Point

BESIDE = ["Score vs baseline [95 % CI]", "Drop vs baseline [95 % CI]"]
JUDGED = ["Holm p", "Verdict"]
"""Of the difference before them."""


def means(findings: Findings, task: str) -> Table:
    """An axis and a mechanism a row: score and drop, averaged over the axis, each beside the baseline's."""
    names = findings.study.attention
    rows = [[CLEAN, n, _points(findings.spread(task, n, [])), NONE, *_clean(findings, task, n)] for n in names]
    for axis, points in findings.axes(task).items():
        for name in names:
            score, drop = findings.spread(task, name, points), findings.spread(task, name, points, "drop")
            rows.append([axis, name, _points(score), _points(drop), *_judged(findings, task, axis, name)])
    caption = (
        "Points (score x 100), averaged over the axis, mean ± sd over pre-training seeds. A negative difference in "
        "drop is better. Each p and verdict belongs to the difference on its left, corrected over the mechanisms and "
        "axes of the task."
    )
    return Table(
        ["Test", "Attention", "Score", "Drop", BESIDE[0], *JUDGED, BESIDE[1], *JUDGED], rows, "llrrrrlrrl", caption
    )


def levels(findings: Findings, task: str) -> Table:
    names = findings.study.attention
    rows = [[CLEAN, "", *(_points(findings.spread(task, name, [])) for name in names)]]
    for axis, points in findings.axes(task).items():
        for point in points:
            rows.append([axis, _at(point), *(_points(findings.spread(task, name, [point])) for name in names)])
    caption = "Score x 100, mean ± sd over pre-training seeds."
    return Table(["Test", "At", *names], rows, "lr" + "r" * len(names), caption)


def differences(findings: Findings, task: str) -> Table:
    rows = []
    for axis, points in findings.axes(task).items():
        for point in points:
            scores, drops = (findings.of(task, axis, point.at, measure) for measure in MEASURES)
            for score, drop in zip(scores, drops, strict=True):
                rows.append([axis, _at(point), score.attention, *_cells(score), *_cells(drop)])
    header = ["Test", "At", "Attention", BESIDE[0], *JUDGED, BESIDE[1], *JUDGED]
    caption = (
        "Points, mechanism minus baseline. Each p and verdict is of the difference to its left; Holm's correction is "
        "over the mechanisms and points of an axis."
    )
    return Table(header, rows, "lrlrrlrrl", caption)


def _judged(findings: Findings, task: str, axis: str, name: str) -> list[str]:
    if name == findings.study.baseline:
        return ["baseline", *[""] * 5]
    effects = [e for measure in MEASURES for e in findings.of(task, axis, None, measure) if e.attention == name]
    return [cell for effect in effects for cell in _cells(effect)] or [""] * 6


def _clean(findings: Findings, task: str, name: str) -> list[str]:
    effects = [e for e in findings.of(task, CLEAN, None, "score") if e.attention == name]
    if not effects:
        return ["baseline" if name == findings.study.baseline else "", *[""] * 5]
    return [*_cells(effects[0]), NONE, "", ""]


def _cells(effect: Effect) -> list[str]:
    """Returns the difference with its interval, its corrected p, and the verdict."""
    d = effect.difference
    return [NONE if d.mean is None else signed_points(d.mean, d.ci95), bare_p(d.p_value_holm), effect.verdict]


def _points(of: Spread) -> str:
    if of.mean is None:
        return NONE
    return fixed(100 * of.mean, 1) + (f" ± {100 * of.sd:.1f}" if of.sd is not None else " (n = 1)")


def _at(point: Point) -> str:
    return point.at if isinstance(point.at, str) else f"{point.at:,.0f}" if point.axis == SIZES else f"{point.at:g}"
