"""The texts and the label of a row, by the kind of task, in the form that `examples.Examples` holds.

single       the name of a class
multi        a list of names
regression   a number
tokens       {"words": [(begin, end), ...], "tags": [...]}, places in the text
questions    {"text": [...], "answer_start": [...]}
"""

from collections.abc import Callable, Sequence
from typing import Any

from leanformer.data import labels, questions, tables, words
from leanformer.data.own import kinds

Row = dict[str, Any]
Texts = tuple[str, ...]


def read(kind: str, row: Row, text: Sequence[str], label: Sequence[str], place: str) -> tuple[Texts, Any]:
    """Returns (the texts, the label) of a row; raises ValueError with the row's place."""
    for column in text if kind == "questions" else (*text, *label):
        tables.value(row, column, place)
    try:
        texts, found = READERS[kind](row, text, label)
        if not all(part.strip() for part in texts):
            raise ValueError(f"{', '.join(text)}: the text is empty: fill it in or drop the row")
        return texts, found
    except (TypeError, ValueError, LookupError, OverflowError) as error:
        raise ValueError(f"{place}: {error}") from None


def _texts(row: Row, text: Sequence[str]) -> Texts:
    return tuple(tables.as_text(row[column], column) for column in text)


def _single(row: Row, text: Sequence[str], label: Sequence[str]) -> tuple[Texts, str]:
    return _texts(row, text), kinds.class_name(row[label[0]])


def _multi(row: Row, text: Sequence[str], label: Sequence[str]) -> tuple[Texts, list[str]]:
    if len(label) > 1:
        return _texts(row, text), [name for name in label if kinds.truth(row[name], name)]
    return _texts(row, text), kinds.label_names(kinds.as_list(row[label[0]]))


def _regression(row: Row, text: Sequence[str], label: Sequence[str]) -> tuple[Texts, float]:
    found = kinds.number(row[label[0]])
    if found is None:
        raise ValueError(f"{label[0]} is {str(row[label[0]])[:40]!r}, not a number: mend the row")
    return _texts(row, text), found


def _tokens(row: Row, text: Sequence[str], label: Sequence[str]) -> tuple[Texts, dict[str, Any]]:
    given, marked = row[text[0]], kinds.as_list(row[label[0]])
    if not isinstance(marked, list):
        raise ValueError(f"{label[0]} is {type(marked).__name__}, not a list of tags or of spans")
    if marked and not isinstance(marked[0], dict):
        given = kinds.as_list(given)
    if not isinstance(given, list):
        spans = [_span(span) for span in marked]
        places, tags = words.tagged(tables.as_text(given, text[0]), spans)
        return (str(given),), {"words": places, "tags": tags}
    if len(given) != len(marked):
        raise ValueError(f"{len(given)} words, but {len(marked)} tags: one tag per word is expected")
    if any(isinstance(tag, int | float | dict) for tag in marked):
        raise ValueError(f"{label[0]} holds {marked[0]!r}, but a tag is a name such as O or B-PER: write names")
    joined, places = words.joined([str(word) for word in given])
    return (joined,), {"words": places, "tags": [kinds.class_name(tag) for tag in marked]}


def _span(span: Any) -> tuple[int, int, str]:
    try:
        return int(span["start"]), int(span["end"]), kinds.class_name(span["label"])
    except (TypeError, LookupError, ValueError):
        raise ValueError(f'{str(span)[:60]} is no span: write {{"start": 0, "end": 3, "label": "PER"}}') from None


def _questions(row: Row, text: Sequence[str], label: Sequence[str]) -> tuple[Texts, dict[str, list[Any]]]:
    texts = _texts(row, text)
    return texts, labels.answers(questions.answers(kinds.as_list(row.get(label[0]))), texts, unanswerable=True)


READERS: dict[str, Callable[[Row, Sequence[str], Sequence[str]], tuple[Texts, Any]]] = {
    "single": _single,
    "multi": _multi,
    "regression": _regression,
    "tokens": _tokens,
    "questions": _questions,
}
