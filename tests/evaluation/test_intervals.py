"""Sums give the metrics exactly, and the intervals are those of known distributions."""

import numpy as np
import pytest
from scipy import stats

from leanformer.data.tasks import Task
from leanformer.evaluation import intervals
from leanformer.evaluation.metrics import METRICS, Predicted

RANDOM = np.random.default_rng(13)


def objects(values):
    found = np.empty(len(values), dtype=object)
    found[:] = values
    return found


def tagged(count):
    tags = ["O", "B-A", "I-A", "B-B"]
    true = [RANDOM.choice(tags, 7).tolist() for _ in range(count)]
    found = [tuple(np.where(RANDOM.random(7) < 0.6, row, RANDOM.choice(tags, 7)).tolist()) for row in true]
    return objects([{"words": [], "tags": row} for row in true]), objects(found)


def answered(count):
    true = [{"text": [["the cat", "a dog"], []][i % 2], "answer_start": []} for i in range(count)]
    return objects(true), objects([str(RANDOM.choice(["cat", "big dog", ""])) for _ in true])


CASES = {
    "accuracy": lambda: (RANDOM.integers(0, 3, 101), RANDOM.integers(0, 3, 101)),
    "macro_f1": lambda: (RANDOM.integers(0, 4, 101), RANDOM.integers(0, 3, 101)),
    "micro_f1": lambda: (RANDOM.integers(0, 2, (101, 5)), RANDOM.integers(0, 2, (101, 5))),
    "pearson": lambda: (RANDOM.normal(size=101) + 1e4, RANDOM.normal(size=101)),
    "entity_f1": lambda: tagged(31),
    "token_accuracy": lambda: tagged(31),
    "exact_match": lambda: answered(31),
    "token_f1": lambda: answered(31),
}


@pytest.mark.parametrize("metric", CASES)
def test_sums_over_all_examples_are_the_metric(metric):
    labels, predictions = CASES[metric]()
    found = intervals.sums(metric, Predicted(labels, predictions))
    assert found.of(found.rows.sum(0)[None])[0] == pytest.approx(METRICS[metric](labels, predictions), abs=1e-9)


@pytest.mark.parametrize("never", [False, True])
def test_macro_f1_of_tables(never):
    """A label that never occurs counts as 0."""
    labels, predictions = RANDOM.integers(0, 2, (2, 101, 5))
    if never:
        labels[:, 3] = predictions[:, 3] = 0
    found = intervals.sums("macro_f1", Predicted(labels, predictions))
    expected = METRICS["macro_f1"](labels, predictions)
    assert found.of(found.rows.sum(0)[None])[0] == pytest.approx(expected)


def test_a_constant_prediction_has_no_correlation():
    found = intervals.sums("pearson", Predicted(RANDOM.normal(size=31), np.full(31, 0.3, np.float32)))
    assert found.of(found.rows.sum(0)[None])[0] == 0


def test_the_interval_of_an_accuracy_is_that_of_a_share():
    """Drawing from 400 examples of which 300 are right is a binomial distribution."""
    labels = np.zeros(400, dtype=int)
    predicted = Predicted(labels, (np.arange(400) % 4 == 0).astype(int))
    low, high = intervals.interval(Task("x", ("text",), ("a", "b")), predicted)
    expected = stats.binom.ppf([0.025, 0.975], 400, 0.75) / 400
    np.testing.assert_allclose([low, high], expected, atol=0.008)


def test_what_is_hard_for_both_cancels():
    """Two systems that differ in one example of 100 in favour of the first, though both are wrong in half."""
    task = Task("x", ("text",), ("a", "b"))
    labels = np.zeros(100, dtype=int)
    ours, theirs = (Predicted(labels, (np.arange(100) >= count).astype(int)) for count in (50, 49))
    low, high = intervals.difference(task, ours, theirs)
    assert (low, high) == (0, pytest.approx(0.03, abs=0.011))
    assert intervals.difference(task, ours, ours) == (0, 0)
