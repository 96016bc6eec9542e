"""Task metrics from saved labels and predictions, for many resamples at once: (..., E) -> (...).

accuracy     fraction of equal answers             exact_match, token_f1  mean of the examples' own values
f1           2 TP / (2 TP + FP + FN), class 1      macro_f1     mean of the classes' f1, of those that occur
matthews     (A - sum_c t_c p_c) / sqrt((1 - sum t_c^2) (1 - sum p_c^2)), A the accuracy, t_c and p_c the fractions
             of labels and predictions that are c (Gorodkin, 2004)
pearson      cov / sqrt(var var)                   spearman     pearson of the ranks
A metric is 0 where nothing varies or occurs, as in `evaluation.metrics`, which uses scikit-learn and scipy.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import stats

ROUNDING = 1e-9
Metric = Callable[[NDArray, NDArray], NDArray]


def _accuracy(labels: NDArray, predictions: NDArray) -> NDArray:
    return (labels == predictions).mean(-1)


def _f1(labels: NDArray, predictions: NDArray, positive: int = 1) -> NDArray:
    yes, said = labels == positive, predictions == positive
    return _quotient(2.0 * (yes & said).sum(-1), yes.sum(-1) + said.sum(-1))


def _macro_f1(labels: NDArray, predictions: NDArray) -> NDArray:
    classes = np.union1d(labels, predictions)
    occurs = np.stack([((labels == c) | (predictions == c)).any(-1) for c in classes])
    return np.stack([_f1(labels, predictions, c) for c in classes]).sum(0) / occurs.sum(0)


def _matthews(labels: NDArray, predictions: NDArray) -> NDArray:
    classes = np.union1d(labels, predictions)
    true, said = (np.stack([(a == c).mean(-1) for c in classes]) for a in (labels, predictions))
    spread = np.sqrt((1 - (true**2).sum(0)).clip(0) * (1 - (said**2).sum(0)).clip(0))
    return _quotient(_accuracy(labels, predictions) - (true * said).sum(0), spread)


def _pearson(labels: NDArray, predictions: NDArray) -> NDArray:
    x, y = (a - a.mean(-1, keepdims=True) for a in (labels.astype(float), predictions.astype(float)))
    spread = np.sqrt((x * x).sum(-1) * (y * y).sum(-1))
    return _quotient((x * y).sum(-1), spread)


def _spearman(labels: NDArray, predictions: NDArray) -> NDArray:
    return _pearson(stats.rankdata(labels, axis=-1), stats.rankdata(predictions, axis=-1))


def _quotient(above: NDArray, below: NDArray) -> NDArray:
    return np.divide(above, below, out=np.zeros(np.shape(below)), where=below > ROUNDING)


METRICS: dict[str, Metric] = {
    "accuracy": _accuracy,
    "f1": _f1,
    "macro_f1": _macro_f1,
    "matthews": _matthews,
    "pearson": _pearson,
    "spearman": _spearman,
}
MEANS = ("exact_match", "token_f1")
"""Metrics that are means of values in each example's record."""
