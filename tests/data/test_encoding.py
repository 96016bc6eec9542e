import random

import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer, normalizers

from leanformer.data import encoding
from leanformer.data.encoding import Encoding, Words, encoded, encoder, standing_alone
from leanformer.data.tokenizer import ALGORITHMS, train
from leanformer.data.vocabulary import Vocabulary

U16 = np.dtype(np.uint16)
NASTY = (
    " \n\t\r\0\x0b\x0c\x1c\x1f\x85\xa0\u2028\u3000\u200b\u0301\u0327.,\"'-():;!aB"
    "éÉßİıΣςσﬁ中文日本한가힣กำ[SEP]##_\ue000\ufffd\U0001f600\U0001d400"
)


def library(tokenizer, texts):
    tokenizer = Tokenizer.from_str(tokenizer.to_str())
    tokenizer.encode_special_tokens = True
    return [encoding.ids for encoding in tokenizer.encode_batch(texts, add_special_tokens=False)]


def ours(tokenizer, texts, dtype=U16):
    return [np.frombuffer(ids, dtype).tolist() for ids in encoder(tokenizer, dtype)(texts)]


def nasty(number):
    draw = random.Random(0)
    for _ in range(number):
        yield "".join(
            draw.choice(NASTY) if draw.random() < 0.8 else chr(draw.choice((draw.randrange(32, 0x3000), 0x1F000)))
            for _ in range(29)
        )


@pytest.mark.parametrize("cased", [False, True])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_ids_are_the_librarys(algorithm, cased, text):
    tokenizer = train([text], algorithm, 503, cased=cased)
    texts = [*text.split("\n"), *nasty(3001), "", " ", "a  b", " a\n\nb "]
    assert ours(tokenizer, texts) == library(tokenizer, texts)


def test_forgetting_words_changes_nothing(text, monkeypatch):
    monkeypatch.setattr(encoding, "REMEMBERED", 50)
    tokenizer = train([text], "wordpiece", 503)
    encode = encoder(tokenizer, U16)
    assert isinstance(encode, Words)
    lines = text.split("\n")[:40]
    assert [np.frombuffer(encode([line])[0], U16).tolist() for line in lines] == library(tokenizer, lines)
    assert sum(map(len, encode.known)) < 5000


def test_text_that_looks_like_a_special_token_is_text(text):
    tokenizer = train([text + " [SEP]"], "characters", 100)
    (ids,) = ours(tokenizer, ["a[SEP][MASK]"])
    assert not {2, 3, 4} & set(ids) and len(ids) == 12


def test_word_by_word_only_where_it_is_known_to_be_right(text):
    assert standing_alone(train([text], "wordpiece", 503)) == encoding.PUNCTUATION
    assert standing_alone(train([text], "characters", 503)) == ""
    assert standing_alone(train([text], "bpe", 503)) is None
    other = train([text], "wordpiece", 503)
    other.normalizer = normalizers.NFKC()
    assert standing_alone(other) is None
    other = train([text], "wordpiece", 503)
    other.add_tokens([AddedToken("New York")])
    assert standing_alone(other) is None


def test_large_vocabularies_take_four_bytes(text):
    tokenizer = train([text], "wordpiece", 503)
    assert ours(tokenizer, [text], np.dtype(np.uint32)) == library(tokenizer, [text])


def test_truncation_and_padding_of_a_given_tokenizer_do_not_touch_the_corpus(text):
    tokenizer = train([text], "wordpiece", 503)
    whole = library(tokenizer, [text, "a"])
    tokenizer.enable_truncation(5)
    tokenizer.enable_padding()
    assert ours(tokenizer, [text, "a"]) == whole


def test_documents_are_wrapped_and_empty_ones_left_out(text, monkeypatch):
    monkeypatch.setattr(encoding, "BATCH", 3)
    tokenizer = train([text], "characters", 503)
    vocabulary = Vocabulary(503, (0, 1, 2, 3, 4), pad_id=0, unk_id=1, cls_id=2, sep_id=3, mask_id=4)
    ids = [
        np.frombuffer(d, U16).tolist()
        for d in encoded(["ab", "\x01", "c", "ab"], Encoding.of(tokenizer, vocabulary, U16))
    ]
    a, b, c = (tokenizer.token_to_id(x) for x in "abc")
    assert ids == [[2, a, b, 3], [2, c, 3], [2, a, b, 3]]


def test_long_texts_are_encoded_in_parts_with_the_same_ids(text, monkeypatch):
    for algorithm in ALGORITHMS:
        tokenizer = train([text], algorithm, 503)
        expected = library(tokenizer, [text, "", "short"])
        monkeypatch.setattr(encoding, "LONGEST", 997)
        assert ours(tokenizer, [text, "", "short"]) == expected
        monkeypatch.undo()


def test_parts_are_cut_before_a_single_space(monkeypatch):
    monkeypatch.setattr(encoding, "LONGEST", 9)
    assert encoding.parts("one two three four") == ["one two", " three", " four"]
    assert encoding.parts("a" * 19) == ["a" * 9, "a" * 9, "a"] and encoding.parts("") == [""]
