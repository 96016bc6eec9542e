"""SQuAD's JSON, and the forms of answers."""

import json

import pytest

from leanformer.data import questions


def test_squad(tmp_path):
    path = tmp_path / "dev.json"
    asked = [
        {"question": "Who?", "id": "1", "answers": [{"text": "Ada", "answer_start": 0}], "is_impossible": False},
        {"question": "Why?", "id": "2", "answers": [], "plausible_answers": [], "is_impossible": True},
    ]
    path.write_text(
        json.dumps(
            {"version": "v2.0", "data": [{"title": "x", "paragraphs": [{"context": "Ada.", "qas": asked}]}]}, indent=1
        )
    )
    (_, first), (place, second) = questions.squad(path)
    assert first == {"question": "Who?", "context": "Ada.", "answers": [{"text": "Ada", "answer_start": 0}]}
    assert second == {"question": "Why?", "context": "Ada.", "answers": []}
    assert place == f"{path}, article 1, paragraph 1, question 2"


def test_other_json_is_none_of_it(tmp_path):
    for text in ('[{"text": "a"}]', '{"text": "a"}\n{"text": "b"}\n', '{"data": 5}'):
        (tmp_path / "a.json").write_text(text)
        assert questions.squad(tmp_path / "a.json") is None
    assert questions.squad(tmp_path / "a.csv") is None
    (tmp_path / "a.json").write_text('{"data": [{"title": "x"}]}')
    with pytest.raises(ValueError, match=r"a.json: not SQuAD's JSON .KeyError: 'paragraphs'.: compare"):
        questions.squad(tmp_path / "a.json")


def test_forms_of_answers():
    both = {"text": ["a", "b"], "answer_start": [3, 5]}
    assert questions.answers(both) == both
    assert questions.answers([{"text": "a", "answer_start": 3}, {"text": "b", "answer_start": 5}]) == both
    for none in (None, "", [], {"text": [], "answer_start": []}):
        assert questions.answers(none) == {"text": [], "answer_start": []}
    for wrong in ("Ada", [{"text": "a"}], ["Ada"], {"text": ["a"]}, 7):
        with pytest.raises(ValueError, match="answers are written"):
            questions.answers(wrong)
