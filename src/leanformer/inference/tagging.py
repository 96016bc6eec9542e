"""Entities in texts, from a classifier of tokens: where they are, in characters, and how probable.

    {"text": "Ada Lovelace wrote.",
     "entities": [{"start": 0, "end": 12, "label": "PER", "text": "Ada Lovelace", "score": 0.98}]}

`start` and `end` count characters of `text`, as in Python's `text[start:end]`; `score` is the mean probability of the
tags of its words. A text that came as words is joined by spaces, and its row has `tags`, one per word. A model whose
tags are classes of words (parts of speech) gives every word in `words` instead, in the same form.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from leanformer.data import words
from leanformer.data.own.kinds import as_list
from leanformer.data.tables import as_text
from leanformer.data.tags import OUTSIDE, entities
from leanformer.data.tasks import Task


class Text(NamedTuple):
    text: str
    words: list[words.Word]
    given: bool
    """Whether the row came as words."""

    def blank(self, task: Task) -> dict[str, Any]:
        """Returns the label of a text whose tags nobody knows."""
        return {"words": self.words, "tags": [task.labels[0]] * len(self.words)}


def read(task: Task, value: Any, column: str) -> Text:
    """Returns the text of a row's value, a text or a list of words."""
    value = as_list(value) if task.words == "coarse" else value
    if isinstance(value, list):
        text, places = words.joined([str(word) for word in value])
        return Text(text, places, True)
    text = as_text(value, column)
    return Text(text, words.split(text, task.words or "fine"), False)


def answer(task: Task, column: str, text: Text, tags: Sequence[str], scores: Sequence[float]) -> dict[str, Any]:
    """Returns what is predicted for a text, with its text under the name of its column if it came as words."""
    said: dict[str, Any] = {column: text.text, "tags": list(tags)} if text.given else {}
    if OUTSIDE in task.labels:
        found = [(one.first, one.end, one.label) for one in entities(tags)]
    else:
        found = [(i, i + 1, tag) for i, tag in enumerate(tags)]
    marked = []
    for first, end, label in found:
        start, stop = text.words[first][0], text.words[end - 1][1]
        score = sum(scores[first:end]) / (end - first)
        marked.append({"start": start, "end": stop, "label": label, "text": text.text[start:stop], "score": score})
    return said | {"entities" if OUTSIDE in task.labels else "words": marked}
