"""Simple methods on examples whose best answers are known, and the verdict between them and a model."""

import numpy as np
import pytest

from leanformer.data.examples import Examples
from leanformer.data.tasks import Task
from leanformer.evaluation import baselines
from leanformer.evaluation.metrics import Predicted

CLASSES = Task("x", ("text",), ("bad", "fair", "good"))


def objects(values):
    found = np.empty(len(values), dtype=object)
    found[:] = values
    return found


def texts(values):
    return [(f"this is {value} indeed {i}",) for i, value in enumerate(values)]


def test_classes():
    labels = np.array([0, 2, 2, 1] * 20)
    train = Examples(texts(np.array(CLASSES.labels)[labels]), labels)
    new = Examples([("a good one",), ("bad",), ("unknown",)], np.array([2, 0, 1]))
    found = baselines.predict(CLASSES, train, {"validation": new}, balanced=False)["validation"]
    assert found["always 'good'"].tolist() == [2, 2, 2]
    assert found["TF-IDF with logistic regression"].tolist()[:2] == [2, 0]


def test_pairs_have_their_own_columns():
    """Whether "yes" is in the first or the second text decides."""
    task = Task("x", ("a", "b"), ("first", "second"))
    train = Examples([("yes", "no"), ("no", "yes")] * 10, np.array([0, 1] * 10))
    found = baselines.predict(task, train, {"test": train}, balanced=True)["test"]
    assert found["TF-IDF with logistic regression"].tolist() == train.labels.tolist()


def test_several_labels():
    task = Task("x", ("text",), ("a", "b", "c"), ("micro_f1",), kind="multi_label")
    labels = np.array([[1, 0, 1], [1, 1, 1], [1, 0, 0]] * 9)  # every row has a
    train = Examples(texts(["one", "two", "three"] * 9), labels)
    found = baselines.predict(task, train, {"validation": train}, balanced=False)["validation"]
    assert found["always the most frequent labels"].tolist() == [[1, 0, 1]] * 27
    assert found["TF-IDF with logistic regression"].tolist() == labels.tolist()
    rare = train._replace(labels=np.array([[0, 0, 1], [0, 0, 0], [0, 0, 0]] * 9))
    found = baselines.predict(task, rare, {"validation": train}, balanced=False)["validation"]
    assert found["always the most frequent labels"].tolist() == [[0, 0, 1]] * 27


def test_numbers():
    task = Task("x", ("text",), (), ("pearson",))
    values = np.array([1.0, 5.0] * 20)
    train = Examples(texts(["low", "high"] * 20), values)
    found = baselines.predict(task, train, {"validation": train}, balanced=False)["validation"]
    assert found["always the mean"].tolist() == [3.0] * 40
    assert np.corrcoef(found["TF-IDF with ridge regression"], values)[0, 1] > 0.95


def test_words():
    """Ada is PER two times out of three, and an unknown word is outside."""
    task = Task("x", ("text",), ("O", "B-PER"), ("entity_f1",), kind="token_classification")

    def label(*tags):
        return {"words": [(4 * i, 4 * i + 3) for i in range(len(tags))], "tags": list(tags)}

    train = Examples([("Ada was",)] * 3, objects([label("B-PER", "O"), label("B-PER", "O"), label("O", "O")]))
    new = Examples([("was Eva Ada",)], objects([label("O", "B-PER", "O")]))
    found = baselines.predict(task, train, {"validation": new}, balanced=False)
    assert found["validation"]["most frequent tag per word"].tolist() == [("O", "O", "B-PER")]


def test_questions():
    task = Task("x", ("q", "c"), (), ("exact_match", "token_f1"), kind="span", unanswerable=True)
    none, some = {"text": [], "answer_start": []}, {"text": ["Ada", "Ada"], "answer_start": [0, 0]}
    for labels, name, answer in (
        ([none, none, some], "never an answer", ""),
        ([some, some, none], "always 'Ada'", "Ada"),
    ):
        part = Examples([("q", "Ada")] * 3, objects(labels))
        found = baselines.predict(task, part, {"validation": part}, balanced=False)["validation"]
        assert {key: value.tolist() for key, value in found.items()} == {name: [answer] * 3}


def test_texts_without_a_word_have_the_constant_alone():
    train = Examples([("!",), ("?",)] * 5, np.array([0, 1] * 5))
    found = baselines.predict(CLASSES, train, {"validation": train}, balanced=False)["validation"]
    assert list(found) == ["always 'bad'"]


@pytest.mark.parametrize(
    ("right", "verdict", "sentence"),
    [
        (95, "better", "the model is better than simple: accuracy +0.200 [+0."),
        (55, "not better", "the model is not better than simple, which costs seconds: accuracy -0.200 [-0."),
        (77, "undecided", "it is undecided whether the model is better than simple: accuracy +0.020 [-"),
    ],
)
def test_verdicts(right, verdict, sentence):
    """Of 100 examples, the baseline has 75 right, evenly among those that the model has right and wrong."""
    labels = np.zeros(100, dtype=int)
    simple = (np.arange(100) % 4 == 0).astype(int)
    ours = Predicted(labels, (np.arange(100) >= right).astype(int))
    found = baselines.beside(CLASSES, ours, {"worse": np.ones(100, dtype=int), "simple": simple})
    assert found["best"] == "simple"
    assert found["verdict"] == verdict
    assert found["sentence"].startswith(sentence)
    assert [(system["system"], system["accuracy"]) for system in found["systems"]] == [
        ("this model", right / 100),
        ("worse", 0),
        ("simple", 0.75),
    ]
    for system in found["systems"]:
        assert system["low"] <= system["score"] <= system["high"]


def test_a_model_with_the_answers_of_a_baseline_is_not_better():
    labels, simple = np.zeros(100, dtype=int), (np.arange(100) % 4 == 0).astype(int)
    found = baselines.beside(CLASSES, Predicted(labels, simple), {"simple": simple})
    assert (found["verdict"], found["interval"]) == ("not better", [0, 0])
