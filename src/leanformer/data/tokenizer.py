"""Training a tokenizer, with ids that are the same every time.

    wordpiece     BERT's: words, split at white space and punctuation, then the longest known pieces, "##" inside a word
    bpe           byte-level BPE: no character is ever unknown
    characters    one token a character, the space included: for tiny models

All are uncased unless asked otherwise (WordPiece and characters then drop accents too, as BERT does), begin with
[PAD] [UNK] [CLS] [SEP] [MASK] as ids 0 to 4, and wrap what they encode as [CLS] A [SEP] or [CLS] A [SEP] B [SEP].

The WordPiece trainer of the `tokenizers` library numbers its "##" characters in the order of a randomly seeded hash
table and breaks ties between equally frequent pairs by number, so ids, and at times pieces, change from run to run. Its
BPE trainer sorts the alphabet first and is deterministic. So WordPiece is learned here as BPE of marked words,

    marked piece -> piece,    other piece -> "##" piece

in the order of the merges, after the sorted characters. That is what WordPiece training is: BPE inside words.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import accumulate

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from leanformer.data.encoding import PUNCTUATION, words
from leanformer.spelling import suggest

ALGORITHMS = ("wordpiece", "bpe", "characters")

PAD, UNK, CLS, SEP, MASK = SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
COVERAGE = 0.9999
"""The most frequent characters that make up this share of the text are known; the others become [UNK]."""
MIN_FREQUENCY = 2
LONGEST_WORD = 100
"""Longer words are [UNK] to WordPiece."""
MARK = "\ue000"
"""Put before a word for training. A private-use character: BERT's normalisation removes it from text."""


def train(texts: Sequence[str], algorithm: str, vocab_size: int, *, cased: bool = False) -> Tokenizer:
    """A tokenizer of at most vocab_size ids (fewer where the text has no more pieces that occur twice)."""
    if algorithm not in ALGORITHMS:
        raise ValueError(f"unknown tokenizer algorithm {algorithm!r}; {suggest(algorithm, ALGORITHMS)}")
    least = len(SPECIAL) + (256 if algorithm == "bpe" else 4)
    if vocab_size < least:
        raise ValueError(f"vocab_size = {vocab_size}: {algorithm} needs at least {least}")
    tokenizer = {"wordpiece": _wordpiece, "bpe": _bpe, "characters": _characters}[algorithm](texts, vocab_size, cased)
    # A word to fill in brings its space along in byte-level BPE: "a [MASK]" must leave room for " b".
    tokenizer.add_special_tokens([*SPECIAL[:-1], AddedToken(MASK, special=True, lstrip=algorithm == "bpe")])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{CLS} $A {SEP}",
        pair=f"{CLS} $A {SEP} $B:1 {SEP}:1",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in (CLS, SEP)],
    )
    return tokenizer


def _wordpiece(texts: Sequence[str], vocab_size: int, cased: bool) -> Tokenizer:
    normalizer = normalizers.BertNormalizer(lowercase=not cased)
    splitter = pre_tokenizers.BertPreTokenizer()
    counts: Counter[str] = Counter()
    for text, times in _words(texts, PUNCTUATION).items():
        for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)):
            counts[word] += times
    alphabet = _alphabet(counts, vocab_size // 4)
    known = frozenset(alphabet)
    counts = Counter({word: n for word, n in counts.items() if len(word) <= LONGEST_WORD and known.issuperset(word)})
    inside = sorted({character for word in counts for character in word[1:]})

    merged = [s.removeprefix(MARK) if s[0] == MARK else f"##{s}" for s in _merged(counts, alphabet, vocab_size)]
    pieces = dict.fromkeys([*SPECIAL, *alphabet, *(f"##{character}" for character in inside), *merged])
    vocabulary = {piece: number for number, piece in enumerate(list(pieces)[:vocab_size])}

    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=UNK, max_input_chars_per_word=LONGEST_WORD))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = splitter
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    return tokenizer


def _merged(counts: Counter[str], alphabet: list[str], vocab_size: int) -> list[str]:
    """What BPE makes of the marked words, in the order of the merges."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size + len(alphabet),  # enough, though MARK x, for every x, is nothing new
        min_frequency=MIN_FREQUENCY,
        initial_alphabet=[MARK, *alphabet],
        show_progress=False,
    )
    bpe.train_from_iterator((f"{MARK}{word} " * times for word, times in counts.items()), trainer)
    ids = bpe.get_vocab()
    return sorted(ids, key=ids.__getitem__)[1 + len(alphabet) :]


def _bpe(texts: Sequence[str], vocab_size: int, cased: bool) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), *([] if cased else [normalizers.Lowercase()])])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=MIN_FREQUENCY,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _characters(texts: Sequence[str], vocab_size: int, cased: bool) -> Tokenizer:
    """BPE that merges nothing."""
    normalizer = normalizers.BertNormalizer(lowercase=not cased, handle_chinese_chars=False)
    counts: Counter[str] = Counter()
    for word, times in _words(texts, "").items():
        counts[normalizer.normalize_str(f"{word} ")] += times
    tokens = [*SPECIAL, *_alphabet(counts, vocab_size - len(SPECIAL))]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocabulary, [], unk_token=UNK))
    tokenizer.normalizer = normalizer
    tokenizer.decoder = decoders.Fuse()
    return tokenizer


def _words(texts: Iterable[str], alone: str) -> Counter[str]:
    """How often every word occurs: most of a text is repetition, which need not be normalised more than once."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(words(text, alone))
    return counts


def _alphabet(counts: Counter[str], limit: int) -> list[str]:
    """The fewest characters that make up COVERAGE of the counted words, at most `limit`, sorted."""
    characters: Counter[str] = Counter()
    for word, times in counts.items():
        for character in word:
            characters[character] += times
    ranked = sorted(characters, key=lambda character: (-characters[character], character))
    covered = accumulate(characters[character] for character in ranked)
    enough = bisect_left(list(covered), COVERAGE * characters.total()) + 1
    return sorted(ranked[: min(enough, limit)])
