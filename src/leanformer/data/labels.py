"""The label of a row: a class, a number, or the right answers to a question. Any other value raises a `ValueError`.

Class labels are accepted in the forms in which people and tools write them, if the meaning is unambiguous:

    positive, " Positive "    the name, whatever its case and the spaces around it
    1, "1", 1.0, "1.0"        the position; if a name is itself a number (stars "1" to "5"), the name instead
    true, "True"              1 of two classes, unless the first one is called true, yes or positive; refused where the
                              second negates the first (entailment, not_entailment), since true may then mean either
"""

import math
import re
from collections.abc import Callable
from functools import partial
from typing import Any

from leanformer.data.tasks import Task

Reader = Callable[[Any, tuple[str, ...]], Any]
"""A function (a row's value, the row's texts) -> its label."""


def reader(task: Task) -> Reader:
    if task.kind in ("multi_label", "token_classification"):
        raise ValueError(f"task {task.name!r}: a task of the kind {task.kind} is read from a file: give it with --data")
    if task.kind == "span":
        return partial(answers, unanswerable=task.unanswerable)
    return partial(_number, task) if task.kind == "regression" else _Classes(task)


def dtype(task: Task) -> str:
    return {"span": "object", "token_classification": "object", "regression": "float64"}.get(task.kind, "int64")


NUMBER = re.compile(r"[+-]?\d+(\.\d*)?", re.ASCII)
AFFIRMATIVE = ("true", "yes", "positive", "pos")


class _Classes:
    """The accepted values of each class of a task -> its position."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.names = {name: i for i, name in enumerate(task.labels)}
        folded = [name.casefold() for name in task.labels]
        self.folded = {name: i for i, name in enumerate(folded) if folded.count(name) == 1}
        self.numeric = any(NUMBER.fullmatch(name) for name in task.labels)
        numbers = {float(name): i for name, i in self.names.items() if NUMBER.fullmatch(name)}
        self.numbers = numbers if self.numeric else {float(i): i for i in self.names.values()}
        self.truth = self._truth(folded) if task.kind == "classification" and len(folded) == 2 else {}

    def _truth(self, folded: list[str]) -> dict[str, int]:
        if self.numeric:
            return {"false": folded.index("0"), "true": folded.index("1")} if {*folded} == {"0", "1"} else {}
        if folded[0] in AFFIRMATIVE:
            return {"true": 0, "false": 1}
        return {} if folded[1].endswith(folded[0]) else {"false": 0, "true": 1}

    def __call__(self, value: Any, texts: tuple[str, ...]) -> int:
        written = str(value).strip()
        if written in self.names:
            return self.names[written]
        if NUMBER.fullmatch(written) and float(written) in self.numbers:
            return self.numbers[float(written)]
        for known in (self.folded, self.truth):
            if written.casefold() in known:
                return known[written.casefold()]
        raise ValueError(f"label {_short(value)} is not of {self.task.name}: {self._expected(written)}")

    def _expected(self, written: str) -> str:
        names = ", ".join(self.task.labels)
        if NUMBER.fullmatch(written) and float(written) == -1:
            return f"{names}; -1 stands for a hidden label, and such a split cannot be scored"
        if not written:
            return f"{names}; it is empty: fill it in or drop the row"
        if written.casefold() in ("true", "false"):
            return f"{names}; which of them {written} means is not clear: write the names"
        return names if self.numeric else f"{names}, or their positions 0 to {len(self.names) - 1}"


def _number(task: Task, value: Any, texts: tuple[str, ...]) -> float:
    low, high = task.bounds or (-math.inf, math.inf)
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not (math.isfinite(number) and low <= number <= high):
        raise ValueError(f"label {_short(value)} is not of {task.name}: a number from {low} to {high}")
    return number


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def answers(value: Any, texts: tuple[str, ...], *, unanswerable: bool = False) -> dict[str, list]:
    """Returns {"text": [...], "answer_start": [...]}: each answer at its start, in characters.

    Raises ValueError if there is none, unless questions may be `unanswerable`.
    """
    context = texts[1]
    try:
        given, starts = list(value["text"]), [int(start) for start in value["answer_start"]]
        found = [context[start : start + len(text)] for start, text in zip(starts, given, strict=True)]
    except (TypeError, LookupError, ValueError, OverflowError):
        raise ValueError(f'{_short(value)} is not {{"text": [...], "answer_start": [...]}}') from None
    if "" in given or not (given or unanswerable):
        raise ValueError(
            "no answer: questions without one (as in SQuAD 2.0) are read with --data FILE, or drop the row"
        )
    for text, start, there in zip(given, starts, found, strict=True):
        if there != text or start < 0:
            raise ValueError(f"the answer {text!r} is not at character {start} of the context")
    return {"text": given, "answer_start": starts}
