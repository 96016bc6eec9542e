"""The reader of tables of named columns, row by row, from JSON, CSV, TSV and parquet files.

    .jsonl .json    one JSON object per line, or one array of objects that is the whole file
    .csv            a header, then rows by the rules of CSV; blank lines are no rows, and a cell has any length
    .tsv            the same with tabs and without quoting, as GLUE's own files: a single quotation mark is text
                    (by CSV's rules it would silently skip rows)
    .parquet        the requested columns

All but parquet may be compressed (.xz, .gz, .bz2), and suffixes may be in upper case. Files are streamed: memory does
not grow with the number of rows. A row has a place: the file and the line where the row begins, counted as an editor
counts lines (the header of a CSV is line 1), or, in parquet, the number of the row from 1. Every error is a one-line
`ValueError` with this place.
"""

import csv
import math
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from leanformer.data import json_rows
from leanformer.data.decoding import COMPRESSED, Advance, decoded, kind, lines

JSON = (".jsonl", ".json")
TEXT_TABLES = (*JSON, ".csv", ".tsv")
TABLES = (*TEXT_TABLES, ".parquet")
SUFFIXES = (*(table + packing for table in TEXT_TABLES for packing in ("", *COMPRESSED)), ".parquet")
LONGEST_CELL = 2**31 - 1
"""The most characters of a cell, the largest value that csv accepts on every system."""
SEPARATORS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "vertical bars"}

Row = dict[str, Any]
Cells = Iterator[tuple[int, list[str]]]
"""(line where a row begins, its cells)."""


def read(
    path: Path, advance: Advance = lambda _: None, columns: Collection[str] | None = None
) -> Iterator[tuple[str, Row]]:
    """Yields (place, row) of every row; parquet reads only `columns` if they are given and all exist."""
    if kind(path) == ".parquet":
        for number, row in enumerate(_parquet(path, advance, columns), 1):
            yield f"{path}, row {number}", row
        return
    if kind(path) not in READERS:
        raise ValueError(f"{path}: no table; its suffix must be {', '.join(TABLES)}, all but parquet also compressed")
    for line, row in READERS[kind(path)](decoded(path, advance), path):
        yield f"{path}, line {line}", row


def read_rows(path: Path) -> Iterator[Row]:
    """Yields the rows of a table without their places."""
    return (row for _, row in read(path))


def find(folder: Path, stem: str, suffixes: Iterable[str] = SUFFIXES) -> Path | None:
    """Returns the only table in `folder` whose name is `stem` and a suffix in any case, or None if there is none."""
    if not folder.is_dir():
        return None
    named = [path for path in folder.iterdir() if path.name.startswith(stem)]
    found = sorted(path for path in named if path.name[len(stem) :].lower() in suffixes and not path.is_dir())
    if len(found) > 1:
        raise ValueError(f"{folder} holds {' and '.join(path.name for path in found)}: keep one of them")
    if found and not found[0].exists():
        raise FileNotFoundError(f"{found[0]}: a link to a file that is not there; mend the link")
    return found[0] if found else None


def value(row: Row, column: str, place: str, remedy: str = "") -> Any:
    """Returns the row's value in `column`; raises ValueError if the column or the value is missing."""
    if column not in row:
        raise ValueError(f"{place}: no column {column!r}; it has: {', '.join(row) or 'none'}{remedy}")
    found = row[column]
    if found is None or (isinstance(found, float) and math.isnan(found)):
        missing = "null" if found is None else "NaN"
        raise ValueError(f"{place}: {column} is empty ({missing}): fill it in or drop the row")
    return found


def as_text(found: Any, column: str) -> str:
    """Returns the value as text; raises ValueError, without the place, for a list, an object or bytes."""
    if isinstance(found, list | dict | bytes):
        raise ValueError(f"{column} is {type(found).__name__}, not text: name another column, or write it out")
    return str(found)


def _csv(texts: Iterator[str], path: Path) -> Iterator[tuple[int, Row]]:
    return _keyed(_csv_cells(texts, path), path, ",")


def _tsv(texts: Iterator[str], path: Path) -> Iterator[tuple[int, Row]]:
    return _keyed(((number, line.split("\t")) for number, line in enumerate(lines(texts), 1)), path, "\t")


def _csv_cells(texts: Iterator[str], path: Path) -> Cells:
    csv.field_size_limit(LONGEST_CELL)  # for the whole process; by default a cell of 131,072 characters is an error
    reader = csv.reader((line + "\n" for line in lines(texts)), strict=True)
    while True:
        begin = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            end = f" to {reader.line_num}" if reader.line_num > begin else ""
            remedy = 'write "" for a quotation mark within quotes, or fetch the file again if it is cut off'
            raise ValueError(f"{path}, line {begin}{end}: not CSV ({error}): {remedy}") from None
        yield begin, cells


def _keyed(rows: Cells, path: Path, separator: str) -> Iterator[tuple[int, Row]]:
    header: list[str] | None = None
    for line, cells in rows:
        alone = len(cells) == 1 and (header is None or len(header) > 1)
        if not cells or (alone and not cells[0].strip()) or (separator == "\t" and cells == [""]):
            continue  # a blank line
        if header is None:
            header = _header(cells, f"{path}, line {line}", separator)
        elif len(cells) != len(header):
            fault = f"{len(cells)} fields, the header {len(header)}"
            raise ValueError(f"{path}, line {line} has {fault}: mend the line, or quote a cell that holds a separator")
        else:
            yield line, dict(zip(header, cells, strict=True))


def _header(cells: list[str], place: str, separator: str) -> list[str]:
    """Returns the names of the columns; columns without a name (an index, a trailing comma) are ignored."""
    names = [cell.strip() for cell in cells]
    twice = [name for name in dict.fromkeys(names) if name and names.count(name) > 1]
    if twice:
        raise ValueError(f"{place}: two columns are called {twice[0]!r}: rename one of them")
    if not any(names):
        raise ValueError(f"{place}: no column has a name: the first line must name the columns")
    for other, words in SEPARATORS.items():
        if len(names) == 1 and other != separator and other in names[0]:
            fault = f"columns are separated by {words}, not by {SEPARATORS[separator]}"
            raise ValueError(f"{place}: {fault}: save the table with {SEPARATORS[separator]}, or as .jsonl")
    return names


def _parquet(path: Path, advance: Advance, columns: Collection[str] | None) -> Iterator[Row]:
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            chosen = list(columns) if columns is not None and set(columns) <= set(names) else None
            for group in range(file.num_row_groups):
                for batch in file.iter_batches(batch_size=256, row_groups=[group], columns=chosen):
                    yield from batch.to_pylist()
                advance(path.stat().st_size // file.num_row_groups)
    except (pyarrow.ArrowException, UnicodeDecodeError) as error:
        raise _damaged(path, error) from None
    except OSError as error:
        if error.errno is not None:
            raise
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> ValueError:
    return ValueError(f"{path}: damaged, or no parquet file ({str(error).partition(chr(10))[0]}): fetch it again")


READERS: dict[str, Callable[[Iterator[str], Path], Iterator[tuple[int, Row]]]] = {
    ".csv": _csv,
    ".tsv": _tsv,
    **dict.fromkeys(JSON, json_rows.read),
}
