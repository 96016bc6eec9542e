"""A verdict on one published difference, from its direction and from what is measured here.

    published \\ measured    better               equivalent               worse                undecided
    better                  reproduced           contradicted or          contradicted         undecided
                                                 undecided, by size
    none                    contradicted         reproduced               contradicted         undecided
    worse                   contradicted         contradicted or          reproduced           undecided
                                                 undecided, by size

What is measured nowhere, or by models that learned nothing from context, on a task where neither model is above chance,
or in pairs whose order is not known, is not testable here; nor is a published difference within the paper's own noise,
since that paper shows neither a difference nor its absence. A reproduced difference has the published sign; `size` says
whether the published size lies in the interval. Equivalence contradicts a published difference whose size the interval
excludes. Counts are exact: reproduced if they agree with the published digits.
"""

import math
from typing import Literal

from leanformer.reporting.numbers.statistics import DECIDED
from leanformer.reproduction.metrics import Measured
from leanformer.reproduction.published import Row, Table

Verdict = Literal["reproduced", "contradicted", "undecided", "not testable here"]
VERDICTS: tuple[Verdict, ...] = ("reproduced", "contradicted", "undecided", "not testable here")


def verdict(table: Table, row: Row, mechanism: str, measured: Measured) -> Verdict:
    if table.measure == "parameters":
        return "reproduced" if _agrees(table, row, mechanism, measured) else "contradicted"
    if measured.verdict is None or table.within_noise(row, mechanism):
        return "not testable here"
    if measured.verdict in DECIDED:
        return "reproduced" if measured.verdict == table.direction(row, mechanism) else "contradicted"
    if measured.verdict == "equivalent":
        return _equivalent(table, row, mechanism, measured)
    return "undecided"


def _equivalent(table: Table, row: Row, mechanism: str, measured: Measured) -> Verdict:
    if table.direction(row, mechanism) == "none":
        return "reproduced"
    published, ci = table.published(row, mechanism), measured.ci95
    inside = published is None or ci is None or ci[0] <= published <= ci[1]
    return "undecided" if inside else "contradicted"


def size(table: Table, row: Row, mechanism: str, measured: Measured) -> str:
    """Returns a note on a difference with the published sign: the published size against the interval measured here."""
    published = table.published(row, mechanism)
    if published is None or measured.ci95 is None or verdict(table, row, mechanism, measured) != "reproduced":
        return ""
    low, high = measured.ci95
    return "" if low <= published <= high else "in direction; the size differs"


def _agrees(table: Table, row: Row, mechanism: str, measured: Measured) -> bool:
    """Whether the numbers agree to the published decimals: rounded, or cut off where the paper does that."""
    published, digits = table.published(row, mechanism), int(row.key.get("digits", 0))
    assert published is not None and measured.effect is not None
    factor = 10.0**digits
    cut = math.trunc(measured.effect * factor) if row.key.get("truncated") else round(measured.effect * factor)
    return cut == round(published * factor)
