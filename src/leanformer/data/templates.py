"""Templates of some tasks: columns of a row -> the texts that a model reads.

Marks are separate words, `* ... *` around the first marked span and `# ... #` around the second (as in Raffel et al.,
2020, appendix D.6). A row that does not fit the template raises a `ValueError` without the place of the row.
"""

from collections.abc import Mapping
from typing import Any

from leanformer.spelling import suggest

Row = Mapping[str, Any]

ASKED = {"cause": "What was the cause?", "effect": "What happened as a result?"}


def copa(row: Row) -> tuple[str, ...]:
    """ "The sun rose." effect -> "The sun rose. What happened as a result?", and the two choices"""
    if row["question"] not in ASKED:
        raise ValueError(f"question {row['question']!r}: {suggest(str(row['question']), ASKED)}")
    return f"{row['premise']} {ASKED[row['question']]}", str(row["choice1"]), str(row["choice2"])


def multirc(row: Row) -> tuple[str, ...]:
    """Returns the paragraph, and "question answer"."""
    return str(row["paragraph"]), f"{row['question']} {row['answer']}"


def wic(row: Row) -> tuple[str, ...]:
    """Returns both sentences with the word, characters start .. end - 1, marked: "no * place * for groups"."""
    return tuple(_marked(str(row[f"sentence{i}"]), int(row[f"start{i}"]), int(row[f"end{i}"])) for i in (1, 2))


def _marked(text: str, start: int, end: int) -> str:
    if not 0 <= start < end <= len(text):
        raise ValueError(f"characters {start} to {end} are no part of a sentence of {len(text)}")
    return f"{text[:start]}* {text[start:end]} *{text[end:]}"


def wsc(row: Row) -> tuple[str, ...]:
    """Returns the text with both spans marked: "* Mark * told Pete many lies ... # He # should".

    A span begins at a word counted by white space and is as long as its text; the words of the text are kept, since the
    span's text often differs in case.
    """
    words = str(row["text"]).split()
    for i, mark in ((1, "*"), (2, "#")):
        first, length = int(row[f"span{i}_index"]), len(str(row[f"span{i}_text"]).split())
        last = first + length - 1
        if not 0 <= first <= last < len(words):
            raise ValueError(f"span {i}, words {first} to {last}, is no part of a text of {len(words)} words")
        words[first] = f"{mark} {words[first]}"
        words[last] = f"{words[last]} {mark}"
    return (" ".join(words),)
