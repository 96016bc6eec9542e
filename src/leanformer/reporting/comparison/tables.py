"""The tables of a report. A mean is given with its sample standard deviation over seeds, or a note that it has none."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from leanformer.reporting.analysis.comparison import AVERAGE, LOSS, Comparison, Findings
from leanformer.reporting.numbers.quantities import (
    NONE,
    decimals,
    fixed,
    flops,
    listed,
    p_value,
    percent,
    scaled,
    seconds,
    signed,
    unit,
)
from leanformer.reporting.numbers.statistics import BOOTSTRAP_FROM, POWER, Interval, Spread
from leanformer.reporting.records.study import Study
from leanformer.reporting.render.document import Table

DAGGER = " \N{DAGGER}"


def costs(study: Study) -> Table:
    """Returns the table of costs; MFU and energy have columns if any run has measured them."""
    peak, energy = (
        any(study.spread(name, quantity).n for name in study.attention)
        for quantity in ("mfu", "joules_per_million_tokens")
    )
    rows = []
    for name in study.attention:
        parameters, work = study.spread(name, "parameters").mean, study.spread(name, "flops_per_token").mean
        rows.append(
            [
                name,
                NONE if parameters is None else f"{parameters:,.0f}",
                NONE if work is None else flops(work),
                _scaled(study.spread(name, "tokens_per_second")),
                _time(study.spread(name, "seconds")),
                *[_percent(study.spread(name, "mfu"))] * peak,
                *[_scaled(study.spread(name, "joules_per_million_tokens"))] * energy,
            ]
        )
    header = ["Attention", "Parameters", "FLOPs / token", "Tokens / s", "Time a run"]
    header += ["MFU"] * peak + ["J / M tokens"] * energy
    caption = (
        "Parameters and training FLOPs (forward and backward) are exact counts; "
        "speed and time are measured (mean ± sd over seeds)."
    )
    if peak:
        caption += (
            " MFU: training FLOPs per second over those of a large square matrix product, which each run measured "
            "when it was done."
        )
    if energy:
        caption += _energy(study)
    return Table(header, rows, "lrrrr" + "r" * (peak + energy), caption)


def evidence(findings: Findings) -> Table:
    """Returns for every difference what these seeds could have detected, and its bootstrap interval."""
    tested = [c for c in findings.comparisons if c.difference.mean is not None and c.informative]
    bootstrapped = any(c.difference.bootstrap95 for c in tested)
    rows = []
    for c in tested:
        d, (name, shown, small) = c.difference, UNITS.get(c.metric, (f"{c.metric} (points)", signed_points, _points))
        sizes = [NONE if v is None else small(v) for v in (d.sd or None, d.detectable, d.detectable_holm)]
        row = [name, c.attention, str(d.n), shown(d.mean or 0.0, d.ci95), *sizes]
        rows.append(row + ([NONE if d.bootstrap95 is None else shown(d.mean or 0.0, d.bootstrap95)] * bootstrapped))
    header = ["Metric", "Attention", "Pairs", "Difference [95 % CI]", "sd of pairs", "Missed below", "with Holm"]
    caption = (
        f"Missed below: the paired t-test at 0.05 overlooks a smaller true difference at least {percent(1 - POWER, 0)} "
        "of the time, if the sd seen here is the true one; with Holm: as the first and strictest test of its family. "
    )
    caption += (
        "Bootstrap: BCa interval of the mean over seeds, which assumes no normal distribution."
        if bootstrapped
        else f"A bootstrap interval over seeds is given from {BOOTSTRAP_FROM} pairs on: fewer have too few distinct "
        "resamples, three pairs 10."
    )
    return Table(header + ["Bootstrap [95 % CI]"] * bootstrapped, rows, "llrrrrr" + "r" * bootstrapped, caption)


def sweep(study: Study) -> Table:
    values = sorted({r.learning_rate for rates in study.sweep.values() for r in rates if r.learning_rate is not None})
    rows = []
    for name, rates in study.sweep.items():
        cells = {r.learning_rate: r for r in rates}
        row = [name]
        for value in values:
            rate = cells.get(value)
            if rate is None:
                row.append("not run")
                continue
            missing = len(rate.tried) - rate.loss.n
            cell = mean_sd(rate.loss, fixed) + (f" ({missing} of {len(rate.tried)} without result)" if missing else "")
            row.append(f"{cell} best" if rate.chosen and rate.losses else cell)
        rows.append(row)
    seeds = "tuning seeds, which are in no other table" if study.tuned else "seeds"
    caption = f"Final validation loss in nats, mean ± sd over {seeds}, at every learning rate tried."
    return Table(["Attention", *(f"{value:g}" for value in values)], rows, "l" + "r" * len(values), caption)


def runs(study: Study) -> Table:
    rows = []
    for run in study.runs:
        said = (run.status if not run.problem else f"{run.status}: {run.problem}") + ", tuning" * run.tuning
        rows.append(
            [
                run.attention,
                str(run.seed),
                NONE if run.learning_rate is None else f"{run.learning_rate:g}",
                NONE if run.final_loss is None else fixed(run.final_loss, 4),
                NONE if run.tokens is None else scaled(run.tokens),
                NONE if run.seconds is None else seconds(run.seconds),
                said,
                run.path,
            ]
        )
    header = ["Attention", "Seed", "Learning rate", "Final loss (nats)", "Tokens", "Time", "Status", "Directory"]
    return Table(header, rows, "lrrrrrwl")


def settings(values: dict[str, Any], what: str) -> Table:
    return Table([what, "Value"], [[key, str(value)] for key, value in values.items()], "lw")


def mean_sd(of: Spread, shown: Callable[[float, int], str], letter: str = "") -> str:
    if of.mean is None:
        return NONE
    if of.sd is None:
        return f"{shown(of.mean, 3)}{letter} (n = 1)"
    places = decimals(of.sd)
    return f"{shown(of.mean, places)} ± {shown(of.sd, places)}{letter}"


def _scaled(of: Spread) -> str:
    if of.mean is None:
        return NONE
    divisor, letter, _ = unit(of.mean)
    return mean_sd(of, lambda v, _: fixed(v / divisor, 1), f" {letter}".rstrip())


def _percent(of: Spread) -> str:
    return mean_sd(of, lambda v, _: fixed(100 * v, 1), " %")


def _energy(study: Study) -> str:
    """Returns a sentence about the source of the energy in the table."""
    measured_runs = [run for name in study.attention for run in study.at(name) if run.energy_joules is not None]
    jobs = study.plan.get("jobs")
    sources = listed(sorted({run.energy_source for run in measured_runs}))
    shared = f"; {jobs} runs at a time shared them, and each counts all" if isinstance(jobs, int) and jobs > 1 else ""
    return (
        f" J / M tokens: joules a million tokens as {sources} counted them, "
        f"those of validation and of other programs on the same chips included{shared}."
    )


def _time(of: Spread) -> str:
    if of.mean is None:
        return NONE
    divisor, letter = (1, "s") if of.mean < 120 else (60, "min") if of.mean < 7200 else (3600, "h")
    return mean_sd(of, lambda v, _: fixed(v / divisor, 1), f" {letter}")


def fixed_nats(mean: float, ci: Interval | None) -> str:
    places = decimals((ci[1] - ci[0]) / 2 if ci else None)
    return _with_interval(mean, ci, lambda v: signed(v, places))


def signed_points(mean: float, ci: Interval | None) -> str:
    return _with_interval(100 * mean, ci and (100 * ci[0], 100 * ci[1]), lambda v: signed(v, 1))


def _nats(value: float) -> str:
    return fixed(value, decimals(value))


def _points(value: float) -> str:
    return fixed(100 * value, 1)


UNITS = {
    LOSS: ("final loss (nats)", fixed_nats, _nats),
    AVERAGE: ("all tasks, average (points)", signed_points, _points),
}
"""The name of a metric, and the formats of a difference and of a size; tasks are in points."""


def _with_interval(mean: float, ci: Interval | None, shown: Callable[[float], str]) -> str:
    return f"{shown(mean)} [{shown(ci[0])}, {shown(ci[1])}]" if ci else f"{shown(mean)} (no interval)"


def judged(c: Comparison, shown: Callable[[float, Interval | None], str]) -> list[str]:
    """Returns the cells of a difference: its size, its Holm p, the Holm p of equivalence, and the verdict."""
    d = c.difference
    amount = NONE if d.mean is None else shown(d.mean, d.ci95)
    return [amount, bare_p(d.p_value_holm), bare_p(d.p_equivalence_holm), c.shown_verdict]


def bare_p(p: float | None) -> str:
    return NONE if p is None else p_value(p).removeprefix("= ")


def without(table: Table, columns: tuple[int, ...]) -> Table:
    keep = [i for i in range(len(table.header)) if i not in columns]
    rows = [[row[i] for i in keep] for row in table.rows]
    return replace(
        table, header=[table.header[i] for i in keep], rows=rows, align="".join(table.align[i] for i in keep)
    )
