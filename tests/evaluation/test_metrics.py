"""Metrics against values worked out by hand, and against scikit-learn, scipy and torchmetrics."""

import math

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sklearn_metrics
from torchmetrics.functional.text import squad

from leanformer.data import tasks
from leanformer.data.tasks import ERRORS, KINDS, Task, task
from leanformer.evaluation.metrics import GROUPED, METRICS, Predicted, of_text, score

LABELS = np.array([1, 1, 1, 1, 0, 0, 0])
GUESSES = np.array([1, 1, 1, 0, 1, 0, 0])  # 3 true positives, 1 false negative, 1 false positive, 2 true negatives
BY_HAND = {
    "accuracy": 5 / 7,
    "f1": 2 * 3 / (2 * 3 + 1 + 1),
    "macro_f1": (6 / 8 + 4 / 6) / 2,
    "matthews": (3 * 2 - 1 * 1) / math.sqrt(4 * 4 * 3 * 3),
}


def references(*answers: list[str]) -> np.ndarray:
    return np.array([{"text": texts, "answer_start": [0] * len(texts)} for texts in answers], object)


@pytest.mark.parametrize("name", BY_HAND)
def test_classification_metrics_by_hand(name: str):
    assert METRICS[name](LABELS, GUESSES) == pytest.approx(BY_HAND[name], abs=1e-12)


def test_correlations_by_hand():
    labels, outputs = np.array([0.0, 1.0, 2.0, 5.0]), np.array([1.0, 3.0, 2.0, 10.0])
    # deviations (-2, -1, 0, 3) and (-3, -1, -2, 6): covariance 25, variances 14 and 50; ranks 1234 and 1324
    assert METRICS["pearson"](labels, outputs) == pytest.approx(25 / math.sqrt(14 * 50), abs=1e-12)
    assert METRICS["spearman"](labels, outputs) == pytest.approx(1 - 6 * 2 / (4 * 15), abs=1e-12)


def test_a_question_counts_when_all_its_answers_are_right():
    groups = np.array([0, 1, 2, 0, 1, 0, 3])
    labels, guesses = np.array([1, 0, 0, 0, 1, 1, 1]), np.array([1, 0, 1, 0, 1, 0, 1])
    # right: 1 1 0 1 1 0 1; question 0 has 1 1 0, question 1 has 1 1, question 2 has 0, question 3 has 1
    assert GROUPED["em"](labels, guesses, groups) == 2 / 4
    f1 = 2 * 3 / (2 * 3 + 1 + 1)  # 3 true positives, 1 false positive, 1 false negative
    assert score(task("multirc"), {"validation": Predicted(labels, guesses, groups)}) == {
        "score": pytest.approx((f1 + 0.5) / 2),
        "metrics": {"f1": pytest.approx(f1), "em": 0.5},
        "collapsed": False,
    }


def test_right_questions_equal_a_count_one_by_one():
    generator = np.random.default_rng(5)
    labels, guesses = generator.integers(0, 2, (2, 97))
    groups = np.unique(generator.integers(0, 53, 97), return_inverse=True)[1]
    right = [(labels[groups == g] == guesses[groups == g]).all() for g in range(groups.max() + 1)]
    assert 0 < np.mean(right) < 1
    assert GROUPED["em"](labels, guesses, groups) == pytest.approx(np.mean(right), abs=1e-12)


def test_texts_are_compared_as_squad_does():
    """Case, punctuation and articles do not count, and the best of several right answers does."""
    labels = references(["308 points"], ["Cat"], ["north", "the far north"], ["x"])
    guesses = np.array(["The 308", "the cat!", "far north east", "y"], object)
    # F1: 2 (1/1) (1/2) / (3/2) = 2/3;  1;  best of 1/2 and 2 (2/3) (2/2) / (5/3) = 4/5;  0
    assert METRICS["exact_match"](labels, guesses) == pytest.approx(1 / 4, abs=1e-6)
    assert METRICS["token_f1"](labels, guesses) == pytest.approx((2 / 3 + 1 + 4 / 5 + 0) / 4, abs=1e-6)
    assert score(task("squad"), {"validation": Predicted(labels, guesses)})["collapsed"] is False
    assert score(task("squad"), {"validation": Predicted(labels, np.array(["x"] * 4, object))})["collapsed"] is True


def test_texts_are_scored_as_torchmetrics_scores_them():
    """Random texts of few words; many are equal but for case, articles and punctuation, or have no word left."""
    generator = np.random.default_rng(11)
    known = [
        "the",
        "a",
        "An",
        "cat",
        "Cat",
        "cat's",
        "sat",
        "north-east",
        "308",
        "...",
        "\u2019",
        "\u00e9t\u00e9",
        "\u5317",
        "\n",
        "",
    ]
    texts = lambda: " ".join(generator.choice(known, generator.integers(0, 5)))  # noqa: E731
    labels = references(*([texts() for _ in range(generator.integers(1, 4))] for _ in range(997)))
    guesses = np.array([texts() for _ in labels], object)
    asked = [{"id": str(row), "answers": label} for row, label in enumerate(labels)]
    expected = squad([{"id": str(row), "prediction_text": guess} for row, guess in enumerate(guesses)], asked)
    assert METRICS["exact_match"](labels, guesses) == pytest.approx(float(expected["exact_match"]) / 100, abs=1e-6)
    assert METRICS["token_f1"](labels, guesses) == pytest.approx(float(expected["f1"]) / 100, abs=1e-6)
    for label, guess in zip(labels[:97], guesses[:97], strict=True):
        one = squad([{"id": "0", "prediction_text": guess}], [{"id": "0", "answers": label}])
        found = {"exact_match": float(one["exact_match"]) / 100, "token_f1": float(one["f1"]) / 100}
        assert of_text(label, guess) == pytest.approx(found, abs=1e-6)


def test_metrics_equal_the_libraries_on_random_predictions():
    generator = np.random.default_rng(7)
    labels, guesses = generator.integers(0, 2, (2, 101))
    for name, peer in (
        ("accuracy", sklearn_metrics.accuracy_score),
        ("f1", sklearn_metrics.f1_score),
        ("matthews", sklearn_metrics.matthews_corrcoef),
    ):
        assert METRICS[name](labels, guesses) == peer(labels, guesses)
    numbers, outputs = generator.normal(size=(2, 101))
    assert METRICS["pearson"](numbers, outputs) == stats.pearsonr(numbers, outputs)[0]
    assert METRICS["spearman"](numbers, outputs) == stats.spearmanr(numbers, outputs)[0]


def test_every_metric_a_task_may_name_exists():
    assert set(METRICS) | set(GROUPED) == {metric for metrics in (*KINDS.values(), ERRORS) for metric in metrics}


@pytest.mark.parametrize("name", tasks.names())
def test_perfect_predictions_score_one(name: str):
    of = task(name)
    labels = np.array([0.5, 1.5, 3.0]) if of.kind == "regression" else np.arange(len(of.labels))
    predicted = Predicted(labels, labels, np.zeros(len(labels), np.int64))
    if of.kind == "span":
        predicted = Predicted(references(["a fox"], ["two", "2"]), np.array(["fox", "2"], object))
    scored = score(of, {split: predicted for split in of.validation})
    assert scored["score"] == pytest.approx(1)
    assert not scored["collapsed"]


@pytest.mark.parametrize("metric", ["matthews", "f1", "macro_f1", "pearson", "spearman"])
@pytest.mark.parametrize("labels", [[0, 1, 1, 0], [0, 0, 0, 0]])
def test_constant_predictions_are_flagged_and_never_nan(metric: str, labels: list[int]):
    regression = metric in KINDS["regression"]
    of = Task("mine", ("text",), () if regression else ("no", "yes"), (metric,))
    predictions = np.full(4, 2.7, np.float32) if regression else np.zeros(4, np.int64)
    scored = score(of, {"validation": Predicted(np.array(labels), predictions)})
    assert scored["collapsed"] is True
    if metric != "macro_f1":
        assert scored["metrics"][metric] == 0.0


def test_numbers_that_differ_by_rounding_are_constant():
    outputs = np.float32(2.7) + np.array([0, 1, -1, 1], np.float32) * np.spacing(np.float32(2.7))
    of = task("stsb")
    scored = score(of, {"validation": Predicted(np.array([0.0, 1.0, 2.0, 3.0]), outputs)})
    assert scored == {"score": 0.0, "metrics": {"pearson": 0.0, "spearman": 0.0}, "collapsed": True}


def test_two_metrics_or_two_splits_are_averaged_and_named():
    half = Predicted(np.array([0, 1]), np.array([0, 0]))
    whole = Predicted(np.array([0, 1]), np.array([0, 1]))
    assert score(task("mrpc"), {"validation": whole})["metrics"] == {"accuracy": 1.0, "f1": 1.0}
    assert score(task("mnli"), {"validation_matched": half, "validation_mismatched": whole}) == {
        "score": 0.75,
        "metrics": {"accuracy_matched": 0.5, "accuracy_mismatched": 1.0},
        "collapsed": True,
    }
    assert score(task("mnli"), {"validation_matched": half})["metrics"] == {"accuracy_matched": 0.5}
