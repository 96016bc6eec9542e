"""Words as characters of a text, given, divided, and cut at spans."""

import pytest

from leanformer.data.words import joined, split, tagged

TEXT = "U.S.-based (Ada)  won €5."


def parts(text, words):
    return [text[begin:end] for begin, end in words]


def test_rules():
    assert parts(TEXT, split(TEXT, "fine")) == [*"U.S.-", "based", "(", "Ada", ")", "won", "€", "5", "."]
    assert parts(TEXT, split(TEXT, "coarse")) == ["U.S.-based", "(", "Ada", ")", "won", "€", "5", "."]
    assert split(" \n", "fine") == split("", "coarse") == []


def test_given_words_are_joined_by_spaces():
    text, places = joined(["Ada", "Love lace", "."])
    assert text == "Ada Love lace ."
    assert parts(text, places) == ["Ada", "Love lace", "."]


def test_spans_cut_words():
    text = "beta-catenin in Köln"
    words, tags = tagged(text, [(16, 20, "PLACE"), (2, 12, "GENE")])
    assert parts(text, words) == ["be", "ta", "-", "catenin", "in", "Köln"]
    assert tags == ["O", "B-GENE", "I-GENE", "I-GENE", "O", "B-PLACE"]


@pytest.mark.parametrize(
    ("spans", "message"),
    [
        ([(3, 21, "A")], "the span 3 to 21 .A. is not in the text of 20 characters"),
        ([(5, 5, "A")], "the span 5 to 5"),
        ([(0, 4, "A"), (3, 6, "B")], "two spans overlap at character 3 .A, B."),
        ([(12, 13, "A")], "the span 12 to 13 .A. holds only white space"),
    ],
)
def test_wrong_spans(spans, message):
    with pytest.raises(ValueError, match=message):
        tagged("beta-catenin in Köln", spans)
