"""The blocks of a report without markup; `html` and `markdown` render the same blocks, hence the same facts."""

from collections.abc import Sequence
from dataclasses import dataclass

from leanformer.reporting.render.style import Picture


@dataclass(frozen=True)
class Paragraph:
    text: str


@dataclass(frozen=True)
class Points:
    items: Sequence[str]


@dataclass(frozen=True)
class Code:
    text: str


@dataclass(frozen=True)
class Interval:
    """A point with its interval, if it has one, in the colour of its verdict; `said` is what a screen reader says."""

    mean: float
    ends: tuple[float, float] | None
    verdict: str
    said: str


@dataclass(frozen=True)
class IntervalPlot:
    """A column of intervals on one axis, one per row of a table (None: the row shows the axis alone)."""

    intervals: Sequence[Interval | None]
    margin: float
    """Half the width of the band around zero."""


@dataclass(frozen=True)
class Table:
    """Rows of text with names in the first column; `align` has one letter per column: l, r, or w for wrapped text.

    HTML draws `plot` as a column after the first; other formats have its numbers in the cells alone.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    align: str
    caption: str = ""
    plot: IntervalPlot | None = None


@dataclass(frozen=True)
class Link:
    """A link to a file beside the report."""

    text: str
    target: str


Block = Paragraph | Points | Code | Table | Picture | Link


@dataclass(frozen=True)
class Section:
    """A section; `folded` marks one for people who repeat the study rather than read about it."""

    title: str
    blocks: Sequence[Block]
    folded: bool = False


@dataclass(frozen=True)
class Document:
    title: str
    headline: str
    facts: Sequence[tuple[str, str]]
    """Key numbers of the study: (name, value)."""
    sections: Sequence[Section]
    series: dict[str, int]
    """Mechanism -> number of its colour, as in the pictures."""
