"""The rows of people's labelled files (tables, CoNLL files, SQuAD's JSON), and the columns of text and label."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from leanformer.data import conll, questions, tables
from leanformer.data.decoding import kind

Row = dict[str, Any]
Placed = list[tuple[str, Row]]
"""Rows with their places, for error messages."""

LAYOUTS = (
    (("tokens",), ("tags",)),
    (("text",), ("spans",)),
    (questions.COLUMNS, (questions.ANSWERS,)),
    (("text",), ("label",)),
    (("text",), ("labels",)),
)
"""The columns of text and label that are found without --text and --label, the first that the file has."""
SUFFIXES = (*tables.TABLES, *conll.SUFFIXES)


def read(path: Path) -> Placed:
    """Returns all rows of a labelled file; raises ValueError or FileNotFoundError of one line."""
    if not path.is_file():
        what = "a folder" if path.is_dir() else "no such file"
        raise FileNotFoundError(f"{path}: {what}; give a file that ends in {', '.join(SUFFIXES)}")
    if kind(path) in conll.SUFFIXES:
        rows = list(conll.read(path))
    elif kind(path) in tables.TABLES:
        rows = questions.squad(path) or list(tables.read(path))
    else:
        raise ValueError(
            f"{path}: labels are read from a file that ends in {', '.join(SUFFIXES)}: rename or convert it"
        )
    if not rows:
        raise ValueError(f"{path} holds no rows: give a file with one example per row")
    return rows


def columns(
    path: Path, names: Sequence[str], text: Sequence[str], label: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns the columns of text and label: those that are given, else those of the first layout that the file has."""
    has = f"it has: {', '.join(name for name in names if name)}"
    for option, given in (("--text", text), ("--label", label)):
        for name in given:
            if name not in names:
                raise ValueError(f"{path} has no column {name!r} for {option}: {has}")
    if len(set(text)) < len(text) or len(set(label)) < len(label):
        raise ValueError(f"{path}: a column stands twice in --text or --label: name each once; {has}")
    for own_text, own_label in LAYOUTS:
        found = tuple(text) or own_text, tuple(label) or own_label
        if {*found[0], *found[1]} <= set(names):
            if both := {*found[0]} & {*found[1]}:
                raise ValueError(f"{path}: {both.pop()!r} is text and label at once: name two columns; {has}")
            return found
    missing = [option for option, given in (("--text", text), ("--label", label)) if not given]
    raise ValueError(f"{path}: which column is which? Name it with {' and '.join(missing)}; {has}")
