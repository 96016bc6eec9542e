"""The training of a tokenizer, with reproducible ids.

    wordpiece     BERT's: words, split at white space and punctuation, then the longest known pieces, "##" inside a word
    bpe           byte-level BPE: no character is ever unknown
    characters    one token per character, including the space: for tiny models

All are uncased by default (then WordPiece and characters also drop accents and vowel signs, as BERT does, unless
`keep_accents` is set), begin with [PAD] [UNK] [CLS] [SEP] [MASK] as ids 0 to 4, and encode texts as [CLS] A [SEP] or
[CLS] A [SEP] B [SEP].

Characters come first, and pieces of several characters fill the rest of the vocabulary:

    WordPiece's alphabet = the most frequent characters that make up COVERAGE of the text, each as "x" and, where it
                           occurs inside a word, as "##x", as many of them as the vocabulary holds

WordPiece tries all substrings of a word, so a word of more than LONGEST_WORD characters is first cut into several, but
not before a vowel sign, so that scripts without spaces lose nothing. In byte-level BPE the space before a word belongs
to it, and a text is read with a space before it: its first word, or each of several separate words, gets the same
tokens as in the middle of a text.

The WordPiece trainer of the `tokenizers` library numbers its "##" characters in the order of a randomly seeded hash
table and breaks ties between equally frequent pairs by number, so ids, and sometimes pieces, change from run to run.
Its BPE trainer sorts the alphabet first and is deterministic. So WordPiece is learned here as BPE of marked words,

    marked piece -> piece,    other piece -> "##" piece

in the order of the merges, after the sorted characters. WordPiece training is the same: BPE inside words.
"""

import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from itertools import accumulate, chain
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from leanformer.data.encoding import LONGEST, PUNCTUATION, parts, words
from leanformer.spelling import suggest

ALGORITHMS = ("wordpiece", "bpe", "characters")

PAD, UNK, CLS, SEP, MASK = SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
COVERAGE = 0.9999
"""The most frequent characters that make up this fraction of the text are known; the others become [UNK]."""
MIN_FREQUENCY = 2
LONGEST_WORD = 100
"""Longer words are cut for WordPiece."""
CUT = rf".{{{LONGEST_WORD // 2},{LONGEST_WORD}}}(?!\p{{M}})|.{{{LONGEST_WORD}}}"
LONG_RUN = re.compile(r"\S{1000}|\s{1000}")
"""Longer runs are cut for BPE, whose trainer takes time quadratic in the length of a word."""
REPEATED = 1000
"""The most repetitions of a word in one training text, since the library holds all words of a text in memory."""
MARK = "\ue000"
"""The mark before a word in training, a private-use character, which BERT's normalisation removes from text."""


def train(
    texts: Sequence[str],
    algorithm: str,
    vocab_size: int,
    *,
    cased: bool = False,
    keep_accents: bool = False,
    warn: Callable[[str], None] = lambda _: None,
) -> Tokenizer:
    """Returns a tokenizer of at most vocab_size ids (fewer if the text has no more pieces that occur twice).

    `keep_accents` has an effect only without `cased`. `warn` gets a line if the vocabulary is too small for all
    characters that occur often enough.
    """
    if algorithm not in ALGORITHMS:
        raise ValueError(f"unknown tokenizer algorithm {algorithm!r}; {suggest(algorithm, ALGORITHMS)}")
    least = len(SPECIAL) + (256 if algorithm == "bpe" else 4)
    if vocab_size < least:
        raise ValueError(f"vocab_size = {vocab_size}: {algorithm} needs at least {least}")
    if algorithm == "bpe":
        tokenizer = _bpe(texts, vocab_size, cased)
    else:
        accents = keep_accents and not cased
        bert = normalizers.BertNormalizer(
            lowercase=not cased, handle_chinese_chars=algorithm == "wordpiece", strip_accents=False if accents else None
        )
        normalizer = normalizers.Sequence([normalizers.NFC(), bert]) if accents else bert
        learn = {"wordpiece": _wordpiece, "characters": _characters}[algorithm]
        tokenizer = learn(texts, vocab_size, normalizer, warn)
    # In byte-level BPE a masked word includes the space before it, so that "a [MASK]" can become "a b".
    tokenizer.add_special_tokens([*SPECIAL[:-1], AddedToken(MASK, special=True, lstrip=algorithm == "bpe")])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{CLS} $A {SEP}",
        pair=f"{CLS} $A {SEP} $B:1 {SEP}:1",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in (CLS, SEP)],
    )
    return tokenizer


def _wordpiece(texts: Sequence[str], vocab_size: int, normalizer: Any, warn: Callable[[str], None]) -> Tokenizer:
    cut = pre_tokenizers.Split(Regex(CUT), "isolated")
    splitter = pre_tokenizers.Sequence([pre_tokenizers.BertPreTokenizer(), cut])
    counts: Counter[str] = Counter()
    for text, times in _words(texts, PUNCTUATION).items():
        for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)):
            counts[word] += times
    continuing = {character for word in counts for character in word[1:]}
    alphabet = _alphabet(counts, vocab_size, warn, continuing)
    known = frozenset(alphabet)
    counts = Counter({word: n for word, n in counts.items() if known.issuperset(word)})
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
    """Returns the pieces that BPE learns from the marked words, in the order of the merges."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size + len(alphabet),  # enough, although MARK x is not a new piece for any x
        min_frequency=MIN_FREQUENCY,
        initial_alphabet=[MARK, *alphabet],
        show_progress=False,
    )
    bpe.train_from_iterator((f"{MARK}{word} " * some for word, n in counts.items() for some in _portions(n)), trainer)
    ids = bpe.get_vocab()
    return sorted(ids, key=ids.__getitem__)[1 + len(alphabet) :]


def _portions(count: int) -> Iterator[int]:
    """Yields numbers of at most REPEATED that add up to count."""
    for start in range(0, count, REPEATED):
        yield min(REPEATED, count - start)


def _bpe(texts: Sequence[str], vocab_size: int, cased: bool) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), *([] if cased else [normalizers.Lowercase()])])
    # ByteLevel's own prefix space would also follow every [MASK]; that of Metaspace is only at the start of a text.
    first = pre_tokenizers.Metaspace(replacement=" ", prepend_scheme="first", split=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([first, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Strip(" ", 1, 0)])
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=MIN_FREQUENCY,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(chain.from_iterable(map(_without_long_runs, texts)), trainer)
    return tokenizer


def _without_long_runs(text: str) -> Iterator[str]:
    """Yields the text in parts, none of which has a longer run of white space or of other characters than LONG_RUN."""
    for part in parts(text):
        start = 0
        for run in LONG_RUN.finditer(part):
            yield part[start : run.end()]
            start = run.end()
        if start < len(part):
            yield part[start:]


def _characters(texts: Sequence[str], vocab_size: int, normalizer: Any, warn: Callable[[str], None]) -> Tokenizer:
    """Returns a tokenizer of characters, which is BPE without merges."""
    counts: Counter[str] = Counter()
    for word, times in _words(texts, "").items():
        counts[normalizer.normalize_str(f"{word} ")] += times
    tokens = [*SPECIAL, *_alphabet(counts, vocab_size, warn)]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocabulary, [], unk_token=UNK))
    tokenizer.normalizer = normalizer
    tokenizer.decoder = decoders.Fuse()
    return tokenizer


def _words(texts: Iterable[str], alone: str) -> Counter[str]:
    """Returns the count of every word, so that a repeated word is normalised only once."""
    counts: Counter[str] = Counter()
    for text in texts:
        found = words(text, alone)
        counts.update(found if len(text) <= LONGEST else chain.from_iterable(map(parts, found)))
    return counts


def _alphabet(
    counts: Counter[str], vocab_size: int, warn: Callable[[str], None], continuing: Container[str] = ()
) -> list[str]:
    """Returns the fewest characters that make up COVERAGE of the counted words, at most as many as fit, sorted.

    Characters in `continuing` take two places, "x" and "##x".
    """
    characters: Counter[str] = Counter()
    for word, times in counts.items():
        for character in word:
            characters[character] += times
    ranked = sorted(characters, key=lambda character: (-characters[character], character))
    covered = accumulate(characters[character] for character in ranked)
    enough = ranked[: bisect_left(list(covered), COVERAGE * characters.total()) + 1]
    sizes = list(accumulate((1 + (character in continuing) for character in enough), initial=len(SPECIAL)))
    held = bisect_right(sizes, vocab_size) - 1
    if held < len(enough):
        warn(
            f"a vocabulary of {vocab_size} holds {held:,} of the {len(enough):,} characters that occur often: "
            f"--vocab-size {sizes[-1]} would hold them all"
        )
    return sorted(enough[:held])
