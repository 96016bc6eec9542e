"""What a report is made of, free of any markup: `html` and `markdown` render the same blocks, hence the same facts."""

from collections.abc import Sequence
from dataclasses import dataclass

from leanformer.report.render.style import Picture


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
    """Rows of text, the first column their names; `align` has a letter a column: l, r, or w for text that wraps."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    align: str
    caption: str = ""


@dataclass(frozen=True)
class Link:
    """To a file beside the report."""

    text: str
    target: str


Block = Paragraph | Points | Code | Table | Picture | Link


@dataclass(frozen=True)
class Section:
    """`folded`: of use to somebody who repeats the study, not to somebody who reads about it."""

    title: str
    blocks: Sequence[Block]
    folded: bool = False


@dataclass(frozen=True)
class Document:
    title: str
    headline: str
    facts: Sequence[tuple[str, str]]
    """Numbers of the study at a glance: (what, how much)."""
    sections: Sequence[Section]
    series: dict[str, int]
    """Mechanism -> its colour's number, as in the pictures."""
