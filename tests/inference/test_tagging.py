"""Entities with their characters, from texts and from given words."""

import pytest

from leanformer.data.tasks import Task
from leanformer.inference import tagging


def task(words: str, labels=("O", "B-PER", "I-PER")) -> Task:
    return Task("x", ("text",), labels, ("token_accuracy",), kind="token_classification", words=words)


def test_a_text_is_divided_as_in_training():
    fine = tagging.read(task("fine"), "Ada-Lovelace wrote.", "text")
    coarse = tagging.read(task("coarse"), "Ada-Lovelace wrote.", "text")
    assert fine.words == [(0, 3), (3, 4), (4, 12), (13, 18), (18, 19)]
    assert coarse.words == [(0, 12), (13, 18), (18, 19)]
    assert not fine.given
    assert coarse.blank(task("coarse")) == {"words": coarse.words, "tags": ["O"] * 3}


def test_entities():
    text = tagging.read(task("coarse"), "Yes, Ada  Lovelace wrote.", "text")
    tags = ["O", "O", "B-PER", "I-PER", "O", "O"]
    found = tagging.answer(task("coarse"), "text", text, tags, [0.9, 0.9, 0.5, 0.7, 0.9, 0.9])
    (entity,) = found["entities"]
    assert entity.pop("score") == pytest.approx(0.6)
    assert entity == {"start": 5, "end": 18, "label": "PER", "text": "Ada  Lovelace"}
    assert found.keys() == {"entities"}


def test_given_words_are_joined_and_tagged():
    for value in (["Ada", "wrote"], '["Ada", "wrote"]'):
        text = tagging.read(task("coarse"), value, "tokens")
        found = tagging.answer(task("coarse"), "tokens", text, ["B-PER", "O"], [0.5, 1.0])
        assert found == {
            "tokens": "Ada wrote",
            "tags": ["B-PER", "O"],
            "entities": [{"start": 0, "end": 3, "label": "PER", "text": "Ada", "score": 0.5}],
        }
    assert tagging.read(task("fine"), '["Ada"]', "text").text == '["Ada"]'  # a model of spans reads texts


def test_classes_of_words():
    speech = task("coarse", ("NOUN", "VERB"))
    text = tagging.read(speech, "Ada wrote", "text")
    found = tagging.answer(speech, "text", text, ["NOUN", "VERB"], [0.5, 1.0])
    assert [(one["start"], one["end"], one["label"]) for one in found["words"]] == [(0, 3, "NOUN"), (4, 9, "VERB")]


def test_no_text():
    with pytest.raises(ValueError, match="text is dict, not text"):
        tagging.read(task("fine"), {}, "text")
