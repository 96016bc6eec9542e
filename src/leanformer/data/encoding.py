"""Encoding of text as the bytes of token ids, several times faster than a call of the tokenizer per text.

If a tokenizer never joins text across a space (BERT's splitting, or characters), the ids of a text are the ids of its
words, joined by those of a space. Text repeats its words, so only words that are not remembered are encoded by the
library, with one call per batch. Any other tokenizer encodes whole texts. Both ways give the same bytes.

A text of more than LONGEST characters is encoded in parts, so that memory does not depend on the length of a text. It
is cut before a single space, where no known tokenizer makes a token of both sides, or anywhere if it has none.
"""

import json
import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice
from typing import Any, Self

import numpy as np
from tokenizers import Tokenizer

from leanformer.data.vocabulary import Vocabulary
from leanformer.files import sha256_of

Encode = Callable[[Sequence[str]], list[bytes]]
"""A function from texts to their token ids, without special tokens, as the bytes of an array of the chosen dtype."""

BATCH = 1_000_000
"""The number of characters that are encoded in one call."""
LONGEST = 1_000_000
"""The most characters of a text in one call of the library, which takes about 100 bytes for each."""
LAST_SPACE = re.compile(r".*\S(?= \S)", re.DOTALL)
REMEMBERED = 4_000_000
"""The number of characters of remembered words, about 100 MB in all, after which all words are forgotten."""
PUNCTUATION = ".,\"'-():;"
"""The commonest characters that are separate words in BERT's splitting."""


@dataclass(frozen=True)
class Encoding:
    """How texts become bytes: a tokenizer as JSON, the ids of [CLS] and [SEP], and the type of an id."""

    tokenizer: str
    cls_id: int
    sep_id: int
    dtype: str

    @classmethod
    def of(cls, tokenizer: Tokenizer, vocabulary: Vocabulary, dtype: np.dtype) -> Self:
        return cls(tokenizer.to_str(), vocabulary.cls_id, vocabulary.sep_id, dtype.name)

    @property
    def key(self) -> str:
        """The hash of all of it."""
        return sha256_of(json.dumps([self.tokenizer, self.cls_id, self.sep_id, self.dtype]))

    @cached_property
    def encode(self) -> Encode:
        return encoder(Tokenizer.from_str(self.tokenizer), np.dtype(self.dtype))


def encoded(documents: Iterable[str], encoding: Encoding) -> Iterator[bytes]:
    """Yields [CLS] document [SEP] for every document that has any token, in order."""
    encode, dtype = encoding.encode, np.dtype(encoding.dtype)
    first, last = (dtype.type(number).tobytes() for number in (encoding.cls_id, encoding.sep_id))
    for batch in batches(documents, BATCH):
        for ids in encode(batch):
            if ids:
                yield first + ids + last


def encoder(tokenizer: Tokenizer, dtype: np.dtype) -> Encode:
    """Returns an encoding function; text that looks like a special token, such as `[SEP]`, is encoded as text."""
    tokenizer = Tokenizer.from_str(tokenizer.to_str())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    typecode = dtype.char

    def encode(texts: Sequence[str]) -> list[bytes]:
        cut = [parts(text) for text in texts]
        ids = (
            encoded_text for batch in batches(chain.from_iterable(cut), BATCH) for encoded_text in encode_batch(batch)
        )
        return [b"".join(islice(ids, len(text_parts))) for text_parts in cut]

    def encode_batch(texts: Sequence[str]) -> list[bytes]:
        encodings = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [array(typecode, encoding.ids).tobytes() for encoding in encodings]

    alone = standing_alone(tokenizer)
    return encode if alone is None else Words(encode, alone)


def standing_alone(tokenizer: Tokenizer) -> str | None:
    """Returns the characters that are always separate words, if the tokenizer never joins across a space; else None."""
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
    """Returns the types in a step of the tokenizer's pipeline, which may be a sequence of steps."""
    if step is None:
        return []
    return [each["type"] for each in step[several]] if step["type"] == "Sequence" else [step["type"]]


def parts(text: str) -> list[str]:
    """Returns parts of at most LONGEST characters, each cut before its last single space, if it has one."""
    found, start = [], 0
    while len(text) - start > LONGEST:
        space = LAST_SPACE.match(text, start, start + LONGEST)
        end = space.end() if space else start + LONGEST
        found.append(text[start:end])
        start = end
    return [*found, text[start:]] if found else [text]


def words(text: str, alone: str) -> list[str]:
    """Returns the text between spaces, after adding spaces around the characters `alone`, so that words repeat more.

    The tokenizer decides which other characters are white space (in BERT some are control characters).
    """
    text = text.replace("\n", " ")
    for character in alone:
        text = text.replace(character, f" {character} ")
    return text.split(" ")


class Words:
    """An encoding function that encodes texts word by word, and remembers the words."""

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


def batches(documents: Iterable[str], characters: int) -> Iterator[list[str]]:
    """Yields lists of documents of so many characters and more; only the last may have less."""
    batch: list[str] = []
    size = 0
    for document in documents:
        batch.append(document)
        size += len(document)
        if size >= characters:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
