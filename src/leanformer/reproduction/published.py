"""A paper's own figures: tables whose rows are compared one by one, and curves.

    [[tables]]        title, unit, source; `better` is lower or higher; `measure` and `study` say what stands beside it
                      (`metrics.py`); `effect`: the difference to the baseline, the ratio, or the change in percent
    [[tables.rows]]   `values` of the baseline and of mechanisms, [mean] or [mean, sd]; or `effects` alone, a number or
                      "better", where no more is published; other keys choose what is measured

A published difference is taken as none if Welch's 95 % interval, by the published sds and number of runs, holds zero.
"""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from scipy import stats

from leanformer.spelling import suggest

FOLDER = Path(__file__).parent / "papers"
PAPERS = tuple(sorted(folder.name for folder in FOLDER.iterdir() if folder.is_dir()))

Direction = Literal["better", "worse", "none"]
Effect = Literal["difference", "ratio", "percent"]


@dataclass(frozen=True)
class Value:
    mean: float
    sd: float | None = None


@dataclass(frozen=True)
class Row:
    """`baseline` and the mechanisms' published numbers; `key` chooses what is measured."""

    name: str
    baseline: str
    values: dict[str, Value]
    effects: dict[str, float | str]
    key: dict[str, Any]

    @property
    def mechanisms(self) -> list[str]:
        return [*self.effects, *(name for name in self.values if name != self.baseline)]


@dataclass(frozen=True)
class Table:
    title: str
    measure: str
    unit: str
    better: Literal["lower", "higher"]
    source: str
    study: str | None = None
    effect: Effect = "difference"
    runs: int | None = None
    """Behind every published sd."""
    note: str = ""
    head: str = "masked_lm"
    model: dict[str, Any] = field(default_factory=dict)
    """Settings of [model] of what is counted, for the measure `parameters`."""
    rows: tuple[Row, ...] = ()

    def published(self, row: Row, mechanism: str) -> float | None:
        """The published effect, None where only its direction is."""
        if mechanism in row.effects:
            told = row.effects[mechanism]
            return None if isinstance(told, str) else float(told)
        return effect(self.effect, row.values[mechanism].mean, row.values[row.baseline].mean)

    def direction(self, row: Row, mechanism: str) -> Direction:
        if row.effects.get(mechanism) in ("better", "worse"):
            return row.effects[mechanism]  # type: ignore[return-value]
        found = self.published(row, mechanism)
        assert found is not None
        none = 1.0 if self.effect == "ratio" else 0.0
        if found == none or self.within_noise(row, mechanism):
            return "none"
        return "better" if (found < none) == (self.better == "lower") else "worse"

    def within_noise(self, row: Row, mechanism: str) -> bool:
        """Whether Welch's test over the paper's own runs finds no difference."""
        both = [row.values.get(name) for name in (mechanism, row.baseline)]
        if self.runs is None or any(value is None or value.sd is None for value in both):
            return False
        (a, s), (b, t) = ((value.mean, value.sd) for value in both if value and value.sd is not None)
        return bool(stats.ttest_ind_from_stats(a, s, self.runs, b, t, self.runs, equal_var=False).pvalue >= 0.05)


@dataclass(frozen=True)
class Curves:
    """The losses of each mechanism at these steps of the paper."""

    title: str
    study: str
    steps: list[float]
    losses: dict[str, list[float]]


@dataclass(frozen=True)
class Paper:
    name: str
    title: str
    reference: str
    claim: str
    notes: list[str]
    tables: list[Table]
    curves: list[Curves]


def effect(kind: Effect, own: float, baseline: float) -> float:
    if kind == "ratio":
        return own / baseline
    return 100 * (own / baseline - 1) if kind == "percent" else own - baseline


def read_paper(name: str) -> Paper:
    if name not in PAPERS:
        raise ValueError(f"{name!r} is no paper that leanformer can rebuild: {suggest(name, PAPERS)}")
    return parse(name, tomllib.loads((FOLDER / name / "published.toml").read_text(encoding="utf-8")))


def parse(name: str, told: dict[str, Any]) -> Paper:
    tables = [Table(**{**table, "rows": tuple(map(_row, table["rows"]))}) for table in told["tables"]]
    curves = [
        Curves(
            curve.pop("title"),
            curve.pop("study"),
            curve.pop("steps"),
            {attention: losses for attention, losses in curve.items()},
        )
        for curve in map(dict, told.get("curves", ()))
    ]
    return Paper(name, told["title"], told["reference"], told["claim"], told["notes"], tables, curves)


def _row(told: dict[str, Any]) -> Row:
    key = dict(told)
    name, baseline = key.pop("name"), key.pop("baseline", "dot_product")
    values = {attention: Value(*numbers) for attention, numbers in key.pop("values", {}).items()}
    return Row(name, baseline, values, key.pop("effects", {}), key)
