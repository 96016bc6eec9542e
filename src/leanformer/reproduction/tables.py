"""The paper's tables: published, measured here, and the verdict, a row each mechanism and number."""

from collections.abc import Callable
from dataclasses import dataclass

from leanformer.reporting.numbers.quantities import NONE, fixed, several, signed
from leanformer.reporting.numbers.statistics import Interval, Spread
from leanformer.reporting.render import document
from leanformer.reproduction.metrics import Measured, Measurements, measure
from leanformer.reproduction.published import Effect, Paper, Row, Table
from leanformer.reproduction.verdict import Verdict, size, verdict

DECIMALS = {"parameters": 0, "nats": 3, "perplexity": 1, "steps": 0, "s": 4}
"""By unit; scores have one."""


@dataclass(frozen=True)
class Judged:
    table: Table
    row: Row
    mechanism: str
    measured: Measured
    verdict: Verdict

    @property
    def note(self) -> str:
        return "; ".join(filter(None, [self.measured.note, size(self.table, self.row, self.mechanism, self.measured)]))


def judged(paper: Paper, measurements: Measurements) -> list[Judged]:
    found = []
    for table in paper.tables:
        for row in table.rows:
            for name in row.mechanisms:
                measured = measure(table, row, name, measurements)
                found.append(Judged(table, row, name, measured, verdict(table, row, name, measured)))
    return found


def table(of: Table, rows: list[Judged]) -> document.Table:
    notes = {r.note for r in rows}
    common = notes.pop() if len(notes) == 1 else ""
    body = []
    for r in rows:
        said = r.verdict + (f": {r.note}" if r.note and not common else "")
        against = "" if r.row.baseline == "dot_product" else f" against {r.row.baseline}"
        body.append([r.row.name, r.mechanism + against, published(r), measured(r), said])
    header = ["What", "Attention", f"Published, {of.unit}", "Measured here [95 % CI]", "Verdict"]
    caption = f"Published: {of.source}. {SAID[of.effect]} {of.better.capitalize()} is better. {of.note}".strip()
    caption += f" All rows: {common}." if common else ""
    return document.Table(header, body, "wwwww", caption)


SAID = {
    "difference": "The mechanism against the baseline: their difference.",
    "ratio": "The mechanism against the baseline: their ratio.",
    "percent": "The mechanism against the baseline: the change in percent.",
}


def published(r: Judged) -> str:
    number, of = r.table.published(r.row, r.mechanism), r.table
    if number is None:
        return str(r.row.effects[r.mechanism])
    places = int(r.row.key.get("digits", 1)) if of.effect == "percent" else _decimals(of)
    effect = change(of.effect, number, places)
    if r.mechanism in r.row.effects:
        return effect
    if number and of.direction(r.row, r.mechanism) == "none":
        effect += ", within its noise"
    shown = _shown(of)
    told = (r.row.values[name] for name in (r.mechanism, r.row.baseline))
    own, baseline = (_value(Spread(of.runs or 1, value.mean, value.sd), shown) for value in told)
    return f"{own} against {baseline}: {effect}"


def measured(r: Judged) -> str:
    m, shown = r.measured, _shown(r.table)
    if m.own.mean is None and m.baseline.mean is None:
        return NONE
    seeds = f" ({several(len(m.seeds), 'seed')})" if m.seeds else ""
    both = f"{_value(m.own, shown)} against {_value(m.baseline, shown)}"
    if m.effect is None:
        return both + seeds
    places = 2 if r.table.effect == "percent" else _decimals(r.table)
    return f"{both}: {change(r.table.effect, m.effect, places, m.ci95)}{seeds}"


def change(kind: Effect, value: float, decimals: int, ci: Interval | None = None) -> str:
    """ "+0.031 [+0.010, +0.052]", "x 0.50 [0.41, 0.62]", "−5.9 %"."""
    shown: Callable[[float], str]
    if kind == "ratio":
        shown, unit, times = (lambda v: fixed(v, 2)), "", "\N{MULTIPLICATION SIGN} "
    else:
        shown, unit, times = (lambda v: signed(v, decimals)), " %" if kind == "percent" else "", ""
    interval = f" [{shown(ci[0])}, {shown(ci[1])}]" if ci else ""
    return f"{times}{shown(value)}{unit}{interval}"


def _decimals(of: Table) -> int:
    return DECIMALS.get(of.unit, 1)


def _shown(of: Table) -> Callable[[float], str]:
    return lambda value: fixed(value, _decimals(of))


def _value(of: Spread, shown: Callable[[float], str]) -> str:
    if of.mean is None:
        return NONE
    return shown(of.mean) + (f" ± {shown(of.sd)}" if of.sd is not None else "")
