"""The report's tables, each as a file of its own for papers and spreadsheets: the same cells as on the page."""

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence

from leanformer.report.document import Document, Table
from leanformer.report.latex import latex
from leanformer.spelling import suggest


def comma_separated(table: Table, _name: str) -> str:
    """Quoted where needed (RFC 4180), but with line ends as everywhere here."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([table.header, *table.rows])
    return out.getvalue()


FORMATS: dict[str, tuple[str, Callable[[Table, str], str]]] = {"latex": ("tex", latex), "csv": ("csv", comma_separated)}


def table_files(document: Document, formats: Sequence[str]) -> dict[str, str]:
    """Path -> content. A table is called after its section, and numbered where there are several."""
    for name in formats:
        if name not in FORMATS:
            raise ValueError(f"--format {name}: {suggest(name, FORMATS)}")
    return {
        f"tables/{name}.{FORMATS[each][0]}": FORMATS[each][1](table, name)
        for each in formats
        for name, table in _named(document)
    }


def _named(document: Document) -> Iterator[tuple[str, Table]]:
    for section in document.sections:
        slug = re.sub(r"\W+", "-", section.title.lower()).strip("-")
        tables = [block for block in section.blocks if isinstance(block, Table)]
        for number, table in enumerate(tables, 1):
            yield (f"{slug}-{number}" if len(tables) > 1 else slug), table
