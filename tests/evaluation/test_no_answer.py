"""The threshold of no answer is the best one of all that can be tried."""

import numpy as np
import pytest

from leanformer.evaluation.answers import token_f1
from leanformer.evaluation.inputs.encoding import Read
from leanformer.evaluation.no_answer import best_threshold, decided, margins


def objects(values):
    found = np.empty(len(values), dtype=object)
    found[:] = values
    return found


def test_best_of_all():
    random = np.random.default_rng(3)
    for size in (1, 2, 41):
        labels = [{"text": [] if random.random() < 0.5 else ["red house"]} for _ in range(size)]
        guesses = objects([str(random.choice(["red", "red house", "dog"])) for _ in range(size)])
        scores = random.integers(0, 9, (size, 2)).astype(float)  # some margins are equal
        read = Read(guesses, scores.tolist())
        best = token_f1(labels, decided(read, best_threshold(labels, read)).predictions)
        every = [token_f1(labels, decided(read, t).predictions) for t in np.arange(-10, 10, 0.25)]
        assert best == pytest.approx(max(every))


def test_decision():
    read = Read(objects(["a", "b"]), [[3.0, 1.0], [1.0, 3.0]])
    np.testing.assert_array_equal(margins(read), [-2, 2])
    assert decided(read, 0).predictions.tolist() == ["a", ""]
    assert decided(read, 2).predictions.tolist() == ["a", "b"]
    assert read.predictions.tolist() == ["a", "b"]
