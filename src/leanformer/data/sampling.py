"""The choice of documents from a stream by a hash of their number, for the tokenizer and for held-out parts.

No list of the documents is needed, and the choice is always the same for the same stream.
"""

import heapq
from collections.abc import Iterable, Iterator, Mapping
from itertools import count

import numpy as np

from leanformer.data.randomness import random_bits

FOR_TOKENIZER, FOR_VALIDATION = 1, 2
BLOCK = 4096
FEW = 100
"""The number of sequences, pairs or examples below which a score is unreliable."""


def numbered_bits(purpose: int) -> Iterator[int]:
    """Yields 64 random bits for document 0, 1, 2, ..."""
    for start in count(0, BLOCK):
        yield from random_bits(purpose, np.arange(start, start + BLOCK)).tolist()


def sample(documents: Iterable[str], characters: int) -> list[str]:
    """Returns documents from the whole stream, with at most so many characters (at least one document), in its order.

    Bottom sampling takes the documents with the smallest bits that fit; all have the same probability.
    """
    kept: list[tuple[int, int, str]] = []  # a heap, largest bits first
    size, bound = 0, 1 << 64
    for number, (document, bits) in enumerate(zip(documents, numbered_bits(FOR_TOKENIZER), strict=False)):
        if bits < bound:
            heapq.heappush(kept, (-bits, number, document))
            size += len(document)
        while size > characters and len(kept) > 1:
            negative, _, dropped = heapq.heappop(kept)
            size -= len(dropped)
            bound = -negative
    return [document for _, number, document in sorted(kept, key=lambda entry: entry[1])]


def few_notes(count: int, what: str, remedy: str) -> list[str]:
    """Returns a note if there are fewer than FEW of `what`, the sequences or examples that score a model."""
    if count >= FEW:
        return []
    return [f"only {count:,} {what} to judge by, which hardly tells two models apart: {remedy}"]


class HoldOut:
    """The assignment of documents to training or to a held-out part.

    Each document is in part p with probability f_p, its fraction, but p holds at most 2 f_p of all tokens so far. The
    limit prevents one long book from being most of a small corpus's held-out text. Tokens that a small corpus then
    lacks are taken from its end (`store.move_tail`).
    """

    def __init__(self, fractions: Mapping[str, float]) -> None:
        self.fractions = fractions
        self.bits = numbered_bits(FOR_VALIDATION)
        self.held = dict.fromkeys(fractions, 0)
        self.total = 0

    def __call__(self, size: int) -> str:
        """Returns the part of the next document, which has this size: a held-out part, or "train"."""
        self.total += size
        place, end = next(self.bits) / 2.0**64, 0.0
        for part, fraction in self.fractions.items():
            end += fraction
            if place < end:
                if self.held[part] + size > 2 * fraction * self.total:
                    break
                self.held[part] += size
                return part
        return "train"
