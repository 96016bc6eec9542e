"""Sentences of CoNLL files."""

import gzip

import pytest

from leanformer.data import conll

TEXT = """-DOCSTART- -X- -X- O

# sent_id = 3
EU NNP B-ORG
rejects VBZ O
#tag NN O

Peter NNP B-PER
"""


def test_sentences_and_their_lines(tmp_path):
    path = tmp_path / "news.CONLL.gz"
    path.write_bytes(gzip.compress(TEXT.replace("\n", "\r\n").encode()))
    assert list(conll.read(path)) == [
        (f"{path}, line 4", {"tokens": ["EU", "rejects", "#tag"], "tags": ["B-ORG", "O", "O"]}),
        (f"{path}, line 8", {"tokens": ["Peter"], "tags": ["B-PER"]}),
    ]


def test_a_tab_leaves_spaces_in_words(tmp_path):
    path = tmp_path / "a.bio"
    path.write_text("New York\tB-LOC\n5 000\tO")
    ((_, row),) = conll.read(path)
    assert row == {"tokens": ["New York", "5 000"], "tags": ["B-LOC", "O"]}


def test_a_word_without_a_tag(tmp_path):
    path = tmp_path / "a.iob"
    path.write_text("EU B-ORG\nrejects\n")
    with pytest.raises(
        ValueError, match=r"a.iob, line 2: one column, but a word and its tag are expected: add the tag"
    ):
        list(conll.read(path))
    ((_, row),) = conll.read(path, tagged=False)
    assert row["tokens"] == ["EU", "rejects"]
