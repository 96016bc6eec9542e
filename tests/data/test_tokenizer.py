import os
import subprocess
import sys
import unicodedata

import numpy as np
import pytest
from tokenizers import Tokenizer

from leanformer.data import encoding
from leanformer.data import tokenizer as module
from leanformer.data.tokenizer import ALGORITHMS, SPECIAL, train

TEXTS = [
    "The cat sat on the mat. " * 20,
    "Élan, naïve café? " * 20,
    "the thing, the other thing " * 20,
    "日本 語 " * 20,
]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_special_tokens_come_first_and_wrap_one_text_or_two(algorithm):
    tokenizer = train(TEXTS, algorithm, 300)
    assert [tokenizer.id_to_token(i) for i in range(5)] == list(SPECIAL)
    pair = tokenizer.encode("the cat", "the mat")
    one, two = (
        tokenizer.encode("the cat", add_special_tokens=False),
        tokenizer.encode("the mat", add_special_tokens=False),
    )
    assert pair.ids == [2, *one.ids, 3, *two.ids, 3]
    assert pair.type_ids == [0] * (len(one) + 2) + [1] * (len(two) + 1)
    assert tokenizer.encode("the [MASK]").ids[-2:] == [4, 3]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_is_encoded_can_be_read_again(algorithm):
    tokenizer = train(TEXTS, algorithm, 300)
    assert tokenizer.decode(tokenizer.encode("the other cat").ids) == "the other cat"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_ids_have_no_gaps_and_keep_to_the_size(algorithm):
    tokenizer = train(TEXTS, algorithm, 290)
    ids = sorted(tokenizer.get_vocab().values())
    assert ids == list(range(len(ids))) and len(ids) <= 290


def test_the_size_asked_for_is_met_where_the_text_has_the_pieces(text):
    for algorithm in ("wordpiece", "bpe"):
        assert train([text], algorithm, 503).get_vocab_size() == 503


def test_wordpiece_knows_frequent_words_whole_and_spells_the_others(text):
    tokenizer = train([text], "wordpiece", 503)
    assert tokenizer.encode("Elizabeth", add_special_tokens=False).tokens == ["elizabeth"]
    pieces = tokenizer.encode("zebra", add_special_tokens=False).tokens
    assert "".join(piece.removeprefix("##") for piece in pieces) == "zebra" and pieces[1].startswith("##")
    assert "[UNK]" not in pieces


def test_no_piece_is_wasted_on_what_only_begins_a_word(text):
    vocabulary = train([text], "wordpiece", 503).get_vocab()
    assert {".", ",", "##a"} < set(vocabulary)
    assert not {"##.", "##,", '##"', "##-"} & set(vocabulary)


def test_wordpiece_makes_about_as_few_tokens_as_the_librarys_trainer(text):
    from tokenizers import models, normalizers, pre_tokenizers, trainers

    theirs = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    theirs.normalizer, theirs.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    theirs.train_from_iterator(
        [text], trainers.WordPieceTrainer(vocab_size=503, special_tokens=list(SPECIAL), show_progress=False)
    )
    ours = train([text], "wordpiece", 503)
    assert len(ours.encode(text)) < 1.01 * len(theirs.encode(text))


def test_uncased_by_default_cased_on_request():
    for algorithm in ALGORITHMS:
        uncased, cased = train(TEXTS, algorithm, 300), train(TEXTS, algorithm, 300, cased=True)
        assert uncased.encode("THE").ids == uncased.encode("the").ids
        assert cased.encode("THE").ids != cased.encode("the").ids
    assert train(TEXTS, "wordpiece", 300).encode("Élan").ids == train(TEXTS, "wordpiece", 300).encode("elan").ids


def test_characters_are_tokens_one_by_one():
    tokenizer = train(TEXTS, "characters", 300)
    assert tokenizer.encode("Thé\ncat", add_special_tokens=False).tokens == list("the cat")
    characters = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().__getitem__)[5:]
    assert characters == sorted(characters)


def test_rare_characters_are_unknown_and_the_rarest_go_first():
    texts = ["ab" * 50_000 + "c" * 7 + "d"]
    tokenizer = train(texts, "characters", 300)
    assert set(tokenizer.get_vocab()) == {*SPECIAL, "a", "b"}
    assert tokenizer.encode("abcd", add_special_tokens=False).ids == [5, 6, 1, 1]
    assert set(train(["aaabbc " * 9], "characters", 9).get_vocab()) == {*SPECIAL, "a", "b", " ", "c"}


def test_bytes_are_never_unknown():
    tokenizer = train(TEXTS, "bpe", 300)
    assert 1 not in tokenizer.encode("zebra ∮ 𝔘 한").ids
    assert tokenizer.decode(tokenizer.encode("zebra ∮ 𝔘 한").ids) == "zebra ∮ 𝔘 한".lower()


def test_the_same_text_gives_the_same_bytes_in_another_process(text, tmp_path):
    """With another hash seed and number of threads, on which the library's WordPiece trainer depends."""
    (tmp_path / "text").write_text(text, encoding="utf-8")
    code = (
        "import sys; from leanformer.data.tokenizer import ALGORITHMS, train;"
        "text = open(sys.argv[1], encoding='utf-8').read().split('\\n');"
        "print(*(train(text, algorithm, 997).to_str() for algorithm in ALGORITHMS), sep='\\n')"
    )
    environment = os.environ | {"PYTHONHASHSEED": "1", "RAYON_NUM_THREADS": "3", "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, "-c", code, str(tmp_path / "text")]
    theirs = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", check=True).stdout
    assert theirs.splitlines() == [train(text.split("\n"), algorithm, 997).to_str() for algorithm in ALGORITHMS]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_training_again_gives_the_same_bytes(algorithm, text):
    assert len({train(text.split("\n"), algorithm, 997).to_str() for _ in range(4)}) == 1


def test_the_order_of_the_text_does_not_matter_to_wordpiece(text):
    lines = text.split("\n")
    assert train(lines, "wordpiece", 503).to_str() == train(lines[::-1], "wordpiece", 503).to_str()


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match="unknown tokenizer algorithm 'wordpeice'; did you mean 'wordpiece'"):
        train(TEXTS, "wordpeice", 300)
    with pytest.raises(ValueError, match="vocab_size = 260: bpe needs at least 261"):
        train(TEXTS, "bpe", 260)
    with pytest.raises(ValueError, match="vocab_size = 3: wordpiece needs at least"):
        train(TEXTS, "wordpiece", 3)


THAI = "ฉันชอบดื่มชาในตอนเช้าเพราะมันทำให้ฉันมีความสุขและพร้อมสำหรับวันใหม่"


def pieces_of(tokenizer, text):
    return "".join(tokenizer.encode(text, add_special_tokens=False).tokens).replace("##", "")


def test_a_script_without_spaces_loses_nothing():
    """The tokens spell the text, in the library alone as well, and no word is cut before a vowel sign."""
    tokenizer = Tokenizer.from_str(train([THAI * 9], "wordpiece", 300, cased=True).to_str())
    text = THAI * 7
    assert len(text) > 400 and pieces_of(tokenizer, text) == text
    starts = [token[0] for token in tokenizer.encode(text, add_special_tokens=False).tokens if token[:2] != "##"]
    assert len(starts) > 3 and not [c for c in starts if unicodedata.category(c).startswith("M")]
    marks = "a" + "\u0323" * 450
    assert pieces_of(train([marks + " b"] * 3, "wordpiece", 300, cased=True), marks) == marks


def test_characters_come_before_pieces_whatever_the_size():
    """A quarter of 200 places would hold half of these characters."""
    characters = [chr(code) for code in range(0x0985, 0x0985 + 180) if chr(code).isalpha()][:90]
    text = " ".join(characters) + " " + "".join(reversed(characters[:40]))
    tokenizer = train([text] * 3, "wordpiece", 200, cased=True)
    assert "[UNK]" not in tokenizer.encode(text).tokens and set(characters) <= set(tokenizer.get_vocab())


@pytest.mark.parametrize("algorithm, needed", [("wordpiece", 5 + 3 + 8), ("characters", 5 + 9)])
def test_a_vocabulary_too_small_for_its_characters_says_which_size_would_do(algorithm, needed):
    """Eight letters, of which WordPiece needs another three for the insides of words, or eight and the space."""
    lines = []
    texts = ["ab ac ad e f g h "] * 3
    train(texts, algorithm, needed, warn=lines.append)
    assert not lines and "[UNK]" not in train(texts, algorithm, needed).encode(texts[0]).tokens
    train(texts, algorithm, needed - 1, warn=lines.append)
    assert len(lines) == 1 and f"--vocab-size {needed} would hold them all" in lines[0]


@pytest.mark.parametrize("algorithm", ["wordpiece", "characters"])
@pytest.mark.parametrize(
    "text", ["Die Tür ist größer als zuvor", "Tiếng Việt có dấu", "हिन्दी में लिखी हुई किताब", "й ё Й"]
)
def test_accents_are_kept_on_request(algorithm, text):
    tokenizer = train([text + " "] * 9, algorithm, 300, keep_accents=True)
    for form in ("NFC", "NFD"):
        ids = tokenizer.encode(unicodedata.normalize(form, text)).ids
        assert tokenizer.decode(ids) == unicodedata.normalize("NFC", text.lower())
    assert train([text] * 9, algorithm, 300).decode(train([text] * 9, algorithm, 300).encode(text).ids) != text.lower()


def test_words_that_come_one_by_one_get_the_tokens_of_running_text():
    for algorithm in ("wordpiece", "bpe"):
        tokenizer = train(["Anna likes tea in Paris."] * 50, algorithm, 400, cased=True)
        words = tokenizer.encode(["Anna", "likes", "tea"], is_pretokenized=True, add_special_tokens=False)
        assert words.ids == tokenizer.encode("Anna likes tea", add_special_tokens=False).ids


def test_no_space_comes_behind_a_mask_in_the_middle_of_a_text():
    tokenizer = train(["Anna likes tea."] * 50, "bpe", 400, cased=True)
    assert tokenizer.encode("Anna likes [MASK].", add_special_tokens=False).tokens[-1] == "."


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("text", ["x" * 300_000, "ab " * 100_000, " " * 300_000])
def test_a_text_of_one_word_takes_no_more_than_another(algorithm, text, monkeypatch):
    """The library sees no text longer than LONGEST, and no word longer than it can bear."""
    monkeypatch.setattr(encoding, "LONGEST", 10_000)
    monkeypatch.setattr(module, "LONGEST", 10_000)
    tokenizer = train([text], algorithm, 300)
    (ids,) = encoding.encoder(tokenizer, np.dtype(np.uint16))([text])
    assert 1 not in np.frombuffer(ids, np.uint16)
    decoded = tokenizer.decode(np.frombuffer(ids, np.uint16).tolist())
    assert decoded.replace(" ", "") == text.replace(" ", "")
