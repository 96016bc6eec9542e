"""Chance against hand-computed values and scikit-learn's DummyClassifier."""

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.metrics import f1_score

from leanformer.data.examples import Examples
from leanformer.data.tasks import Task
from leanformer.evaluation.chance import chance

LABELS = np.array([0, 1, 1, 2, 1, 0, 1])


def of(labels):
    return {"validation": Examples([("x",)] * len(labels), np.array(labels))}


def test_accuracy_and_macro_f1_are_those_of_a_dummy():
    read = np.zeros((7, 1))
    dummy = DummyClassifier(strategy="most_frequent").fit(read, LABELS)
    labels = ("a", "b", "c")
    assert chance(Task("t", ("text",), labels), of(LABELS)) == pytest.approx(dummy.score(read, LABELS))
    expected = f1_score(LABELS, dummy.predict(read), average="macro", zero_division=0.0)
    assert chance(Task("t", ("text",), labels, metrics=("macro_f1",)), of(LABELS)) == pytest.approx(expected)


@pytest.mark.parametrize(("metric", "expected"), [("f1", 0.4), ("matthews", 0.0)])
def test_always_yes_and_a_constant_correlation(metric, expected):
    """One of four is positive: precision 1/4, recall 1, f1 2/5."""
    assert chance(Task("t", ("text",), ("no", "yes"), metrics=(metric,)), of([0, 0, 1, 0])) == pytest.approx(expected)


def test_a_regression_has_chance_zero():
    assert chance(Task("t", ("text",), metrics=("pearson",)), of([0.5, 1.0])) == 0.0
