"""The label of a row: a class, a number, or the right answers to a question. Any other value is a `ValueError`."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from leanformer.data.tasks import Task

Reader = Callable[[Any, tuple[str, ...]], Any]
"""(a row's value, the row's texts) -> its label"""


def reader(task: Task) -> Reader:
    if task.kind == "span":
        return _answers
    return partial(_number, task) if task.kind == "regression" else partial(_position, task, _positions(task))


def dtype(task: Task) -> str:
    return {"span": "object", "regression": "float64"}.get(task.kind, "int64")


def _positions(task: Task) -> dict[str, int]:
    """Names to positions, and positions to themselves unless a name is a number: then a number is a name."""
    names = {name: i for i, name in enumerate(task.labels)}
    numeric = any(name.lstrip("-").isdigit() for name in names)
    return names if numeric else names | {str(i): i for i in range(len(names))}


def _position(task: Task, known: dict[str, int], value: Any, texts: tuple[str, ...]) -> int:
    if str(value) in known:
        return known[str(value)]
    hidden = "; -1 stands for a hidden label, and such a split cannot be scored" if str(value) == "-1" else ""
    raise ValueError(f"label {value!r} is not of {task.name}: {', '.join(known)}{hidden}")


def _number(task: Task, value: Any, texts: tuple[str, ...]) -> float:
    low, high = task.bounds or (-math.inf, math.inf)
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not (math.isfinite(number) and low <= number <= high):
        raise ValueError(f"label {value!r} is not of {task.name}: a number from {low} to {high}")
    return number


def _answers(value: Any, texts: tuple[str, ...]) -> dict[str, list]:
    """{"text": [...], "answer_start": [...]}: at least one answer, each found where its start says, in characters."""
    context = texts[1]
    try:
        answers, starts = list(value["text"]), [int(start) for start in value["answer_start"]]
        found = [context[start : start + len(text)] for start, text in zip(starts, answers, strict=True)]
    except (TypeError, KeyError, ValueError):
        raise ValueError(f'{str(value)[:60]!r} is not {{"text": [...], "answer_start": [...]}}') from None
    if not answers or "" in answers:
        raise ValueError("no answer: questions without one (as in SQuAD 2.0) are not supported, drop the row")
    for text, start, there in zip(answers, starts, found, strict=True):
        if there != text or start < 0:
            raise ValueError(f"the answer {text!r} is not at character {start} of the context")
    return {"text": answers, "answer_start": starts}
