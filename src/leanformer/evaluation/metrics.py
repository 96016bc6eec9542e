"""Metrics as fractions (1 is perfect), defined also where predictions are constant.

    matthews = cov(y, p) / sqrt(var y var p) for classes,   pearson: the same for numbers,   spearman: pearson of ranks

A model that answers the same whatever it reads has variance 0, and the quotient is 0/0. It predicts nothing, so it
scores 0, and `collapsed` says so: such a score is a failed training, not a measurement of a weak model.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sklearn import metrics as sklearn_metrics

from leanformer.data.tasks import Task

Metric = Callable[[NDArray, NDArray], float]

CONSTANT = 1e-6  # relative spread under which float32 numbers differ by rounding only


class Predicted(NamedTuple):
    """(N,) labels and predictions of one split: class positions, or numbers for a regression."""

    labels: NDArray
    predictions: NDArray


def constant(values: NDArray) -> bool:
    return bool(np.ptp(values) <= CONSTANT * np.abs(values).max())


def _zero_if_constant(metric: Metric) -> Metric:
    return lambda labels, predictions: 0.0 if constant(labels) or constant(predictions) else metric(labels, predictions)


METRICS: dict[str, Metric] = {
    "accuracy": sklearn_metrics.accuracy_score,
    "f1": partial(sklearn_metrics.f1_score, pos_label=1, zero_division=0.0),
    "macro_f1": partial(sklearn_metrics.f1_score, average="macro", zero_division=0.0),
    "matthews": _zero_if_constant(sklearn_metrics.matthews_corrcoef),
    "pearson": _zero_if_constant(lambda labels, predictions: stats.pearsonr(labels, predictions).statistic),
    "spearman": _zero_if_constant(lambda labels, predictions: stats.spearmanr(labels, predictions).statistic),
}


def score(task: Task, splits: Mapping[str, Predicted]) -> dict[str, Any]:
    """{"score", "metrics", "collapsed"}: the task's metrics on every split (the split's name is added to the metric's
    where a task has several), their mean, and whether any split got one and the same prediction throughout."""
    values = {}
    for split, (labels, predictions) in splits.items():
        suffix = "_" + split.removeprefix("validation_") if len(task.validation) > 1 else ""
        for metric in task.metrics:
            values[metric + suffix] = float(METRICS[metric](labels, predictions))
    return {
        "score": float(np.mean(list(values.values()))),
        "metrics": values,
        "collapsed": any(constant(predicted.predictions) for predicted in splits.values()),
    }
