"""A report's tables as files of their own: LaTeX with the cells of the page, and CSV with plain numbers."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from typing import Any

from leanformer.markup import spreadsheet
from leanformer.reporting.render.document import Document, Table
from leanformer.reporting.render.latex import latex
from leanformer.reporting.render.tidy import Row, tidy
from leanformer.spelling import suggest

FORMATS = ("latex", "csv", "pdf")
"""The formats of tables; `pdf` is that of figures."""


def check_formats(formats: Sequence[str]) -> None:
    for name in formats:
        if name not in FORMATS:
            raise ValueError(f"--format {name}: {suggest(name, FORMATS)}")


def latex_files(document: Document) -> dict[str, str]:
    """Returns path -> content. A table is named after its section, with a number if there are several."""
    return {f"tables/{name}.tex": latex(table, name) for name, table in _named(document)}


def csv_files(found: dict[str, Any]) -> dict[str, str]:
    """Returns path -> content, from the content of results.json; see `tidy`."""
    return {f"tables/{name}.csv": comma_separated(rows) for name, rows in tidy(found).items()}


def comma_separated(rows: Sequence[Row]) -> str:
    """Returns CSV, quoted where needed (RFC 4180), but with \\n as line end."""
    header = list(dict.fromkeys(column for row in rows for column in row))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([spreadsheet(column) for column in header])
    writer.writerows([[_cell(row.get(column)) for column in header] for row in rows])
    return out.getvalue()


def _cell(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else spreadsheet(value)


def _named(document: Document) -> Iterator[tuple[str, Table]]:
    for section in document.sections:
        slug = re.sub(r"\W+", "-", section.title.lower()).strip("-")
        tables = [block for block in section.blocks if isinstance(block, Table)]
        for number, table in enumerate(tables, 1):
            yield (f"{slug}-{number}" if len(tables) > 1 else slug), table
