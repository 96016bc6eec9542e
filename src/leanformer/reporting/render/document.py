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
class Table:
    """Rows of text with names in the first column; `align` has one letter per column: l, r, or w for wrapped text."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    align: str
    caption: str = ""


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
