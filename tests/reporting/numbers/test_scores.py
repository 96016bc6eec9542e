"""Against scikit-learn and scipy, one resample at a time and many at once."""

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sklearn_metrics

from leanformer.reporting.numbers.scores import METRICS

ORACLES = {
    "accuracy": sklearn_metrics.accuracy_score,
    "f1": lambda y, p: sklearn_metrics.f1_score(y, p, labels=[1], average="macro", zero_division=0.0),
    "macro_f1": lambda y, p: sklearn_metrics.f1_score(y, p, average="macro", zero_division=0.0),
    "matthews": sklearn_metrics.matthews_corrcoef,
    "pearson": lambda y, p: stats.pearsonr(y, p).statistic,
    "spearman": lambda y, p: stats.spearmanr(y, p).statistic,
}


def drawn(name: str, shape: tuple[int, ...]) -> np.ndarray:
    rng = np.random.default_rng([*name.encode(), *shape])
    if name in ("pearson", "spearman"):
        return rng.normal(size=(2, *shape)).round(1)  # with ties
    return rng.integers(0, 2 if name == "f1" else 3, (2, *shape))


@pytest.mark.parametrize("name", METRICS)
def test_the_libraries_agree(name):
    labels, predictions = drawn(name, (7, 23))
    expected = [ORACLES[name](y, p) for y, p in zip(labels, predictions, strict=True)]
    np.testing.assert_allclose(METRICS[name](labels, predictions), expected, atol=1e-12)
    np.testing.assert_allclose(METRICS[name](labels[0], predictions[0]), expected[0], atol=1e-12)


@pytest.mark.parametrize("name", ["matthews", "pearson", "spearman", "f1"])
def test_a_constant_answer_scores_zero(name):
    labels = drawn(name, (3, 11))[0]
    assert METRICS[name](labels, np.zeros_like(labels)).tolist() == [0, 0, 0]


def test_a_class_that_a_resample_lacks_is_none_of_its_classes():
    labels, predictions = np.array([[0, 1, 2], [0, 0, 1]]), np.array([[0, 1, 1], [0, 1, 1]])
    assert METRICS["macro_f1"](labels, predictions) == pytest.approx([(1 + 2 / 3 + 0) / 3, (2 / 3 + 2 / 3) / 2])
