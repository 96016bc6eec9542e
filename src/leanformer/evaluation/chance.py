"""Chance, the score of the best answer that ignores the input; a model is above chance if it scores more.

    classification     max over labels c of score(y, (c, ..., c)), y the labels of the *evaluated* examples
    multi_label        the same over the sets of the k most frequent labels
    token_classification    the same over the tags, each given to every word
    span               score(y, (a, ..., a)), a the most frequent right answer
    multiple_choice    1 / C, since the C choices of an example have no order of their own
    regression         0, the correlation of a constant

If a score is the mean of several metrics or splits, one label is used for all of them. For accuracy, chance is the
fraction of the majority class, for f1 the score of always "yes", and for the Matthews correlation 0. The label is
chosen on the evaluated examples, so chance is never below that of the training split's majority class, and the saved
labels are enough to compute it.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leanformer.data.examples import Examples
from leanformer.data.tasks import Task
from leanformer.evaluation import metrics
from leanformer.evaluation.metrics import Predicted


def chance(task: Task, splits: Mapping[str, Examples]) -> float:
    """Returns the score, a fraction, of the best constant answer to the examples of each split."""
    if task.kind == "regression":
        return 0.0
    if task.kind == "multiple_choice":
        return 1 / len(task.labels)
    return max(
        metrics.score(
            task,
            {
                split: Predicted(examples.labels, _always(answer, examples.labels), examples.groups)
                for split, examples in splits.items()
            },
        )["score"]
        for answer in _answers(task, splits)
    )


def _answers(task: Task, splits: Mapping[str, Examples]) -> Iterator[Any]:
    if task.kind == "classification":
        yield from range(len(task.labels))
    elif task.kind == "token_classification":
        yield from task.labels
    elif task.kind == "multi_label":
        frequent = np.argsort(-sum(examples.labels.sum(0) for examples in splits.values()), kind="stable")
        for k in range(1, len(frequent) + 1):
            yield np.isin(np.arange(len(frequent)), frequent[:k]).astype(np.int64)
    else:
        right = Counter(
            text for examples in splits.values() for label in examples.labels for text in set(label["text"] or [""])
        )
        yield right.most_common(1)[0][0]


def _always(answer: Any, labels: NDArray) -> NDArray:
    """Returns the same answer for each of the labels."""
    if isinstance(answer, np.ndarray):
        return np.tile(answer, (len(labels), 1))
    if labels.dtype != object:
        return np.full(len(labels), answer, dtype=np.int64)
    answers = np.empty(len(labels), dtype=object)
    answers[:] = [(answer,) * len(label["tags"]) if "tags" in label else answer for label in labels]
    return answers
