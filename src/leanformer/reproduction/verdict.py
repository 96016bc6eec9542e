"""A verdict on one published difference, from its direction and from what is measured here.

    published \\ measured    better               not distinguishable      worse
    better                  reproduced           not distinguishable      contradicted
    none                    contradicted         not distinguishable      contradicted
    worse                   contradicted         not distinguishable      reproduced

What is measured nowhere, or by models that learned nothing from context, or in pairs whose order is not known, is not
testable at this scale. A reproduced difference has the published sign; `size` says whether the published size lies in
the interval. Counts are exact: reproduced if they agree with the published digits.
"""

import math
from typing import Literal

from leanformer.report.statistics import DECIDED
from leanformer.reproduction.instruments import Measured
from leanformer.reproduction.published import Row, Table

Verdict = Literal["reproduced", "contradicted", "not distinguishable", "not testable at this scale"]
VERDICTS: tuple[Verdict, ...] = ("reproduced", "contradicted", "not distinguishable", "not testable at this scale")


def verdict(table: Table, row: Row, mechanism: str, measured: Measured) -> Verdict:
    if measured.verdict is None:
        return "not testable at this scale"
    if table.measure == "parameters":
        return "reproduced" if _agrees(table, row, mechanism, measured) else "contradicted"
    if measured.verdict not in DECIDED:
        return "not distinguishable"
    return "reproduced" if measured.verdict == table.direction(row, mechanism) else "contradicted"


def size(table: Table, row: Row, mechanism: str, measured: Measured) -> str:
    """Of a difference with the published sign: the published size against the interval measured here."""
    published = table.published(row, mechanism)
    if published is None or measured.ci95 is None or verdict(table, row, mechanism, measured) != "reproduced":
        return ""
    low, high = measured.ci95
    return "" if low <= published <= high else "in direction; the size differs"


def _agrees(table: Table, row: Row, mechanism: str, measured: Measured) -> bool:
    """To the published decimals: rounded, or cut off where the paper does that."""
    published, digits = table.published(row, mechanism), int(row.key.get("digits", 0))
    assert published is not None and measured.effect is not None
    factor = 10.0**digits
    cut = math.trunc(measured.effect * factor) if row.key.get("truncated") else round(measured.effect * factor)
    return cut == round(published * factor)
