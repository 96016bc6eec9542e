"""Precision, recall and F1 of entities: by hand, and as seqeval computes them."""

import random

import pytest

from leanformer.evaluation import entities


def test_by_hand():
    """Two of three found are right, of four true ones: the third has the right type and a wrong end."""
    labels = [{"tags": ["B-A", "I-A", "O", "B-B", "O"]}, {"tags": ["B-A", "B-A", "I-A", "O"]}]
    predictions = [tuple(["B-A", "I-A", "O", "B-B", "O"]), tuple(["O", "B-A", "O", "O"])]
    assert entities.precision(labels, predictions) == pytest.approx(2 / 3)
    assert entities.recall(labels, predictions) == pytest.approx(2 / 4)
    assert entities.f1(labels, predictions) == pytest.approx(4 / 7)
    assert entities.token_accuracy(labels, predictions) == pytest.approx(7 / 9)
    assert entities.counts(labels, predictions).tolist() == [[2, 2, 2], [0, 1, 2]]


def test_nothing_to_find_and_nothing_found():
    for measure in (entities.f1, entities.precision, entities.recall):
        assert measure([{"tags": ["O"]}], [("O",)]) == 0
        assert measure([{"tags": []}], [()]) == 0


def test_as_seqeval():
    metrics = pytest.importorskip("seqeval.metrics")
    draw = random.Random(3)
    tags = ["O", "O", "B-A", "I-A", "B-B", "I-B"]
    true = [draw.choices(tags, k=draw.randint(1, 13)) for _ in range(60)]
    found = [[draw.choice([tag, tag, draw.choice(tags)]) for tag in row] for row in true]
    labels = [{"tags": row} for row in true]
    assert entities.f1(labels, found) == pytest.approx(metrics.f1_score(true, found))
    assert entities.precision(labels, found) == pytest.approx(metrics.precision_score(true, found))
    assert entities.recall(labels, found) == pytest.approx(metrics.recall_score(true, found))
    assert entities.token_accuracy(labels, found) == pytest.approx(metrics.accuracy_score(true, found))
