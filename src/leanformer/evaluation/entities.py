"""Metrics of tagged words, as the CoNLL shared tasks count them (Tjong Kim Sang & De Meulder, 2003).

    precision = right / found,   recall = right / true,   f1 = 2 right / (found + true),   0 where the denominator is 0

An entity is right if its first word, its last word and its type are those of a true one. The counts are summed over all
examples. `tags.entities` says what an entity is. `seqeval`, the usual package for these numbers, had its last release
in 2020 and is built from source alone; the tests use it as an independent reference.

A label is {"words": ..., "tags": [...]}, a prediction is a tuple of as many tags.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leanformer.data.tags import entities

Labels = Iterable[Mapping[str, Any]]
Predictions = Iterable[Sequence[str]]


def counts(labels: Labels, predictions: Predictions) -> NDArray[np.int64]:
    """Returns (N, 3): right, found and true entities of every example."""
    rows = []
    for label, tags in zip(labels, predictions, strict=True):
        true, found = set(entities(label["tags"])), set(entities(tags))
        rows.append((len(true & found), len(found), len(true)))
    return np.array(rows, dtype=np.int64).reshape(-1, 3)


def words(labels: Labels, predictions: Predictions) -> NDArray[np.int64]:
    """Returns (N, 2): words with the right tag and words of every example."""
    both = [(label["tags"], tags) for label, tags in zip(labels, predictions, strict=True)]
    return np.array(
        [(sum(a == b for a, b in zip(*pair, strict=True)), len(pair[0])) for pair in both], dtype=np.int64
    ).reshape(-1, 2)


def f1(labels: Labels, predictions: Predictions) -> float:
    right, found, true = counts(labels, predictions).sum(0).tolist()
    return 2 * right / (found + true) if found + true else 0.0


def precision(labels: Labels, predictions: Predictions) -> float:
    right, found, _ = counts(labels, predictions).sum(0).tolist()
    return right / found if found else 0.0


def recall(labels: Labels, predictions: Predictions) -> float:
    right, _, true = counts(labels, predictions).sum(0).tolist()
    return right / true if true else 0.0


def token_accuracy(labels: Labels, predictions: Predictions) -> float:
    right, total = words(labels, predictions).sum(0).tolist()
    return right / total if total else 0.0
