"""Metrics as fractions (1 is perfect), which are also defined for constant predictions.

    matthews = cov(y, p) / sqrt(var y var p) for classes,   pearson: the same for numbers,   spearman: pearson of ranks
    em: fraction of groups of examples (MultiRC: the answers to a question) in which all labels are right
    exact_match, token_f1: metrics of texts, in `leanformer.evaluation.answers`
    entity_f1, entity_precision, entity_recall, token_accuracy: in `leanformer.evaluation.entities`
    micro_f1 = 2 TP / (2 TP + FP + FN) over all labels of all examples
    mae = mean |y - p|,   rmse = sqrt(mean (y - p)^2), in the unit of the labels

A model whose answer is always the same has variance 0, and the quotient is 0/0. It predicts nothing, so its score is 0,
and `collapsed` is true: such a score shows a failed training, not a weak model.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sklearn import metrics as sklearn_metrics

from leanformer.data.tasks import Task
from leanformer.evaluation import answers, entities

Metric = Callable[[Any, Any], float]

CONSTANT = 1e-6  # relative spread under which float32 numbers differ by rounding only


class Predicted(NamedTuple):
    """Labels and predictions of one split, each (N,): class positions, numbers of a regression, or objects (right
    answers and a text; tagged words and their tags). Of several labels, each is (N, C), 0 or 1."""

    labels: NDArray
    predictions: NDArray
    groups: NDArray | None = None
    """int64, equal for examples that belong together."""


def constant(values: NDArray) -> bool:
    if values.dtype == object and isinstance(values[0], tuple):
        return len({tag for tags in values for tag in tags}) <= 1
    if values.dtype == object or values.ndim > 1:
        return len({str(value) for value in values}) == 1
    return bool(np.ptp(values) <= CONSTANT * np.abs(values).max())


def _zero_if_constant(metric: Metric) -> Metric:
    return lambda labels, predictions: 0.0 if constant(labels) or constant(predictions) else metric(labels, predictions)


def _groups_right(labels: NDArray, predictions: NDArray, groups: NDArray) -> float:
    """Returns the subset accuracy of a table with one row per group, padded with zeros on both sides."""
    order = np.argsort(groups, kind="stable")
    column = np.empty_like(order)
    column[order] = np.arange(len(order)) - np.searchsorted(groups[order], groups[order])

    def table(values: NDArray) -> NDArray:
        rows = np.zeros((groups.max() + 1, column.max() + 1), dtype=np.int64)
        rows[groups, column] = values
        return rows

    return sklearn_metrics.accuracy_score(table(labels), table(predictions))


def of_text(label: dict[str, list], prediction: str) -> dict[str, float]:
    """Returns the metrics of texts for one example."""
    return {name: METRICS[name]([label], [prediction]) for name in ("exact_match", "token_f1")}


METRICS: dict[str, Metric] = {
    "accuracy": sklearn_metrics.accuracy_score,
    "f1": partial(sklearn_metrics.f1_score, pos_label=1, zero_division=0.0),
    "macro_f1": partial(sklearn_metrics.f1_score, average="macro", zero_division=0.0),
    "matthews": _zero_if_constant(sklearn_metrics.matthews_corrcoef),
    "pearson": _zero_if_constant(lambda labels, predictions: stats.pearsonr(labels, predictions).statistic),
    "spearman": _zero_if_constant(lambda labels, predictions: stats.spearmanr(labels, predictions).statistic),
    "micro_f1": partial(sklearn_metrics.f1_score, average="micro", zero_division=0.0),
    "mae": sklearn_metrics.mean_absolute_error,
    "rmse": sklearn_metrics.root_mean_squared_error,
    "entity_f1": entities.f1,
    "entity_precision": entities.precision,
    "entity_recall": entities.recall,
    "token_accuracy": entities.token_accuracy,
    "exact_match": answers.exact_match,
    "token_f1": answers.token_f1,
}
GROUPED = {"em": _groups_right}
"""Metrics that need the groups of the examples."""


def _measured(metric: str, predicted: Predicted) -> float:
    labels, predictions, groups = predicted
    if metric not in GROUPED:
        return METRICS[metric](labels, predictions)
    assert groups is not None
    return GROUPED[metric](labels, predictions, groups)


def score(task: Task, splits: Mapping[str, Predicted]) -> dict[str, Any]:
    """Returns {"score", "metrics", "collapsed"}.

    These are the mean of the task's metrics, these and those in `also` on every split (with the split's name added if a
    task has several), and whether all predictions of any split are the same.
    """
    values, also = {}, {}
    for split, predicted in splits.items():
        suffix = "_" + split.removeprefix("validation_") if len(task.validation) > 1 else ""
        for metric in task.metrics:
            values[metric + suffix] = float(_measured(metric, predicted))
        for metric in task.also:
            also[metric + suffix] = float(_measured(metric, predicted))
    return {
        "score": float(np.mean(list(values.values()))),
        "metrics": values | also,
        "collapsed": any(constant(predicted.predictions) for predicted in splits.values()),
    }
