"""Intervals of scores, and of differences of scores, over the evaluated examples.

A metric is a function f of sums over the E examples, metric = f(sum_i s_i) with s_i (k,):

    accuracy, exact_match, token_f1    s = (value of the example, 1)              f = s_1 / s_2
    token_accuracy                     s = (words with the right tag, words)      f = s_1 / s_2
    micro_f1, entity_f1                s = (right, found, true)                   f = 2 s_1 / (s_2 + s_3)
    macro_f1                           the same for every class                   f = mean over classes that occur
    pearson                            s = (1, y, p, y^2, p^2, y p)               f = the correlation

A bootstrap sample draws E examples with replacement. With c_i draws of example i, its metric is f(sum_i c_i s_i).
Intervals are the 2.5 % and 97.5 % quantiles over SAMPLES samples (Efron & Tibshirani, 1993, section 13.3). Two systems
are compared on the same samples, so what is hard for both cancels. They say how far another sample of such texts would
move a score, and not how far another seed of training would.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from leanformer.data.tasks import Task
from leanformer.evaluation import answers, entities
from leanformer.evaluation.metrics import Predicted

SAMPLES, SEED = 1000, 0
QUANTILES = (0.025, 0.975)
CHUNK = 50
"""The samples whose counts are in memory at once."""

Table = NDArray[np.float64]


class Sums(NamedTuple):
    rows: Table
    """(E, k), s of every example."""
    of: Callable[[Table], Table]
    """f, from (S, k) to (S,)."""


def interval(task: Task, predicted: Predicted) -> tuple[float, float]:
    """Returns the interval of the score."""
    return _quantiles(_sampled(task, predicted))


def difference(task: Task, ours: Predicted, theirs: Predicted) -> tuple[float, float]:
    """Returns the interval of the score of `ours` minus that of `theirs`, on the same examples."""
    return _quantiles(_sampled(task, ours) - _sampled(task, theirs))


def sums(metric: str, predicted: Predicted) -> Sums:
    """Returns the sums of a metric, which give `metrics.METRICS[metric]` over all examples."""
    labels, predictions, _ = predicted
    if metric == "macro_f1":
        return Sums(_of_classes(labels, predictions), _macro if labels.ndim == 1 else _macro_of_all)
    if metric == "pearson":
        return Sums(_moments(labels, predictions), _correlation)
    if metric in ("micro_f1", "entity_f1"):
        counts = entities.counts(labels, predictions) if metric == "entity_f1" else _of_labels(labels, predictions)
        return Sums(counts.astype(np.float64), _f1)
    if metric == "token_accuracy":
        return Sums(entities.words(labels, predictions).astype(np.float64), _ratio)
    return Sums(np.stack([_values(metric, labels, predictions), np.ones(len(labels))], 1), _ratio)


def _values(metric: str, labels: NDArray, predictions: NDArray) -> Table:
    if metric == "accuracy":
        return (labels == predictions).astype(np.float64)
    measure = {"exact_match": answers.exact_match, "token_f1": answers.token_f1}[metric]
    return np.array([measure([label], [guess]) for label, guess in zip(labels, predictions, strict=True)])


def _of_labels(labels: NDArray, predictions: NDArray) -> NDArray[Any]:
    return np.stack([(labels & predictions).sum(1), predictions.sum(1), labels.sum(1)], 1)


def _of_classes(labels: NDArray, predictions: NDArray) -> Table:
    """Returns (E, 3 C): whether each class is right, found, true."""
    if labels.ndim == 1:
        classes = np.arange(max(labels.max(), predictions.max()) + 1)
        labels, predictions = labels[:, None] == classes, predictions[:, None] == classes
    return np.concatenate([labels & predictions, predictions, labels], 1).astype(np.float64)


def _moments(labels: NDArray, predictions: NDArray) -> Table:
    y, p = labels - labels.mean(), predictions.astype(np.float64) - predictions.mean(dtype=np.float64)
    return np.stack([np.ones(len(y)), y, p, y * y, p * p, y * p], 1)


def _ratio(sums: Table) -> Table:
    return _quotient(sums[:, 0], sums[:, 1])


def _f1(sums: Table) -> Table:
    return _quotient(2 * sums[:, 0], sums[:, 1] + sums[:, 2])


def _macro_of_all(sums: Table) -> Table:
    """Returns the mean over all labels; one that never occurs counts as 0, as in scikit-learn for several labels."""
    right, found, true = np.split(sums, 3, axis=1)
    return _quotient(2 * right, found + true).mean(1)


def _macro(sums: Table) -> Table:
    """Returns the mean over the classes that occur."""
    right, found, true = np.split(sums, 3, axis=1)
    occurs = found + true > 0
    return _quotient(_quotient(2 * right, found + true).sum(1), occurs.sum(1))


def _correlation(sums: Table) -> Table:
    n, y, p, yy, pp, yp = sums.T
    spread = np.sqrt(np.maximum(n * yy - y * y, 0) * np.maximum(n * pp - p * p, 0))
    return _quotient(n * yp - y * p, np.where(spread > 1e-9 * n * n, spread, 0))


def _quotient(above: Table, below: Table) -> Table:
    return np.divide(above, below, out=np.zeros(np.shape(above)), where=below != 0)


def _sampled(task: Task, predicted: Predicted) -> Table:
    """Returns (SAMPLES,), the score of every sample; the same draws for equal numbers of examples."""
    random = np.random.default_rng(SEED)
    size = len(predicted.labels)
    counted = [sums(metric, predicted) for metric in task.metrics]
    scores = []
    for _ in range(0, SAMPLES, CHUNK):
        counts = random.multinomial(size, np.full(size, 1 / size), size=CHUNK).astype(np.float64)
        scores.append(np.mean([each.of(counts @ each.rows) for each in counted], axis=0))
    return np.concatenate(scores)


def _quantiles(values: Table) -> tuple[float, float]:
    low, high = np.quantile(values, QUANTILES).tolist()
    return low, high
