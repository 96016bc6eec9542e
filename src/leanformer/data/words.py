"""Words of a text as ranges of characters, for the classification of tokens.

    given words    joined by single spaces, which makes the text
    coarse         parts between white space, without the punctuation at their ends, each mark of which is a word
    fine           runs of letters and digits; every other character is a word of its own

Spans of characters use fine words, which are cut at the ends of the spans, so that every span is a whole number of
words. Texts without given words are divided as in training.
"""

import re
from collections.abc import Iterable, Sequence

from leanformer.data.tags import Entity, iob2

Word = tuple[int, int]
"""[begin, end) in characters."""

FINE = re.compile(r"\w+|[^\w\s]")
COARSE = re.compile(r"\w(?:\S*\w)?|[^\w\s]")
RULES = {"fine": FINE, "coarse": COARSE}


def split(text: str, rule: str) -> list[Word]:
    """Returns the words of a text by the rule `fine` or `coarse`."""
    return [found.span() for found in RULES[rule].finditer(text)]


def joined(words: Sequence[str]) -> tuple[str, list[Word]]:
    """Returns the text of the words, and their places in it."""
    places, begin = [], 0
    for word in words:
        places.append((begin, begin + len(word)))
        begin += len(word) + 1
    return " ".join(words), places


def tagged(text: str, spans: Iterable[tuple[int, int, str]]) -> tuple[list[Word], list[str]]:
    """Returns fine words and their IOB2 tags, from spans (begin, end, label) of characters.

    Raises ValueError for a span outside the text, without a word, or over another span.
    """
    ordered = sorted(spans)
    for begin, end, label in ordered:
        if not 0 <= begin < end <= len(text):
            raise ValueError(f"the span {begin} to {end} ({label}) is not in the text of {len(text)} characters")
    for (_, end, one), (begin, _, other) in zip(ordered, ordered[1:], strict=False):
        if begin < end:
            raise ValueError(f"two spans overlap at character {begin} ({one}, {other}): a word has one label, drop one")
    cuts = sorted({place for begin, end, _ in ordered for place in (begin, end)})
    words = [part for begin, end in split(text, "fine") for part in _cut(begin, end, cuts)]
    marked = []
    for begin, end, label in ordered:
        inside = [i for i, (first, last) in enumerate(words) if begin <= first and last <= end]
        if not inside:
            raise ValueError(f"the span {begin} to {end} ({label}) holds only white space")
        marked.append(Entity(inside[0], inside[-1] + 1, label))
    return words, iob2(len(words), marked)


def _cut(begin: int, end: int, cuts: Iterable[int]) -> list[Word]:
    ends = [*(cut for cut in cuts if begin < cut < end), end]
    return list(zip([begin, *ends[:-1]], ends, strict=True))
