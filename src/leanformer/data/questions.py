"""The reader of questions in SQuAD's JSON (Rajpurkar et al., 2016, 2018), and of the forms of their answers.

    {"data": [{"paragraphs": [{"context": ..., "qas": [{"question": ..., "answers": [...], "is_impossible": false}]}]}]}

A row is {"question", "context", "answers"}, with {"text": [...], "answer_start": [...]} for the answers; both lists are
empty for a question without an answer.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from leanformer.data.decoding import decoded, kind

Row = dict[str, Any]
COLUMNS = ("question", "context")
ANSWERS = "answers"


def squad(path: Path) -> list[tuple[str, Row]] | None:
    """Returns (place, row) of every question, None if the file is not SQuAD's JSON."""
    if kind(path) != ".json":
        return None
    text = "".join(decoded(path))
    if not text.lstrip().startswith("{"):
        return None
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):  # one object per line, say, which the reader of tables knows
        return None
    if not isinstance(whole, dict) or not isinstance(whole.get("data"), list):
        return None
    try:
        return list(_rows(path, whole["data"]))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path}: not SQuAD's JSON ({type(error).__name__}: {error}): compare it with docs/data.md"
        ) from None


def _rows(path: Path, articles: list[Any]) -> Iterator[tuple[str, Row]]:
    for a, article in enumerate(articles, 1):
        for p, paragraph in enumerate(article["paragraphs"], 1):
            for q, asked in enumerate(paragraph["qas"], 1):
                place = f"{path}, article {a}, paragraph {p}, question {q}"
                found = [] if asked.get("is_impossible") else asked["answers"]
                yield place, {"question": asked["question"], "context": paragraph["context"], ANSWERS: found}


def answers(value: Any) -> dict[str, list[Any]]:
    """Returns the answers as two lists, from that form, from a list of objects, or from none (null, empty).

    Raises ValueError for anything else.
    """
    if value is None or value == "":
        return {"text": [], "answer_start": []}
    if isinstance(value, list):
        value = {
            key: [one[key] if isinstance(one, dict) and key in one else None for one in value]
            for key in ("text", "answer_start")
        }
    lists = isinstance(value, dict) and all(isinstance(part, list) for part in value.values())
    if not lists or None in [*value.get("text", [None]), *value.get("answer_start", [None])]:
        raise ValueError('answers are written {"text": [...], "answer_start": [...]}, both empty for none')
    return {"text": list(value["text"]), "answer_start": list(value["answer_start"])}
