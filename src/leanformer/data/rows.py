"""Rows of named columns from users' files, as inputs of a trained model.

plain text                    one row per line, also for blank lines, so that row i is line i; several columns are
                              separated by tabs, in their order
CoNLL files                   one row per sentence, a list of its words, for what reads words
tables, hf:NAME, a folder     as in `tables.py` and `readers.py`, with the columns by name; other columns are ignored
-                             plain text from standard input
`InMemory`                    one row per element
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from leanformer.data import conll, tables
from leanformer.data.decoding import STANDARD_INPUT, decoded, kind, lines, standard_input
from leanformer.data.in_memory import InMemory
from leanformer.data.readers import Source, files, hub_rows

Row = dict[str, Any]


def rows(
    sources: Sequence[Source], columns: Sequence[str], option: str = "--columns", *, words: bool = False
) -> Iterator[tuple[str, Row]]:
    """Yields (place, the row's `columns`) in order; `option` is the option that names the columns, for messages.

    `words` says whether a row may be a list of words. Raises ValueError with the place for a row that lacks a column,
    for a CoNLL file unless words are read, and for plain text whose first line holds a tab if one column is needed,
    since this is a table or a pair and not one text. A tab in a later line is white space.
    """
    remedy = f": name the right one with {option}"
    for source in sources:
        empty = True
        for place, row in _rows(source, columns, option, words):
            empty = False
            yield place, {column: tables.value(row, column, place, remedy) for column in columns}
        if empty:
            name = STANDARD_INPUT if str(source) == "-" else source
            raise ValueError(f"{name}: nothing in it: give a file with one text per line")


def _rows(source: Source, columns: Sequence[str], option: str, words: bool) -> Iterator[tuple[str, Row]]:
    if isinstance(source, InMemory):
        for place, element in source.places():
            yield place, _row(element, columns, place)
        return
    if str(source) == "-":
        yield from _lines(standard_input(), STANDARD_INPUT, columns, option)
        return
    if (paths := files(source)) is None:
        yield from hub_rows(str(source))
        return
    for path in paths:
        if kind(path) in conll.SUFFIXES:
            if not words:
                raise ValueError(
                    f"{path}: a CoNLL file holds words, which only a model that was fine-tuned on tags reads, and "
                    f"texts are read here ({', '.join(columns)}): write one text per line to a .txt, or give a table"
                )
            yield from ((place, {columns[0]: row["tokens"]}) for place, row in conll.read(path, tagged=False))
        elif kind(path) in tables.TABLES:
            yield from tables.read(path, columns=columns)
        else:
            yield from _lines(decoded(path), str(path), columns, option)


def _row(element: Any, columns: Sequence[str], place: str) -> Row:
    if isinstance(element, Mapping):
        return dict(element)
    values = (element,) if isinstance(element, str) else element
    if not isinstance(values, tuple) or len(values) != len(columns):
        given = f"{len(values)} texts" if isinstance(values, tuple) else type(element).__name__
        raise ValueError(f"{place}: {given}, not ({', '.join(columns)}): give one text per column")
    return dict(zip(columns, values, strict=True))


def _lines(blocks: Iterable[str], name: str, columns: Sequence[str], option: str) -> Iterator[tuple[str, Row]]:
    for number, line in enumerate(lines(blocks), 1):
        parts = line.split("\t") if len(columns) > 1 else [line]
        if len(parts) != len(columns):
            wanted = " TAB ".join(columns)
            remedy = "separate them by tabs, or give .csv or .jsonl"
            raise ValueError(f"{name}, line {number}: {len(parts)} texts, not {wanted}: {remedy}")
        if number == len(columns) == 1 and "\t" in line.strip():
            pair = ", or --columns A,B for a model of pairs" if option == "--columns" else ""
            raise ValueError(
                f"{name}, line 1: a tab in it, but one text per line is read ({columns[0]}): give a table with a "
                f"header the suffix .tsv, texts that hold tabs as .jsonl{pair}"
            )
        yield f"{name}, line {number}", dict(zip(columns, parts, strict=True))
