"""Span extraction: the windows, the places of answers in them, and the best span over all of them."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from leanformer.data.examples import Examples
from leanformer.data.tokenizer import train
from leanformer.data.tokenizer_files import wrap
from leanformer.evaluation.inputs.windows import MAX_ANSWER, Windows, encode

WORDS = [f"w{i:02}" for i in range(61)]  # three characters and a space each: word k begins at character 4 k
LONG, SHORT = " ".join(WORDS[:17]), " ".join(WORDS[20:24])


def examples(*rows: tuple[str, str, int, int]) -> Examples:
    """(question, context, first word, last word) of the answer"""
    answers = [{"text": [c[4 * i : 4 * j + 3]], "answer_start": [4 * i]} for _, c, i, j in rows]
    return Examples([(question, context) for question, context, *_ in rows], np.array(answers, dtype=object))


@pytest.fixture
def make(tokenizer_of: Callable) -> Callable[..., Windows]:
    def make(*rows: tuple[str, str, int, int], max_length: int = 16) -> Windows:
        return encode(tokenizer_of(" ".join(["q", *WORDS])), examples(*rows), max_length)

    return make


def test_windows_overlap_by_a_third_and_know_their_answer(make: Callable[..., Windows]):
    """16 tokens: [CLS] q q [SEP], 11 words, [SEP]; 5 of the 11 were in the window before. Words 0-10 and 6-16."""
    encoded = make(("q q", LONG, 7, 8), ("q q", LONG, 2, 3), ("q", SHORT, 3, 3))
    assert encoded.example.tolist() == [0, 0, 1, 1, 2]
    assert encoded.lengths.tolist() == [16, 16, 16, 16, 8]
    q, words = 5, 6  # ids: five special tokens, q, then the words
    assert encoded.columns["input_ids"][1] == [2, q, q, 3, *range(words + 6, words + 17), 3]
    assert encoded.columns["token_type_ids"][1] == [0] * 4 + [1] * 12
    assert encoded.labels.tolist() == [
        [4 + 7, 4 + 8],
        [4 + 1, 4 + 2],
        [4 + 2, 4 + 3],
        [0, 0],  # words 2 and 3 are not in it: [CLS]
        [3 + 3, 3 + 3],
    ]
    assert encoded.first.tolist() == [4, 4, 4, 4, 3]
    assert encoded.offsets[1][[0, -1]].tolist() == [[24, 27], [64, 67]]
    assert encoded.truncated == 0


def test_an_answer_that_a_window_holds_in_part_is_not_in_it(make: Callable[..., Windows]):
    assert make(("q q", LONG, 5, 6)).labels.tolist() == [[9, 10], [0, 0]]
    assert make(("q q", LONG, 10, 11)).labels.tolist() == [[0, 0], [8, 9]]


def test_an_answer_inside_a_word_is_that_word(tokenizer_of: Callable):
    """ "21 w2" in "w20 w21 w22 w23" begins in its second word and ends in its third."""
    answers = np.array([{"text": ["21 w2"], "answer_start": [5]}], dtype=object)
    encoded = encode(tokenizer_of(" ".join(["q", *WORDS])), Examples([("q", SHORT)], answers), max_length=16)
    assert encoded.labels.tolist() == [[3 + 1, 3 + 2]]


def test_long_questions_are_cut_to_a_third(make: Callable[..., Windows]):
    encoded = make((" ".join(["q"] * 9), SHORT, 1, 1), ("q", SHORT, 1, 1))
    assert encoded.truncated == 1
    assert encoded.first.tolist() == [5 + 2, 1 + 2]


def test_no_room_for_windows_is_said(make: Callable[..., Windows]):
    for length in (8, 9):
        with pytest.raises(ValueError, match=rf"finetuning\.max_length = {length}: windows .* at least 10"):
            make(("q", SHORT, 1, 1), max_length=length)
    assert len(make(("q", SHORT, 1, 1), max_length=10).example) == 1


def test_the_loss_is_the_mean_of_both_ends(make: Callable[..., Windows]):
    """Start scores 0, ..., 0, log 2 at the target among 5 tokens: p = 2/6; end scores equal: p = 1/5."""
    logits = torch.zeros(1, 5, 2)
    logits[0, 3, 0] = math.log(2)
    loss = make(("q", SHORT, 1, 1)).losses(logits, torch.tensor([[3, 4]]))
    torch.testing.assert_close(loss, torch.tensor([(math.log(3) + math.log(5)) / 2]))


def test_the_best_span_over_all_windows_is_the_answer(make: Callable[..., Windows]):
    """Random scores against a search through every window, start and end."""
    context = " ".join(WORDS)
    encoded = make(("q", context, 0, 0), ("q q", SHORT, 0, 0), ("q", context, 5, 7), max_length=58)
    assert len(encoded.offsets[0]) > MAX_ANSWER + 20
    generator = np.random.default_rng(3)
    logits = [generator.normal(size=(59, 2)).astype(np.float32) for _ in encoded.example]  # padded by one or more
    logits[0][1 + 2, 0] = logits[0][2 + 1 + 45, 1] = 9  # more than 30 words apart
    logits[1][0] = logits[1][1] = 99  # on [CLS] and the question
    logits[2][-1] = 99  # on the padding
    logits[2][5, 0], logits[2][4, 1] = 9, 9  # the end before the start

    read = encoded.read(logits)

    for i, (_, text) in enumerate(encoded.examples.texts):
        best, answer = -math.inf, ""
        for row in np.flatnonzero(encoded.example == i):
            scores = logits[row][encoded.first[row] :]
            for a, (begin, _) in enumerate(encoded.offsets[row]):
                for b, (_, end) in enumerate(encoded.offsets[row]):
                    score = float(scores[a, 0]) + float(scores[b, 1])
                    if 0 <= b - a < 30 and score > best:
                        best, answer = score, text[begin:end]
        assert read.predictions[i] == answer
        assert read.scores[i] == [pytest.approx(best, abs=1e-6)]


@pytest.mark.parametrize("algorithm", ["wordpiece", "bpe", "characters"])
def test_an_answer_has_no_space_around_it(algorithm: str):
    """Byte-level BPE counts the space before a word to the word."""
    contexts = ["Anna likes tea in Paris, and Ben does not.", "Ben buys jam in Lima, and Anna does not."]
    tokenizer = wrap(train(contexts * 50, algorithm, 400, cased=True))
    answers = np.array([{"text": ["Paris"], "answer_start": [18]}, {"text": ["Lima"], "answer_start": [16]}])
    encoded = encode(tokenizer, Examples([("where", context) for context in contexts], answers), 90)
    logits = [np.zeros((len(ids), 2), np.float32) for ids in encoded.columns["input_ids"]]
    for scores, (first, last) in zip(logits, encoded.labels, strict=True):
        scores[first, 0] = scores[last, 1] = 9
    assert list(encoded.read(logits).predictions) == ["Paris", "Lima"]
