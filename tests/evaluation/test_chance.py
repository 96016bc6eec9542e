"""Chance against hand-computed values and scikit-learn's DummyClassifier."""

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.metrics import f1_score

from leanformer.data.examples import Examples
from leanformer.data.tasks import Task
from leanformer.evaluation.chance import chance

LABELS = np.array([0, 1, 1, 2, 1, 0, 1])
SPLITS = {"matched": [0, 0, 0, 1], "mismatched": [1, 1]}


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


def test_a_choice_of_four_has_chance_one_quarter():
    """Whatever place the right choices have most often: the order of an example's choices means nothing."""
    task = Task("t", ("text", "a", "b", "c", "d"), ("0", "1", "2", "3"), kind="multiple_choice")
    assert chance(task, of([3, 3, 3, 0])) == 0.25


def test_the_most_frequent_right_answer_of_spans():
    """ "Paris" is right in two examples of three."""
    labels = [{"text": ["Paris", "paris"]}, {"text": ["Rome"]}, {"text": ["Paris"]}]
    found = {"validation": Examples([("where", "there")] * 3, np.array(labels, dtype=object))}
    task = Task("t", ("question", "context"), metrics=("exact_match",), kind="span")
    assert chance(task, found) == pytest.approx(2 / 3)


def test_one_label_serves_all_splits():
    """Means over two splits: always 0 scores (3/4 + 0) / 2, always 1 scores (1/4 + 1) / 2."""
    both = {split: Examples([("x",)] * len(labels), np.array(labels)) for split, labels in SPLITS.items()}
    assert chance(Task("t", ("text",), ("a", "b"), validation=tuple(SPLITS)), both) == pytest.approx(5 / 8)
