"""From text to the bytes of token ids, several times faster than asking the tokenizer about every text.

Where a tokenizer never looks across a space (BERT's splitting, or characters), the ids of a text are the ids of its
words, joined by those of a space. Text repeats its words, so only words not met lately go through the library, all
those of a batch in one call. Any other tokenizer encodes whole texts. Both ways give the same bytes.

A text of more than LONGEST characters is encoded in parts, so memory does not depend on what a text holds. It is cut
before a single space, where no tokenizer that we know makes a token of both sides; a text without one is cut anyway.
"""

import json
import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from leanformer.data.vocabulary import Vocabulary

Encode = Callable[[Sequence[str]], list[bytes]]
"""Texts to their token ids, without the template's special tokens, as the bytes of an array of the chosen dtype."""

BATCH = 1_000_000
"""Characters encoded in one call."""
LONGEST = 1_000_000
"""Characters given to the library as one text: it takes some 100 bytes for each."""
LAST_SPACE = re.compile(r".*\S(?= \S)", re.DOTALL)
REMEMBERED = 4_000_000
"""Characters of words kept, about 100 MB in all; then the memory starts afresh."""
PUNCTUATION = ".,\"'-():;"
"""The commonest characters that BERT's splitting takes for words of their own."""


def encoded(documents: Iterable[str], tokenizer: Tokenizer, vocabulary: Vocabulary, dtype: np.dtype) -> Iterator[bytes]:
    """[CLS] document [SEP] for every document that has any token, in order."""
    encode = encoder(tokenizer, dtype)
    first, last = (dtype.type(number).tobytes() for number in (vocabulary.cls_id, vocabulary.sep_id))
    for batch in _batches(documents):
        for ids in encode(batch):
            if ids:
                yield first + ids + last


def encoder(tokenizer: Tokenizer, dtype: np.dtype) -> Encode:
    """Text that looks like a special token, `[SEP]`, is encoded as the text that it is."""
    tokenizer = Tokenizer.from_str(tokenizer.to_str())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    typecode = dtype.char

    def encode(texts: Sequence[str]) -> list[bytes]:
        cut = [parts(text) for text in texts]
        ids = (of for batch in _batches(chain.from_iterable(cut)) for of in encode_batch(batch))
        return [b"".join(islice(ids, len(own))) for own in cut]

    def encode_batch(texts: Sequence[str]) -> list[bytes]:
        encodings = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [array(typecode, encoding.ids).tobytes() for encoding in encodings]

    alone = standing_alone(tokenizer)
    return encode if alone is None else Words(encode, alone)


def standing_alone(tokenizer: Tokenizer) -> str | None:
    """The characters that are always words of their own to a tokenizer that never looks across a space; else None."""
    pipeline = json.loads(tokenizer.to_str())
    model = pipeline["model"]
    normalizers = _types(pipeline["normalizer"], "normalizers")
    if normalizers not in (["BertNormalizer"], ["NFC", "BertNormalizer"]):
        return None
    if not all(token["special"] for token in pipeline["added_tokens"]):
        return None
    splitters = _types(pipeline["pre_tokenizer"], "pretokenizers")
    if splitters in (["BertPreTokenizer"], ["BertPreTokenizer", "Split"]):  # the latter cuts words, and joins none
        return PUNCTUATION
    merges_nothing = model["type"] == "BPE" and not model["merges"]
    return "" if merges_nothing and not splitters else None


def _types(step: dict[str, Any] | None, several: str) -> list[str]:
    """The types of a step of the tokenizer's pipeline, which may be a sequence of steps."""
    if step is None:
        return []
    return [each["type"] for each in step[several]] if step["type"] == "Sequence" else [step["type"]]


def parts(text: str) -> list[str]:
    """The text in parts of at most LONGEST characters, each cut before its last single space, if it has one."""
    found, start = [], 0
    while len(text) - start > LONGEST:
        space = LAST_SPACE.match(text, start, start + LONGEST)
        end = space.end() if space else start + LONGEST
        found.append(text[start:end])
        start = end
    return [*found, text[start:]] if found else [text]


def words(text: str, alone: str) -> list[str]:
    """Everything between spaces; spaces are first put around the characters that stand `alone`: words repeat more then.

    Only spaces: what other characters are white space, the tokenizer decides (to BERT some are control characters).
    """
    text = text.replace("\n", " ")
    for character in alone:
        text = text.replace(character, f" {character} ")
    return text.split(" ")


class Words:
    """Encodes texts word by word, and remembers the words."""

    def __init__(self, encode: Encode, alone: str) -> None:
        self.encode, self.alone = encode, alone
        self.known: dict[str, bytes] = {}
        self.room = REMEMBERED
        (self.space,) = encode([" "])

    def __call__(self, texts: Sequence[str]) -> list[bytes]:
        if self.room < 0:
            self.known, self.room = {}, REMEMBERED
        texts_of_words = [words(text, self.alone) for text in texts]
        fresh = list(set(chain.from_iterable(texts_of_words)).difference(self.known))
        self.known.update(zip(fresh, self.encode(fresh), strict=True))
        self.room -= sum(map(len, fresh))
        return [self.space.join(map(self.known.__getitem__, row)) for row in texts_of_words]


def _batches(documents: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for document in documents:
        batch.append(document)
        size += len(document)
        if size >= BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
