"""What the columns of a file say about the kind of task.

    tokens       a column of lists beside a column of lists of tags, or a column of lists of spans
    questions    answers: objects with `text` and `answer_start`, lists of them, or null
    multi        several label columns of 0 and 1, or one of lists
    regression   numbers, of which one is no whole number or more than 20 are different
    single       anything else: names, and up to 20 different whole numbers

`--kind` overrides this. In a cell of CSV, `["a", "b"]` is a list; with --kind multi, so is `a|b`, `a;b` or `a, b`.
"""

import json
import math
import re
from collections.abc import Sequence
from typing import Any

MOST_CLASSES = 20
"""The most different whole numbers that are taken for classes; more are a regression."""
KINDS = {
    "single": "classification",
    "multi": "multi_label",
    "regression": "regression",
    "tokens": "token_classification",
    "questions": "span",
}
"""The names of the option --kind, and the kinds of tasks that they mean."""
SEPARATOR = re.compile(r"\s*[|;,]\s*")
WHOLE = re.compile(r"[+-]?\d+\.0+")
TRUTH = {"1": 1, "true": 1, "yes": 1, "0": 0, "false": 0, "no": 0}


def kind_of(texts: Sequence[Any], values: Sequence[Sequence[Any]], label: Sequence[str]) -> tuple[str, str]:
    """Returns (the kind, as an option, of the first text and the labels of every row, and what shows it).

    `values` has one row per example and one column per name in `label`. Raises ValueError without the file's name.
    """
    name = ", ".join(label)
    if len(label) > 1:
        return "multi", f"there are {len(label)} label columns"
    column = [row[0] for row in values]
    some = next((value for value in column if value not in (None, [], "")), None)
    if some is None and any(isinstance(value, list) for value in column):
        raise ValueError(f"{name} is empty in every row: there is nothing to learn")
    if isinstance(some, dict) or (isinstance(some, list) and isinstance(some[0], dict) and "answer_start" in some[0]):
        return "questions", f"{name} holds answers"
    if isinstance(some, list) and isinstance(some[0], dict):
        return "tokens", f"{name} holds spans"
    if isinstance(some, list):
        given = isinstance(as_list(texts[0]), list)
        return ("tokens", f"{name} holds the tags of words") if given else ("multi", f"{name} holds lists")
    return _of_scalars(column, name)


def _of_scalars(column: Sequence[Any], name: str) -> tuple[str, str]:
    column = [value for value in column if value not in (None, "")]  # the reader of values reports these by line
    numbers = [number(value) for value in column]
    known = [value for value in numbers if value is not None]
    different = len(set(known))
    if len(known) == len(column):
        if any(value != int(value) for value in known):
            return "regression", f"{name} holds numbers with decimals"
        if different > MOST_CLASSES:
            return "regression", f"{name} holds {different} different numbers"
        return "single", f"{name} holds {different} different whole numbers"
    if len(known) > len(column) / 2:
        place = numbers.index(None)
        raise ValueError(
            f"{name} holds numbers, and words such as {str(column[place])[:40]!r}: mend the rows, or give --kind single"
        )
    names = len({str(value).strip() for value in column})
    if names > MOST_CLASSES and names > len(column) / 2:
        raise ValueError(
            f"{name} holds {names:,} different values in {len(column):,} rows, which are texts and no classes: name "
            "another column with --label, or give --kind single"
        )
    return "single", f"{name} holds {names} different names"


def number(value: Any) -> float | None:
    """Returns a finite number from a value or a cell, None if it is none."""
    try:
        found = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def class_name(value: Any) -> str:
    """Returns the name of a class, in which 1.0 is 1. Raises ValueError for none, and for a list."""
    if isinstance(value, list | dict):
        raise ValueError(f"a {type(value).__name__} where one label is expected: give --kind multi for lists")
    found = str(value).strip()
    if WHOLE.fullmatch(found):
        found = found.partition(".")[0]
    if not found:
        raise ValueError("the label is empty: fill it in or drop the row")
    return found


def as_list(value: Any) -> Any:
    """Returns the list that a cell such as `["a", "b"]` holds, else the value itself."""
    if isinstance(value, str) and value.startswith("[") and value.rstrip().endswith("]"):
        try:
            found = json.loads(value)
        except (ValueError, RecursionError):
            return value
        return found
    return value


def label_names(value: Any) -> list[str]:
    """Returns the names of a row's labels, from a list or from a cell with separators; none for an empty one."""
    parts = value if isinstance(value, list) else [] if value in ("", None) else SEPARATOR.split(str(value).strip())
    return list(dict.fromkeys(class_name(part) for part in parts if part != ""))


def truth(value: Any, column: str) -> int:
    """Returns 0 or 1 from a cell of a label column."""
    written = str(value).strip().lower()
    written = written.partition(".")[0] if WHOLE.fullmatch(written) else written
    if written not in TRUTH:
        raise ValueError(f"{column} is {str(value)[:40]!r}, but one of several label columns holds 0 or 1: mend it")
    return TRUTH[written]
