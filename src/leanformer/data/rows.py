"""Rows of named columns, from files as people have them: what a trained model is asked about.

plain text                    a line a row, blank ones too, so that row i is line i; several columns are separated
                              by tabs, in their order
.jsonl .json .csv .tsv        the columns by name, all others are left alone; packed or not, as plain text
.parquet, hf:NAME, a folder   as `readers.py` has them
-                             plain text from standard input
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from leanformer.data.examples import read_rows
from leanformer.data.readers import files, hub_rows, lines, suffix

TABLES = (".jsonl", ".json", ".csv", ".tsv", ".parquet")
Row = dict[str, Any]


def rows(sources: Sequence[str | Path], columns: Sequence[str]) -> Iterator[tuple[str, Row]]:
    """(place, the row's `columns`) in order. ValueError with file and place for a row that lacks one of them."""
    for source in sources:
        empty = True
        for place, row in _rows(source, columns):
            empty = False
            for column in columns:
                if column not in row:
                    raise ValueError(f"{place}: no column {column!r}; it has: {', '.join(row) or 'none'}")
                if row[column] is None:
                    raise ValueError(f"{place}: {column} is empty (null): fill it in or drop the row")
            yield place, {column: _intact(row[column]) for column in columns}
        if empty:
            raise ValueError(f"{source}: nothing in it: give a file with a text a line")


def _rows(source: str | Path, columns: Sequence[str]) -> Iterator[tuple[str, Row]]:
    if str(source) == "-":
        yield from _lines((line.removesuffix("\n") for line in sys.stdin), "standard input", columns)
        return
    if (paths := files(source)) is None:
        yield from hub_rows(str(source))
        return
    for path in paths:
        if suffix(path) in TABLES:
            for number, row in enumerate(read_rows(path), 1):
                yield f"{path}, row {number}", row
        else:
            yield from _lines(lines(path), str(path), columns)


def _lines(texts: Iterator[str], name: str, columns: Sequence[str]) -> Iterator[tuple[str, Row]]:
    for number, line in enumerate(texts, 1):
        parts = line.split("\t") if len(columns) > 1 else [line]
        if len(parts) != len(columns):
            wanted = " TAB ".join(columns)
            raise ValueError(f"{name}, line {number}: {len(parts)} texts, not {wanted}; or give .jsonl")
        yield f"{name}, line {number}", dict(zip(columns, parts, strict=True))


def _intact(value: Any) -> Any:
    """JSON can spell half a surrogate pair, which is no character, and no tokenizer would take it."""
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if isinstance(value, str) else value
